#!/bin/sh
# Makes the report. Quiet when all is well: what a job says, cron mails.
set -u
umask 027
folder=@{ folder }@
export XDG_CONFIG_HOME="$folder/config" # the key of the token hashes

exec 9>"$folder/.lock" || exit 1
if ! flock --nonblock 9; then
    echo "The report before is still being made; nothing was done."
    exit 75
fi

: >"$folder/summary.md" || exit 1
@{ program }@ report @{ logs }@ \
#% if since != "all"
    --since @{ since }@ \
#% endif
#% for each in fail_on
    --fail-on @{ each }@ \
#% endfor
    --case "$folder/case.duckdb" --out "$folder/report" --summary "$folder/summary.md" \
    >"$folder/last-run.log" 2>&1 9>&-
code=$?

case $code in
    0) ;;
    3) cat "$folder/summary.md" ;;
    *)
        echo "The report failed with exit code $code:"
        cat "$folder/last-run.log"
        ;;
esac
exit "$code"
