#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Addresses that every node of a cluster has at the same time: shared-addresses.sh INTERFACE NUMBER ADDRESS...
#
# Makes the interface sharedNUMBER beside INTERFACE. On all nodes it has the same Ethernet address, which is never
# the source of a frame: so no switch learns where it is, and all nodes get every frame to it. Which of them takes
# it is a matter of the packet filter: see multiprimary.sh, with CLUSTER_INTERFACES="shared1 shared2".
# ADDRESS has its prefix length; several, of IPv4 and IPv6, may be given. INTERFACE keeps the node's own addresses.
set -eu

if [ $# -lt 3 ]; then
    echo "Usage: ${0##*/} INTERFACE NUMBER ADDRESS..." >&2
    exit 1
fi
interface=$1
number=$2
shared=shared$2
shift 2
hardware=$(printf '02:00:5e:00:01:%02x' "$number")
# Of this node alone, whatever its interface has.
masked=02:$(sed 's/^..://' "/sys/class/net/$interface/address")

link_local() {
    echo "$1" | sed 's/\(..\):\(..\):\(..\):\(..\):\(..\):\(..\)/fe80::\1\2:\3ff:fe\4:\5\6/'
}

ip link add link "$interface" name "$shared" address "$hardware" type macvlan mode private
# One made from the shared Ethernet address would be the same on all nodes; without any, no neighbour is asked for.
ip link set dev "$shared" addrgenmode none
ip address add "$(link_local "$masked")/64" dev "$shared" nodad
# Packets leave by the interface itself, wherever it has an address in the same network.
for address in "$@"; do
    case $address in
    *:*) ip address add "$address" dev "$shared" metric 2048 nodad ;;
    *) ip address add "$address" dev "$shared" metric 2048 ;;
    esac
done
nft -f - <<END
table netdev conntrackd_$shared
delete table netdev conntrackd_$shared
table netdev conntrackd_$shared {
    chain out {
        type filter hook egress device "$interface" priority filter; policy accept;
        ether saddr $hardware ether saddr set $masked
    }
}
END
# Only the interface that has an address may tell where it is, and packets may leave by the other one.
sysctl -q -w "net.ipv4.conf.$interface.arp_ignore=1" "net.ipv4.conf.$shared.arp_ignore=1" \
    "net.ipv4.conf.$interface.arp_announce=2" "net.ipv4.conf.$interface.rp_filter=0" \
    "net.ipv4.conf.$shared.rp_filter=0" "net.ipv4.conf.all.rp_filter=0"
ip link set dev "$shared" up
