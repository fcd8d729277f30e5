#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A change of role of one node, told to conntrackd: primary-backup.sh primary|backup|fault
#
# For keepalived's notify_master, notify_backup and notify_fault, or any other manager of addresses. What may be
# set, and how, is in scripts.conf beside this file. Exit status: 0, and 1 for an unknown role or where the daemon
# cannot be started; a command that fails is logged, and those after it are run all the same.

settings=${CONNTRACKD_SCRIPTS_CONF:-/etc/conntrackd/scripts.conf}
if [ -r "$settings" ]; then
    # shellcheck source=contrib/scripts.conf
    . "$settings"
fi
: "${CONNTRACKD_BIN:=/usr/sbin/conntrackd}"
: "${CONNTRACKD_CONFIG:=/etc/conntrackd/conntrackd.conf}"
: "${CONNTRACKD_LOCK:=/var/lock/conntrack.lock}"
: "${FAILOVER_LOCK:=/run/conntrackd/failover.lock}"
: "${GUARD:=yes}"
: "${GUARD_SECONDS:=60}"
: "${LOGGER:=logger -t conntrackd-failover}"

log() {
    # LOGGER is a command with its options.
    # shellcheck disable=SC2086
    $LOGGER "$(printf '%s' "$1" | tr '\n' ' ')"
}

# The daemon must not inherit the lock that this script holds, or it would hold it for as long as it lives.
conntrackd() {
    "$CONNTRACKD_BIN" -C "$CONNTRACKD_CONFIG" "$@" 9>&-
}

command_of_role() {
    said=$(conntrackd "$1" 2>&1) || log "ERROR: conntrackd $1 failed${said:+: $said}"
}

answers() {
    conntrackd -s >/dev/null 2>&1
}

# The C daemon does not start where a lock file lies. Ours holds it by flock(2), and is left alone while it does.
clear_lock() {
    [ -f "$CONNTRACKD_LOCK" ] || return 0
    if flock -n "$CONNTRACKD_LOCK" rm -f "$CONNTRACKD_LOCK"; then
        log "WARNING: conntrackd had ended without cleaning up; the log above this line may say why"
    else
        log "WARNING: a conntrackd holds $CONNTRACKD_LOCK, but does not answer"
    fi
}

# With -d it returns when it has read the kernel's table and answers.
start_daemon() {
    clear_lock
    said=$(conntrackd -d 2>&1 >/dev/null) && return 0
    log "ERROR: conntrackd cannot be started${said:+: $said}"
    return 1
}

# --- the guard
#
# A firewall that has the shared addresses but not yet the flows would answer the packets of these by resets and by
# ICMP errors, or take them for the middle of a flow of its own, and either ends them. The guard drops what belongs
# to no flow that this kernel knows: of TCP all but what opens a connection or belongs to a socket of this host, of
# UDP and SCTP what this host itself would answer.
#
# It stands while this node is no primary, since the addresses come before the script is run. While a commit runs
# it stands for GUARD_SECONDS at the most: the elements of its set go by themselves, whatever becomes of the
# daemon, of this script or of whoever runs it.

guard_table="inet conntrackd_guard"

guard_up() {
    [ "$GUARD" != no ] || return 0
    said=$(guard_rules "$1" | nft -f - 2>&1) || log "WARNING: there is no guard: $said"
}

guard_rules() {
    timeout=${1:+timeout ${1}s}
    cat <<END
table $guard_table
delete table $guard_table
table $guard_table {
    set guarded {
        type inet_proto
        flags timeout
        elements = { tcp $timeout, udp $timeout, sctp $timeout }
    }
    chain strays {
        type filter hook prerouting priority mangle - 10; policy accept;
        ct state established,related,untracked accept
        ct status confirmed accept
        meta l4proto != @guarded accept
        iifname lo accept
        tcp flags & (fin | syn | rst | ack) == syn accept
        socket wildcard 0 accept
        meta l4proto tcp drop
        fib daddr type != local accept
        socket wildcard 1 accept
        sctp chunk init exists accept
        drop
    }
}
END
}

guard_down() {
    [ "$GUARD" != no ] || return 0
    nft "table $guard_table; delete table $guard_table" 2>/dev/null
}

# --- the roles

become_primary() {
    guard_up "$GUARD_SECONDS"
    command_of_role -c # what the other node had becomes this kernel's
    after_commit
    command_of_role -f # both caches have had their day
    command_of_role -R # the internal one begins again from the kernel
    command_of_role -B # and goes to the other node, if there is one
    # A node that shares the load has to know what the other one goes on with.
    [ "${ASK_PRIMARY:-no}" != yes ] || command_of_role -n
}

after_commit() {
    if [ "$GUARD" = yes ] && [ "${GUARD_PRIMARY:-no}" = yes ]; then
        guard_up ""
    else
        guard_down
    fi
}

become_backup() {
    without_flows
    answers || start_daemon || exit 1
    command_of_role -t # this kernel's own flows go after PurgeTimeout
    command_of_role -n # the other node tells its own
}

become_faulty() {
    without_flows
    command_of_role -t
}

without_flows() {
    [ "$GUARD" != yes ] || guard_up ""
}

# keepalived does not wait for one script before it starts the next: two changes of role must not mix, and one that
# comes to its turn after a newer one began has no more to say, but that a backup has a daemon.
take_turn() {
    [ -z "${FAILOVER_TURN:-}" ] || return 0
    (umask 077 && mkdir -p "${FAILOVER_LOCK%/*}" && : >>"$FAILOVER_LOCK") 2>/dev/null || return 0
    echo $$ >"$FAILOVER_LOCK.newest"
    exec 9>>"$FAILOVER_LOCK"
    flock 9
    read -r newest <"$FAILOVER_LOCK.newest"
    [ "$newest" = $$ ]
}

case ${1:-} in
primary | backup | fault)
    if ! take_turn; then
        [ "$1" != backup ] || answers || start_daemon || exit 1
        exit 0
    fi
    ;;
esac
case ${1:-} in
primary) become_primary ;;
backup) become_backup ;;
fault) become_faulty ;;
*)
    log "ERROR: unknown change of role: ${1:-none}"
    echo "Usage: ${0##*/} {primary|backup|fault}"
    exit 1
    ;;
esac
exit 0
