# SPDX-License-Identifier: GPL-2.0-or-later
"""What `conntrack --help` says."""

from pyconntrack.version import VERSION

HELP = f"""\
Command line interface for the connection tracking system. Version {VERSION} (pyconntrack)
Usage: conntrack [commands] [options]

Commands:
  -L, --dump [table] [options]		List the table
  -G, --get [table] parameters		Show the one entry of a tuple
  -D, --delete [table] parameters	Delete what is selected
  -I, --create [table] parameters	Create an entry
  -A, --add parameters			Create an entry, unless it is there
  -U, --update parameters		Change what is selected
  -E, --event [table] [options]		Show what happens, as it happens
  -F, --flush [table]			Delete everything
  -C, --counter [table]			Show how many entries there are
  -S, --stats [table]			Show what the kernel counted
  -R, --load-file file			Carry out the lines of a file; - is standard input
  -V, --version				Show the release
  -h, --help				Show this

Tables: conntrack, expect, dying, unconfirmed

Conntrack parameters and options:
  -n, --src-nat [ip[:port]]		With source NAT, to this address
  -g, --dst-nat [ip[:port]]		With destination NAT, to this address
  -j, --any-nat [ip[:port]]		With NAT of either kind
  -m, --mark mark[/mask]		Mark to select by, or to set
  -c, --secmark secmark			Security mark
  -l, --label label[,...]		Labels that are all set
  -i, --id id				Identifier, as -o id shows it
  -e, --event-mask mask[,...]		Events to show: ALL, NEW, UPDATES, DESTROY
  -b, --buffer-size bytes		Buffer for events
  -z, --zero				Set counters to zero as they are shown
  -o, --output type[,...]		xml, json, save, extended, timestamp, id,
					ktimestamp, labels, userspace
  --labelmap file			Names of labels, instead of
					/etc/xtables/connlabel.conf

Expectation parameters and options:
  --tuple-src ip, --tuple-dst ip	Addresses that are expected
  --tuple-port-src port, --tuple-port-dst port
					Ports that are expected
  --mask-port-src mask, --mask-port-dst mask
					Bits of the ports that count

Updating parameters and options:
  --label-add label[,...]		Labels to add, also with -I and -A
  --label-del[=label[,...]]		Labels to take away; without a name, all

Common parameters and options:
  -s, --src, --orig-src ip[/mask]	Source in the original direction
  -d, --dst, --orig-dst ip[/mask]	Destination in the original direction
  -r, --reply-src ip			Source in the reply direction
  -q, --reply-dst ip			Destination in the reply direction
  --mask-src mask, --mask-dst mask	Bits of -s and -d that count
  -p, --protonum protocol		Name or number, such as tcp
  -f, --family family			ipv4 or ipv6
  -t, --timeout seconds			Timeout
  -u, --status status[,...]		ASSURED, SEEN_REPLY, FIXED_TIMEOUT, EXPECTED,
					OFFLOAD, UNREPLIED, UNSET
  -w, --zone zone			Zone of both directions
  --orig-zone zone, --reply-zone zone	Zone of one direction

Options of the protocols, after -p:
  tcp, udp, udplite, sctp, dccp
    --sport, --orig-port-src port	Source port in the original direction
    --dport, --orig-port-dst port	Destination port in the original direction
    --reply-port-src port		Source port in the reply direction
    --reply-port-dst port		Destination port in the reply direction
  tcp, sctp, dccp
    --state state			State, such as ESTABLISHED
  sctp
    --orig-vtag tag, --reply-vtag tag	Verification tags
  dccp
    --role client|server		Who began in the original direction
  icmp, icmpv6
    --icmp-type, --icmp-code, --icmp-id number
    --icmpv6-type, --icmpv6-code, --icmpv6-id number
  gre
    --srckey, --orig-key-src key	Source key in the original direction
    --dstkey, --orig-key-dst key	Destination key in the original direction
    --reply-key-src key, --reply-key-dst key
    --tuple-key-src key, --tuple-key-dst key, --mask-key-src mask, --mask-key-dst mask

All of it is told in conntrack(8).
"""
