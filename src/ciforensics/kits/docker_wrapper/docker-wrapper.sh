#!/bin/sh
# ciforensics docker wrapper: writes one JSON line about each call, then is the real docker.
#
# The caller sees docker and nothing else. So all the work is done in a subshell that has none of the caller's
# files: it can neither end this script nor change what docker gets. Nothing outside it sets a variable that
# the caller may have exported.

# Sets $subcommand and $image, and shows the arguments with what docker's options say is secret as ***; then
# writes the line. Ends early: a command line may be megabytes long.
look() {
    subcommand='' image='' stage=global take='' cut='' size=0 left=$#
    for word; do
        shown=$word
        case $take in
            '') option ;;
            pair) take='' && case $word in *=*) shown="${word%%=*}=***" ;; esac ;;
            set) take='' && case $word in *.args.*=*) shown="${word%%=*}=***" ;; esac ;;
            user) take='' && case $word in [!0-9]*:*) shown="${word%%:*}:***" ;; esac ;;
            secret) take='' shown='***' ;;
            tag) take='' image=${image:-$word} ;;
            *) take='' ;;
        esac
        size=$((size + ${#shown}))
        [ "${#shown}" -lt 2000 ] || cut=true
        shift
        set -- "$@" "$shown"
        left=$((left - 1))
        if [ "$#" -gt $((left + 64)) ] || [ "$size" -gt 8000 ]; then break; fi
    done
    if [ "$left" -gt 0 ]; then cut=true; fi
    shift "$left"
    line='' # for `record`
    record repo "${GITHUB_REPOSITORY-}" workflow "${GITHUB_WORKFLOW-}" job "${GITHUB_JOB-}" \
        run_id "${GITHUB_RUN_ID-}" cmd "${1-}" run_attempt "${GITHUB_RUN_ATTEMPT-}" \
        orchestration_id "${ACTIONS_ORCHESTRATION_ID-}" runner "${RUNNER_NAME-}" pod "$pod" \
        subcommand "${subcommand:-${1%%=*}}" image "$image" "$@"
}

# What one word means, and whether it says something of the next: that goes into $take.
option() {
    case $stage in
        global)
            case $word in
                --config | --context | --host | --log-level | --tlscacert | --tlscert | --tlskey) take=value ;;
                --config=* | --context=* | --host=* | --log-level=* | --tlscacert=* | --tlscert=*) ;;
                --tlskey=* | --debug | --debug=* | --tls | --tls=* | --tlsverify | --tlsverify=* | -D) ;;
                -[cHl] | -D[cHl]) take=value ;;
                -[cHl]?* | -D[cHl]?*) ;;
                buildx | builder | image | container) subcommand=$word stage=$word ;;
                *) subcommand=${word%%=*} stage=options ;;
            esac
            return
            ;;
        buildx | builder)
            case $word in
                --builder) take=value ;;
                --builder=* | --debug | -D) ;;
                build | b) subcommand=build stage=options ;;
                *) stage=options ;;
            esac
            return
            ;;
        image | container)
            case $stage-$word in
                image-build | image-pull | image-push | image-save | image-load | image-import) subcommand=$word ;;
                image-tag | image-history) subcommand=$word ;;
                container-run | container-create | container-exec | container-start) subcommand=$word ;;
                container-stop | container-restart | container-kill | container-rm) subcommand=$word ;;
                container-cp | container-commit | container-attach | container-logs) subcommand=$word ;;
                container-wait | container-export) subcommand=$word ;;
            esac
            stage=options
            return
            ;;
    esac
    letters=''
    case $word in
        --build-arg | --env | --env-add) take=pair ;;
        --set) take=set ;; # of `buildx bake`: TARGET.args.NAME=VALUE
        --build-arg=*=* | --env=*=* | --env-add=*=* | --set=*.args.*=*)
            shown=${word#*=}
            shown="${word%%=*}=${shown%%=*}=***"
            ;;
        --token | --*-token | --*password | --*passwd | --*api-key | --*access-key | --*secret-key) take=secret ;;
        [Bb]earer | [Bb]asic) take=secret ;;
        --user) take=user ;;
        --user=[!0-9]*:*) shown="${word%%:*}:***" ;;
        -[!-]*)
            letters=${word#-} # -it is -i -t, and -iteA=b is -i -t -e A=b
            while :; do case $letters in [ditPqT]?*) letters=${letters#?} ;; *) break ;; esac done
            case $subcommand$letters in
                loginp) take=secret ;;
                loginp*) shown='-p***' ;;
            esac
            case $letters in
                e) take=pair ;;
                e*=*) shown="${word%%=*}=***" ;;
                u) take=user ;;
                u[!0-9]*:*) shown="${word%%:*}:***" ;;
            esac
            ;;
    esac
    [ -n "$image" ] || reference
}

# Whether this word is, or has, the image that the command is about.
reference() {
    case $subcommand in
        build)
            case $word in
                -t | --tag) take=tag ;;
                --tag=*) image=${word#*=} ;;
                -t?*) image=${word#-t} && image=${image#=} ;;
            esac
            ;;
        run | create)
            case $word in
                -- | --*=* | --detach | --disable-content-trust | --help | --init | --interactive) ;;
                --no-healthcheck | --oom-kill-disable | --privileged | --publish-all | --quiet | --read-only) ;;
                --rm | --sig-proxy | --tty | --use-api-socket | -[ditPq]) ;;
                --*) take=${take:-value} ;;
                -*) case $letters in [!ditPq]) take=${take:-value} ;; esac ;;
                *) image=$word ;;
            esac
            ;;
        history | pull | push | rmi | save | tag)
            case $word in
                --format | --output | --platform | -o) take=value ;;
                -*) ;;
                *) image=$word ;;
            esac
            ;;
    esac
}

# Eleven names and values, then the arguments, as the inside of a JSON object in $line: below 3,900 bytes.
record() {
    all="$*" names=11
    [ "${#all}" -le 2500 ] || all='"' # to be quoted: a shell may look at a long one for seconds
    case $all in
        # No plain ASCII, or perhaps with a secret in it: at the price of two programs.
        *[!\ !#-[\]-~]* | *://*@* | *gh[opsru]_* | *_pat_* | *eyJ*) quote "$@" ;;
        *[Aa][Uu][Tt][Hh]* | *[Cc][Oo][Oo][Kk][Ii][Ee]* | *[Cc][Rr][Ee][Dd]* | *[Kk][Ee][Yy]*) quote "$@" ;;
        *[Pp][Aa][Ss][Ss]* | *[Pp][Ww][Dd]* | *[Ss][Ee][Cc][Rr][Ee][Tt]* | *[Tt][Oo][Kk][Ee][Nn]*) quote "$@" ;;
        *\ -u\ [!0-9]*:* | *--user[\ =][!0-9]*:*) quote "$@" ;;
        *)
            while [ "$names" -gt 0 ]; do
                line="$line\"$1\":\"$2\","
                names=$((names - 1))
                shift 2
            done
            words=''
            for word; do words="$words,\"$word\""; done
            line="$line\"args\":[${words#,}]${cut:+,\"cut\":true}"
            ;;
    esac
}

# The same for any bytes: what is not UTF-8 becomes U+FFFD, secrets that are known by their shape or by their
# name ***. Without od or awk the line says nothing but what it can say safely.
quote() {
    line=$(printf '%.2000s\0' "$@" | od -An -v -tu1 | awk -v cut="$cut" -v apostrophe="'" '
        BEGIN {
            for (i = 1; i < 256; i++) { char[i] = sprintf("%c", i); code[char[i]] = i }
            w = "[A-Za-z0-9_]"
            token = "(gh[opsru]|github_pat|dckr_pat)_" w w w w w w "+"
            jwt = "eyJ[A-Za-z0-9_-]+[.][A-Za-z0-9_.-]+"
            name = "(auth|token|pass|pwd|secret|cred|cookie|(api|access|private)[-_]?key)"
            named = name "[a-z0-9_-]*(=|: |[\"" apostrophe "]+ *[:=])|(authorization|cookie):"
            flag = "--[a-z0-9-]*(token|passw(or)?d|passphrase|secret|(api|access|private)-key)[ \t\n]+"
            named = named "|" flag "|[ \t\n](-u|--user)[ =]+[\"" apostrophe "]?[^0-9 :][^ :]*:"
        }
        { for (i = 1; i <= NF; i++) if ($i + 0) text = text char[$i + 0]; else { value(text); text = "" } }
        END { printf "%s,\"args\":[%s]%s", line, words, cut ? ",\"cut\":true" : "" }

        function value(s) {
            nth++
            s = masked(s)
            if (nth > 22) {
                room = 3800 - length(line) - length(words)
                if (room < 20) { cut = 1; return }
                if (match(tolower(s), named) && s !~ /^--secret(-add|-rm)?=/)
                    s = substr(s, 1, RSTART + RLENGTH - 1) "***"
                words = words (nth > 23 ? "," : "") "\"" escaped(s, room - 3) "\""
            } else if (nth % 2) line = line (nth > 1 ? "," : "") "\"" s "\":"
            else line = line "\"" escaped(s, 250) "\""
        }

        function masked(s,   out, info, rest, k, open) {
            gsub(token, "***", s)
            gsub(jwt, "***", s)
            if (length(s) > 1990) sub(/:\/\/[^ @]*$/, "://***", s) # its @ may have been cut off
            while (match(s, /:\/\/[^ "<>@]*@/)) {
                info = substr(s, RSTART + 3, RLENGTH - 4)
                rest = substr(s, RSTART + RLENGTH)
                open = substr(s, 1, RSTART + 2)
                while (k = index(info, "://")) { open = open substr(info, 1, k + 2); info = substr(info, k + 3) }
                if (rest !~ /^sha[0-9]+:/ && secret(info, open)) info = "***"
                out = out open info "@"
                s = rest
            }
            return out s
        }

        # A user and a password, or a user of http alone; not a port, nor a path with an @ in it.
        function secret(info, open) {
            if (info ~ /^[^\/?#]*$/) return info ~ /:/ || open ~ /https?:\/\/$/
            return info ~ /^[^\/?#:]*:/ && info !~ /^[^:]*:[0-9]+[\/?#]/
        }

        function escaped(s, limit,   out, piece, i, n, c) {
            for (i = 1; i <= length(s); i += n) {
                c = code[substr(s, i, 1)]
                n = 1
                if (c == 34 || c == 92) piece = "\\" char[c]
                else if (c < 32 || c == 127) piece = sprintf("\\u%04x", c)
                else if (c < 128) piece = char[c]
                else if (n = sequence(s, i, c)) piece = substr(s, i, n)
                else { n = 1; piece = "\357\277\275" }
                if (length(out) + length(piece) > limit) { cut = 1; break }
                out = out piece
            }
            return out
        }

        # How long the UTF-8 sequence is that begins here; 0 where none does (Unicode, table 3-7).
        function sequence(s, i, c,   second, low, high, n, k) {
            if (c < 194 || c > 244) return 0
            n = c < 224 ? 2 : c < 240 ? 3 : 4
            low = c == 224 ? 160 : c == 240 ? 144 : 128
            high = c == 237 ? 159 : c == 244 ? 143 : 191
            for (k = 1; k < n; k++) {
                second = code[substr(s, i + k, 1)] + 0
                if (second < low || second > high) return 0
                low = 128
                high = 191
            }
            return n
        }
    ')
    [ -n "$line" ] || line='"cmd":"","args":[],"cut":true'
}

# Milliseconds where date knows them: `%N` is nanoseconds with GNU, nothing or itself with others.
now() {
    ts=$(date -u '+%Y-%m-%dT%H:%M:%S.%N %s')
    # shellcheck disable=SC2034 # the form that waits computes with seconds
    seconds=${ts##* } ts=${ts%% *} millis=000
    case $ts in
        *.[0-9][0-9][0-9]*)
            millis=${ts#*.}
            millis=${millis%"${millis#???}"}
            ts=${ts%.*}.$millis
            ;;
        *) ts=${ts%%.*} ;;
    esac
}

log() {
    set +eux
    trap '' XFSZ # a limit on file sizes is an error like another
    # Found whatever the caller's PATH is, and no `date` of the job's own.
    PATH=/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin${PATH:+:$PATH}
    LC_ALL=C
    IFS=' '
    export PATH LC_ALL
    # shellcheck disable=SC3028 # a variable of Kubernetes and Docker; a shell's own serves as well
    pod=${HOSTNAME-}
    [ -n "$pod" ] || read -r pod </proc/sys/kernel/hostname
#% if wait
    exit_code=$1 began=$2
    shift 2
    now
    ended=$((seconds * 1000 + 1$millis - 1000))
    ts=${began% *}
    began=${began#* }
    more=",\"duration_ms\":$((ended > began ? ended - began : 0)),\"exit_code\":$exit_code"
#% else
    now
    more=''
#% endif
    [ -n "$ts" ] || return
    look "$@"
    line="{\"ts\":\"${ts}Z\",$line,\"pid\":$$$more}"
#% if sink == "file"
    log=@{ log }@
    # To open a FIFO would wait for its reader. One write, newline and all, so that no line tears another.
    if [ -f "$log" ] || [ ! -e "$log" ]; then
        umask 0
        printf %s "$line
" >>"$log"
    fi
#% else
    # Outlives the call, but not for long. The runner looks for orphans of a job by RUNNER_TRACKING_ID, and writes
    # about each that it ends into the job's log.
    unset RUNNER_TRACKING_ID BASH_ENV
    CLOUDSDK_CORE_DISABLE_PROMPTS=1
    export CLOUDSDK_CORE_DISABLE_PROMPTS
    # Not even the files that it has beside the usual three, as of `> >(tee x)`: who reads them waits until the last
    # writer ends. A shell that is no bash may have no words for those above 9.
    # shellcheck disable=SC2016 # the other shell expands it
    "$(command -v bash || command -v sh)" -c '
        set +e
        for fd in /proc/$$/fd/*; do
            fd=${fd##*/}
            case $fd in [0-2]) ;; [3-9] | "${BASH_VERSION:+$fd}") eval "exec $fd>&-" ;; esac
        done
        apart=$(command -v setsid)
        ${apart:+"$apart"} gcloud "$@" &
        job=$! tries=$0
        while [ "$tries" -gt 0 ] && kill -0 "$job"; do
            sleep 1
            tries=$((tries - 1))
        done
        kill -9 ${apart:+"-$job"} || kill -9 "$job"
    ' @{ limit_s }@ \
#% if sink == "cloud-logging"
        logging write @{ log_name }@ "$line" --payload-type=json --project=@{ project }@ &
#% else
        pubsub topics publish @{ topic }@ --message="$line" --project=@{ project }@ &
#% endif
#% endif
}

# Where the docker is that this file stands in for: not this file by another name, or the two would call each
# other for ever. Otherwise the next docker on PATH; once, as that may be a copy of this file.
if [ ! -x @{ docker }@ ] || [ @{ docker }@ -ef "$0" ]; then
    ciforensics_path=${PATH-}:
    while [ -n "$ciforensics_path" ] && [ "${CIFORENSICS_DOCKER_PID-}" != $$ ]; do
        ciforensics_docker=${ciforensics_path%%:*}/docker
        ciforensics_path=${ciforensics_path#*:}
        if [ -f "$ciforensics_docker" ] && [ -x "$ciforensics_docker" ] && ! [ "$ciforensics_docker" -ef "$0" ]; then
            export CIFORENSICS_DOCKER_PID=$$
            exec "$ciforensics_docker" "$@"
        fi
    done
    printf '%s\n' 'docker: not found where ciforensics expects it:' @{ docker }@ >&2
    exit 127
fi
#% if wait

ciforensics_began=$(
    PATH=/usr/bin:/bin${PATH:+:$PATH}
    now
    echo "$ts $((seconds * 1000 + 1$millis - 1000))"
) 2>/dev/null
# A shell starts what it does not wait for at once with /dev/null as its input, and INT and QUIT ignored for good.
ciforensics_env=''
if env --default-signal=INT,QUIT true 2>/dev/null; then ciforensics_env='env --default-signal=INT,QUIT'; fi
if { true 9<&0; } 2>/dev/null; then
    # shellcheck disable=SC2086 # the words of a command
    { $ciforensics_env @{ docker }@ "$@" <&9 9<&- & } 9<&0
else
    # shellcheck disable=SC2086
    $ciforensics_env @{ docker }@ "$@" <&- &
fi
ciforensics_child=$!
set +e # bash takes `errexit` from an exported SHELLOPTS
# Ignored is ignored: then docker is asked to end in another way.
# shellcheck disable=SC2329 # traps call it
pass() {
    case $ciforensics_env$1 in INT | QUIT) set -- TERM ;; esac
    kill -s "$1" "$ciforensics_child" 2>/dev/null
}
for ciforensics_signal in HUP INT QUIT TERM USR1 USR2; do
    # shellcheck disable=SC2064 # the signal of now
    trap "ciforensics_passed=1; pass $ciforensics_signal" "$ciforensics_signal"
done
ciforensics_code=''
while :; do
    ciforensics_passed=''
    wait "$ciforensics_child"
    ciforensics_now=$?
    # 127: it was waited for already, when the signal came.
    if [ "$ciforensics_now" != 127 ] || [ -z "$ciforensics_code" ]; then ciforensics_code=$ciforensics_now; fi
    [ -n "$ciforensics_passed" ] || break
done
(log "$ciforensics_code" "$ciforensics_began" "$@") </dev/null >/dev/null 2>&1 || :
exit "$ciforensics_code"
#% else

(log "$@") </dev/null >/dev/null 2>&1 || :
exec @{ docker }@ "$@"
#% endif
