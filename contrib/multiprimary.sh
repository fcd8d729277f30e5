#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A change of role in a cluster whose nodes share the load of one address, and the cluster's packet filter:
#   multiprimary.sh start|stop                          at boot and shutdown
#   multiprimary.sh primary|backup|fault NODE           NODE is the number of the share of the load, 1 and up
#
# Each node takes the packets whose flow's first address hashes to a share that is its own at the time. Beside this
# file stands primary-backup.sh, which talks to conntrackd. What may be set is in scripts.conf. Exit status: 0, and
# 1 for wrong arguments or where the daemon cannot be started.

settings=${CONNTRACKD_SCRIPTS_CONF:-/etc/conntrackd/scripts.conf}
if [ -r "$settings" ]; then
    # shellcheck source=contrib/scripts.conf
    . "$settings"
fi
: "${NODEID:=1}"
: "${CLUSTER_NODES:=2}"
: "${CLUSTER_SEED:=0xdeadbeed}"
: "${CLUSTER_FILTER:=iptables}"
: "${CLUSTER_INTERFACES:=eth1 eth2}"
: "${CLUSTER_FAMILIES:=ipv4 ipv6}"
: "${CLUSTER_EXEMPT:=}"
: "${FAILOVER_LOCK:=/run/conntrackd/failover.lock}"
: "${LOGGER:=logger -t conntrackd-failover}"
own_directory=$(dirname "$(readlink -f "$0")")

log() {
    # LOGGER is a command with its options.
    # shellcheck disable=SC2086
    $LOGGER "$(printf '%s' "$1" | tr '\n' ' ')"
}

usage() {
    echo "Usage: ${0##*/} {primary|backup|fault|start|stop} {nodeid}"
    exit 1
}

is_share() {
    case $1 in
    '' | *[!0-9]*) return 1 ;;
    esac
    [ "$1" -ge 1 ] && [ "$1" -le "$CLUSTER_NODES" ]
}

# Packets of a translated flow reach all nodes, and only one knows it: the guard stands on the primaries, too.
role() {
    FAILOVER_TURN=taken GUARD_PRIMARY=yes ASK_PRIMARY=yes "$own_directory/primary-backup.sh" "$1"
}

# As in primary-backup.sh, for each share: of changes that come close together the newest is what stays.
take_turn() {
    (umask 077 && mkdir -p "${FAILOVER_LOCK%/*}" && : >>"$FAILOVER_LOCK") 2>/dev/null || return 0
    echo $$ >"$FAILOVER_LOCK.$1"
    exec 9>>"$FAILOVER_LOCK"
    flock 9
    read -r newest <"$FAILOVER_LOCK.$1"
    [ "$newest" = $$ ]
}

# --- the packet filter by iptables: packets of a share of this node return from the chain, all others are dropped

chain=CONNTRACKD-CLUSTER

each_family() {
    for family in $CLUSTER_FAMILIES; do
        case $family in
        ipv4) iptables -w -t mangle "$@" || return ;;
        ipv6) ip6tables -w -t mangle "$@" || return ;;
        esac
    done
}

iptables_start() {
    iptables_stop 2>/dev/null
    each_family -N "$chain"
    each_family -A "$chain" -p 112 -j RETURN # VRRP is for every node
    case $CLUSTER_FAMILIES in
    *ipv6*)
        for type in 133 134 135 136; do # so is the discovery of neighbours
            ip6tables -w -t mangle -A "$chain" -p icmpv6 --icmpv6-type "$type" -j RETURN
        done
        ;;
    esac
    for address in $CLUSTER_EXEMPT; do
        case $address in
        *:*) ip6tables -w -t mangle -A "$chain" -d "$address" -j RETURN ;;
        *) iptables -w -t mangle -A "$chain" -d "$address" -j RETURN ;;
        esac
    done
    each_family -A "$chain" -j DROP
    iptables_add "$NODEID"
    for interface in $CLUSTER_INTERFACES; do
        each_family -A PREROUTING -i "$interface" -j "$chain"
    done
}

iptables_stop() {
    for interface in $CLUSTER_INTERFACES; do
        each_family -D PREROUTING -i "$interface" -j "$chain"
    done
    each_family -F "$chain"
    each_family -X "$chain"
}

with_share() {
    share=$1
    shift
    each_family "$@" -m cluster --cluster-total-nodes "$CLUSTER_NODES" --cluster-local-node "$share" \
        --cluster-hash-seed "$CLUSTER_SEED" -j RETURN
}

iptables_add() {
    with_share "$1" -C "$chain" 2>/dev/null || with_share "$1" -I "$chain"
}

iptables_remove() {
    while with_share "$1" -C "$chain" 2>/dev/null; do
        with_share "$1" -D "$chain" || return
    done
}

# --- the same by nftables: a table of its own, and in it a chain for each share, which takes its packets or drops them

table="inet conntrackd_cluster"

list() {
    first=$1
    shift
    printf '%s' "$first"
    [ $# -eq 0 ] || printf ', %s' "$@"
}

exempt_rules() {
    for address in $CLUSTER_EXEMPT; do
        case $address in
        *:*) echo "ip6 daddr $address accept" ;;
        *) echo "ip daddr $address accept" ;;
        esac
    done
}

share_chains() {
    number=0
    while [ $((number += 1)) -le "$CLUSTER_NODES" ]; do
        verdict=drop
        [ "$number" -ne "$NODEID" ] || verdict=$mine
        echo "chain share_$number { $verdict; }"
    done
}

share_map() {
    number=0
    while [ $((number += 1)) -le "$CLUSTER_NODES" ]; do
        printf '%s' "$number : goto share_$number, "
    done
}

# Packets to the Ethernet address that all nodes share are none of this host's to the kernel, until told so.
mine="meta pkttype set host accept"

nftables_start() {
    share="mod $CLUSTER_NODES seed $CLUSTER_SEED offset 1 vmap { $(share_map) }"
    # The interfaces are words of one setting.
    # shellcheck disable=SC2086
    nft -f - <<END
table $table
delete table $table
table $table {
    $(share_chains)
    chain select {
        type filter hook prerouting priority mangle - 20; policy accept;
        iifname != { $(list $CLUSTER_INTERFACES) } accept
        meta l4proto 112 accept
        icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
        $(exempt_rules)
        jhash ct original ip saddr $share
        jhash ct original ip6 saddr $share
        drop
    }
}
END
}

nftables_stop() {
    nft "delete table $table"
}

nftables_add() {
    nft "flush chain $table share_$1; add rule $table share_$1 $mine"
}

nftables_remove() {
    nft "flush chain $table share_$1; add rule $table share_$1 drop"
}

# --- the commands

filter_step() {
    case "$CLUSTER_FILTER $1" in
    "iptables start") iptables_start ;;
    "iptables stop") iptables_stop ;;
    "iptables add") iptables_add "$2" ;;
    "iptables remove") iptables_remove "$2" ;;
    "nftables start") nftables_start ;;
    "nftables stop") nftables_stop ;;
    "nftables add") nftables_add "$2" ;;
    "nftables remove") nftables_remove "$2" ;;
    *) echo "CLUSTER_FILTER is neither iptables nor nftables: $CLUSTER_FILTER" && return 1 ;;
    esac
}

cluster_filter() {
    said=$(filter_step "$@" 2>&1) || log "ERROR: the cluster's packet filter: $*${said:+: $said}"
}

case ${1:-} in
start | stop)
    cluster_filter "$1"
    exit 0
    ;;
esac
if [ $# -ne 2 ] || ! is_share "$2"; then
    log "ERROR: a change of role and the number of a share are needed: $*"
    usage
fi
current=yes
case $1 in
primary | backup | fault) take_turn "$2" || current=no ;;
esac
case $1 in
primary)
    [ "$current" = yes ] || exit 0
    # Whichever share it is, the other node's flows are wanted now.
    role primary
    cluster_filter add "$2"
    ;;
backup)
    # Another node has taken one of its own shares back: this one stays primary of the rest.
    started=0
    if [ "$2" -eq "$NODEID" ]; then
        role backup || started=1
    fi
    [ "$current" = no ] || cluster_filter remove "$2"
    exit $started
    ;;
fault)
    [ "$current" = yes ] || exit 0
    role fault
    cluster_filter remove "$2"
    ;;
*)
    log "ERROR: unknown change of role: $1"
    usage
    ;;
esac
exit 0
