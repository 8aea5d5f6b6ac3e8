#!/bin/sh
# ACTIONS_RUNNER_HOOK_JOB_STARTED: starts the event streamer in the background. Whatever goes wrong, the job
# does not notice: nothing is printed, nothing is waited for, the exit code is 0.

start() {
    # Processes that still have it at the job's end are killed, and named in the job's log; this one ends with
    # the worker that called the hook, or before it by job-completed.sh.
    unset RUNNER_TRACKING_ID
    # One that an earlier job left behind would give this job's events its own name.
    @{ python }@ "$here/stream_events.py" --stop --log @{ folder ~ '/docker-events.jsonl' }@ || : # the runner calls this with -e
    exec @{ python }@ "$here/stream_events.py" --detach --with-pid "$worker" --since "$now" \
#% if run_id_tag
        --run-id-tag \
#% endif
#% if metrics == "off"
        --metrics off \
#% elif metrics == "service"
        --service @{ service }@ \
#% endif
        --docker @{ docker }@ --log @{ folder ~ '/docker-events.jsonl' }@
}

case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
worker=$PPID
now=$(date +%s.%N 2>/dev/null) || :
now=${now%.*N} # of a date that knows no nanoseconds
#% if metrics != "off"
DD_DOGSTATSD_PORT=${DD_DOGSTATSD_PORT:-@{ port }@}
export DD_DOGSTATSD_PORT
#% endif
start </dev/null >/dev/null 2>&1 &
exit 0
