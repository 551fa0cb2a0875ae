#!/bin/sh
# Runs one engine and stops it when no process uses it any more, however its users ended.
#   sh watch.sh FOLDER PORTS SIGNAL LINGER ARCHIVE COMMAND...
# Users register as FOLDER/users/NAME holding "PID START LINGER". START is the process's start time, so that a pid used
# again is not taken for its old owner; PID 0 stands for "until told to stop". LINGER is in seconds.
# ARCHIVE is where the class archive goes that the engine writes to FOLDER/classes.jsa at its end; - for none.

folder=$1 ports=$2 signal=$3 linger=$4 archive=$5
shift 5
left=$linger
asked=
trap '' HUP INT
trap 'asked=1' TERM
cd "$folder" || exit 1

# Sets `started` to the start time of process $1; fails when it is gone (or only waits to be reaped).
look_up() {
    if [ -d /proc/self ]; then
        { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
        # shellcheck disable=SC2086
        set -- ${line##*) }
        started=${20}
        [ "$1" != Z ]
    else
        started=$(ps -o lstart= -p "$1") && started=$(echo $started | tr ' ' '_')
        [ -n "$started" ]
    fi
}

# Are there users? Raises `left` to the longest linger among them and removes the files of the dead.
used() {
    found=1
    for user in users/*; do
        { read -r pid start wish <"$user"; } 2>/dev/null || continue
        if [ "$pid" = 0 ] || { look_up "$pid" && [ "$started" = "$start" ]; }; then
            found=0
            [ "$wish" -gt "$left" ] && left=$wish
        else
            rm -f "$user"
        fi
    done
    return $found
}

running() { look_up "$engine" && [ "$started" = "$since" ]; }

# From here on nobody may attach; a user who did so in the last moment is seen by the second look.
close() {
    mv running.json stopping.json 2>/dev/null
    if [ -z "$asked" ] && used; then
        mv stopping.json running.json && return 1
    fi
    return 0
}

stop() {
    kill -s "$signal" "$engine" 2>/dev/null
    tries=0
    while running; do
        tries=$((tries + 1))
        [ $tries -eq 300 ] && kill -KILL "$engine"
        sleep 0.1
    done
    if [ "$archive" != - ] && [ -s classes.jsa ]; then
        mv classes.jsa "$archive"
    fi
}

"$@" </dev/null &
engine=$!
if look_up $engine; then
    since=$started
    look_up $$
    printf '{"watcher":{"pid":%s,"started":"%s"},"engine":{"pid":%s,"started":"%s"},"ports":%s}\n' \
        $$ "$started" $engine "$since" "$ports" >running.json.new
    mv running.json.new running.json
    while running; do
        if [ -z "$asked" ] && used; then
            :
        else
            left=$((left - 1))
            if [ -n "$asked" ] || [ $left -lt 0 ]; then
                close && stop && break
            fi
        fi
        sleep 1 &
        wait $!
    done
fi
rm -f running.json stopping.json ready classes.jsa
