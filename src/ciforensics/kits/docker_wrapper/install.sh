#!/bin/sh
# Puts the ciforensics docker wrapper in front of docker: install.sh [install | undo | status]
# Every step is a rename: there is a docker to be called at any moment, and to run this again does no harm.
set -eu

wrapper=@{ wrapper }@
docker=@{ docker }@

is_ours() { [ -f "$1" ] && head -n 2 "$1" 2>/dev/null | grep -aq 'ciforensics docker wrapper'; }

refuse() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

# Makes $2 what $1 is; a symbolic link stays one, and leads to where it led.
put() {
    rm -f "$2.new"
    if [ -L "$1" ] && [ "${1%/*}" != "${2%/*}" ]; then
        ln -s "$(readlink -f "$1")" "$2.new"
    else
        cp -pP "$1" "$2.new"
    fi
    mv -f "$2.new" "$2"
}

install() {
    here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
    [ "$wrapper" != "$docker" ] || refuse "$docker cannot be both the wrapper and what it wraps."
    is_ours "$here/docker-wrapper.sh" || refuse "there is no docker-wrapper.sh in $here."
    if is_ours "$docker"; then refuse "$docker is the wrapper itself; put docker's binary there first."; fi
    # Not ours: docker as it was installed, or as an upgrade has put it back over the wrapper.
    if [ -x "$wrapper" ] && ! is_ours "$wrapper"; then put "$wrapper" "$docker"; fi
    [ -x "$docker" ] || refuse "there is no docker: neither $wrapper nor $docker is a program."
#% if sink == "file"
    log=@{ log }@
    # Jobs are not root: everybody may write to it.
    if [ ! -e "$log" ]; then mkdir -p "${log%/*}" && : >"$log"; fi
    [ ! -f "$log" ] || chmod 0666 "$log"
#% endif
    rm -f "$wrapper.new"
    cp "$here/docker-wrapper.sh" "$wrapper.new"
    chmod 0755 "$wrapper.new"
    mv -f "$wrapper.new" "$wrapper"
}

undo() {
    if is_ours "$wrapper" || [ ! -e "$wrapper" ]; then
        if [ ! -x "$docker" ] || is_ours "$docker"; then refuse "there is no docker at $docker to put back."; fi
        put "$docker" "$wrapper"
    fi
    rm -f "$docker"
}

status() {
    if is_ours "$wrapper"; then
        [ -x "$docker" ] || refuse "$wrapper is the wrapper, but there is no docker at $docker."
        echo "$wrapper is the wrapper, $docker is docker."
    elif [ -x "$docker" ]; then
        refuse "$wrapper is docker again, perhaps by an upgrade; install.sh puts the wrapper back."
    else
        refuse "not installed."
    fi
}

case ${1-install} in
    install | undo | status) "${1-install}" ;;
    *) refuse "what is $1? It takes install, undo or status." ;;
esac
