# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: E501 (a command line is a line)
"""`-I` and `-A`: new flows of every protocol with every attribute, and those that cannot be."""

from __future__ import annotations

from tests.conntrack.cases import Case, changes

TCP = "-s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 1000 --dport 80"
UDP = "-s 1.1.1.1 -d 2.2.2.2 -p udp --sport 1000 --dport 53 -t 300"
OPEN = f"{TCP} --state ESTABLISHED -t 3000"
UDP6 = "-s fd00::1 -d fd00::2 -p udp --sport 1000 --dport 53 -t 300"
ICMP = "-s 1.1.1.1 -d 2.2.2.2 -p icmp -t 300"
ICMPV6 = "-s fd00::1 -d fd00::2 -p icmpv6 -t 300"
SCTP = "-s 1.1.1.1 -d 2.2.2.2 -p sctp --sport 1 --dport 2 -t 300"
GRE = "-s 1.1.1.1 -d 2.2.2.2 -p gre -t 300"
DCCP = "-s 1.1.1.1 -d 2.2.2.2 -p dccp --sport 1 --dport 2 -t 300"
EXISTING = "-s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21 --state CLOSE -t 100"

TCP_STATES = (
    "NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE LISTEN SYN_SENT2"
)

PROTOCOLS = f"""
    -I {OPEN}
    --create {OPEN}
    --creat {OPEN}
    -I conntrack {OPEN}
    -Iconntrack {OPEN}
    -A {OPEN}
    --add {OPEN}
    -A conntrack {OPEN}
    {OPEN} -I
    -I --src 1.1.1.1 --dst 2.2.2.2 --proto tcp --orig-port-src 5 --orig-port-dst 6 --state CLOSE --timeout 100
    -I --orig-src=1.1.1.1 --orig-dst=2.2.2.2 --protonum=6 --sport=5 --dport=6 --state=CLOSE --timeout=100
    -I -s1.1.1.1 -d2.2.2.2 -ptcp --sport=5 --dport=6 --state=CLOSE -t100
    -I -r 2.2.2.2 -q 1.1.1.1 -p tcp --reply-port-src 80 --reply-port-dst 1000 --state ESTABLISHED -t 3000
    -I -r 2.2.2.2 -q 1.1.1.1 -p tcp --sport 1000 --dport 80 --state ESTABLISHED -t 3000
    -I {OPEN} -r 2.2.2.2 -q 1.1.1.1 --reply-port-src 80 --reply-port-dst 1000
    -I {OPEN} -r 2.2.2.2 -q 1.1.1.1
    -I {OPEN} -r 3.3.3.3 -q 1.1.1.1 --reply-port-src 80 --reply-port-dst 1000
    -I {OPEN} -r 2.2.2.2 -q 1.1.1.1 --reply-port-src 81 --reply-port-dst 1000
    -I {OPEN} -r 2.2.2.2
    -I {OPEN} -q 1.1.1.1
    -I {OPEN} --reply-port-src 80
    -I {OPEN} --reply-port-dst 1001
    -I {TCP} --state ESTABLISHED
    -I {TCP} -t 300
    -I {TCP} --state established -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 1 --state CLOSE -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p tcp --dport 1 --state CLOSE -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p tcp --state CLOSE -t 300
    -I -s 1.1.1.1 -p tcp --sport 1 --dport 2 --state CLOSE -t 300
    -I -d 1.1.1.1 -p tcp --sport 1 --dport 2 --state CLOSE -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2 --state CLOSE -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2
    -I
    -A
    -I -p tcp
    -I -p udp
    -I -p icmp
    -I -p gre
    -I -p 50
    -I -t 300
    -I {UDP}
    -A {UDP}
    -I {UDP6}
    -A {UDP6} -f ipv6
    -I -s fd00::1 -d fd00::2 -p tcp --sport 1 --dport 2 --state SYN_RECV -t 300 -u SEEN_REPLY
    -I -s fd00::1 -d 2.2.2.2 -p udp --sport 1 --dport 2 -t 300
    -I -s 1.1.1.1 -d fd00::2 -p udp --sport 1 --dport 2 -t 300
    -I {UDP} -f ipv6
    -I {UDP6} -f ipv4
    -I -s ::ffff:1.1.1.1 -d ::ffff:2.2.2.2 -p udp --sport 1 --dport 2 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p udp -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 0 --dport 0 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 65535 --dport 65535 -t 300
    -I -s 0.0.0.0 -d 255.255.255.255 -p udp --sport 68 --dport 67 -t 300
    -I -s 1.1.1.1 -d 1.1.1.1 -p udp --sport 5 --dport 5 -t 300
    -I -s :: -d ff02::1 -p udp --sport 5 --dport 5 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p udplite --sport 1000 --dport 53 -t 300
    -I -s fd00::1 -d fd00::2 -p udplite --sport 1000 --dport 53 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p udplite -t 300
    -I {ICMP} --icmp-type 8 --icmp-code 0 --icmp-id 77
    -I {ICMP} --icmp-type 8 --icmp-code 0
    -I {ICMP} --icmp-type 8
    -I {ICMP} --icmp-code 0
    -I {ICMP}
    -I {ICMP} --icmp-type 0 --icmp-code 0
    -I {ICMP} --icmp-type 13 --icmp-code 0
    -I {ICMP} --icmp-type 15 --icmp-code 0
    -I {ICMP} --icmp-type 17 --icmp-code 0
    -I {ICMP} --icmp-type 10 --icmp-code 0
    -I {ICMP} --icmp-type 3 --icmp-code 1
    -I {ICMP} --icmp-type 255 --icmp-code 255
    -I {ICMP} --icmp-type 256 --icmp-code 0
    -I {ICMP} --icmp-type 8 --icmp-code 0 --icmp-id 65536
    -I {ICMP} --icmp-type echo --icmp-code 0
    -I -s fd00::1 -d fd00::2 -p icmp -t 300 --icmp-type 8 --icmp-code 0
    -I {ICMPV6} --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 9
    -I {ICMPV6} --icmpv6-type 128 --icmpv6-code 0
    -I {ICMPV6} --icmpv6-type 129 --icmpv6-code 0
    -I {ICMPV6} --icmpv6-type 139 --icmpv6-code 0
    -I {ICMPV6} --icmpv6-type 130 --icmpv6-code 0
    -I {ICMPV6} --icmpv6-type 8
    -I {ICMPV6}
    -I -s 1.1.1.1 -d 2.2.2.2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 -t 300
    -I {SCTP} --state ESTABLISHED --orig-vtag 1 --reply-vtag 2
    -I {SCTP} --state ESTABLISHED --orig-vtag 0x10 --reply-vtag 0xffffffff
    -I {SCTP} --state ESTABLISHED --orig-vtag 1
    -I {SCTP} --state ESTABLISHED
    -I {SCTP} --orig-vtag 1 --reply-vtag 2
    -I {SCTP}
    -I -s fd00::1 -d fd00::2 -p sctp --sport 1 --dport 2 --state COOKIE_WAIT --orig-vtag 0 --reply-vtag 0 -t 300
    -I {DCCP} --state OPEN --role client
    -I {DCCP} --state OPEN --role server
    -I {DCCP} --state OPEN
    -I {DCCP} --role client
    -I {DCCP}
    -I {GRE} --srckey 0x10 --dstkey 32
    -I {GRE} --srckey 010 --dstkey 0
    -I {GRE} --orig-key-src 1 --orig-key-dst 2 --reply-key-src 2 --reply-key-dst 1
    -I {GRE} --srckey 1 --dstkey 2 --reply-key-src 3 --reply-key-dst 1
    -I {GRE} --srckey 1
    -I {GRE}
    -I {GRE} --srckey 0x10000 --dstkey 1
    -I {GRE} --srckey xyz --dstkey 1
    -I -s 1.1.1.1 -d 2.2.2.2 -p 50 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p esp -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p 0 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p 255 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p 89
    -I -s fd00::1 -d fd00::2 -p 89 -t 300
    -I -s 1.1.1.1 -d 2.2.2.2 -p 50 --sport 5 -t 300
    -I -p tcp -p udp -s 1.1.1.1 -d 2.2.2.2 --sport 1000 --dport 53 -t 300
"""

ATTRIBUTES = f"""
    -I {UDP} -m 5
    -I {UDP} --mark 0x10
    -I {UDP} -m 5/0xff
    -I {UDP} -m 0
    -I {UDP} -m 0xffffffff
    -I {UDP} -m 4294967296
    -I {UDP} -m 5 -m 6
    -I {UDP} -u SEEN_REPLY -m 0x10
    -I {UDP} -m 0x10 -u SEEN_REPLY    ## differs: mark-before-status
    -I {UDP} -u ASSURED
    -I {UDP} -u SEEN_REPLY
    -I {UDP} -u SEEN_REPLY,ASSURED
    -I {UDP} -u FIXED_TIMEOUT
    -I {UDP} -u SEEN_REPLY,ASSURED,FIXED_TIMEOUT
    -I {UDP} -u EXPECTED
    -I {UDP} -u OFFLOAD
    -I {UDP} -u UNSET
    -I {UDP} -u UNSET,ASSURED
    -I {UDP} -u ASSURED -u SEEN_REPLY
    -I {UDP} -u CONFIRMED
    -I {UDP} -u ''
    -I {UDP} -u ASSURED,
    -I {UDP} -w 5
    -I {UDP} --zone 65535
    -I {UDP} -w 0
    -I {UDP} --orig-zone 5
    -I {UDP} --reply-zone 5
    -I {UDP} --orig-zone 5 --reply-zone 5
    -I {UDP} --orig-zone 5 --reply-zone 6
    -I {UDP} -w 5 --orig-zone 5
    -I {UDP} -w 5 --reply-zone 6
    -I {UDP6} -w 7 -m 8
    -I {UDP} -n 3.3.3.3
    -I {UDP} --src-nat 3.3.3.3
    -I {UDP} -n 3.3.3.3:4000
    -I {UDP} -n 3.3.3.3:0
    -I {UDP} -n 3.3.3.3:65535
    -I {UDP} -n 3.3.3.3:65536
    -I {UDP} -n 3.3.3.3:http
    -I {UDP} -n 3.3.3.3:
    -I {UDP} -n 3.3.3.3-4.4.4.4
    -I {UDP} -n 3.3.3.3:1-2
    -I {UDP} -n 3.3.3
    -I {UDP} -n :4000
    -I {UDP} -n fd00::3
    -I {UDP} -n [fd00::3]:5
    -I {UDP} -n
    -I {UDP} -g 3.3.3.3
    -I {UDP} --dst-nat 3.3.3.3:4000
    -I {UDP} --dst-nat=3.3.3.3:4000    ## as: -I {UDP} --dst-nat 3.3.3.3:4000
    -I {UDP} -g 2.2.2.2:4000
    -I {UDP} -n 3.3.3.3 -g 4.4.4.4
    -I {UDP} -n 3.3.3.3:4000 -g 4.4.4.4:5000
    -I {UDP} -n 3.3.3.3 -n 4.4.4.4
    -I {UDP} -j 3.3.3.3
    -I {UDP} -n 3.3.3.3 -r 2.2.2.2 -q 3.3.3.3
    -I {UDP} -g 3.3.3.3 -r 3.3.3.3 -q 1.1.1.1
    -I {UDP} -g 3.3.3.3 -q 1.1.1.1 --reply-port-src 53 --reply-port-dst 1000
    -I {UDP} -g 3.3.3.3 -q 1.1.1.1 --reply-port-src 54 --reply-port-dst 1000
    -I {UDP} -r 2.2.2.2 -n 3.3.3.3 --reply-port-src 53 --reply-port-dst 1001
    -I {UDP6} -n fd00::3
    -I {UDP6} -n [fd00::3]:4000
    -I {UDP6} -g fd00::3
    -I {UDP6} -g [fd00::3]:4000
    -I {UDP6} -n fd00::3 -g fd00::4
    -I {UDP6} -g [fd00::3]
    -I {UDP6} -g [fd00::3:5
    -I {UDP6} -n 3.3.3.3
    -I {OPEN} -n 3.3.3.3:4000
    -I {OPEN} -g 3.3.3.3:4000
    -I {ICMP} --icmp-type 8 --icmp-code 0 --icmp-id 5 -n 3.3.3.3
    -I {ICMP} --icmp-type 8 --icmp-code 0 --icmp-id 5 -n 3.3.3.3:6    ## differs: translated-port
    -I {SCTP} --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 -g 3.3.3.3:5    ## differs: translated-port
    -I {GRE} --srckey 1 --dstkey 2 -n 3.3.3.3
    -I -s 1.1.1.1 -d 2.2.2.2 -p 50 -t 300 -n 3.3.3.3
    -I -s 1.1.1.1 -d 2.2.2.2 -p 50 -t 300 -n 3.3.3.3:5
    -I {UDP} -t 0
    -I {UDP} -t 4294967295
    -I {UDP} -t 4294967296
    -I {UDP} -t -1
    -I {UDP} -t abc
    -I {UDP} -t 0x64
    -I {UDP} -t 900s
    -I {UDP} -t ''
    -I {UDP} -l first
    -I {UDP} --label-add first
    -I {UDP} --label-del first
    -I {UDP} --label-del
    -I {UDP} -c 5
    -I {UDP} --id 5    ## differs: crash
    -I {UDP} -z
    -I {UDP} -o xml
    -I {UDP} -e NEW
    -I {UDP} -b 100
    -I {UDP} --mask-src 255.0.0.0
    -I {UDP} --tuple-src 1.2.3.4
    -I -s 1.1.1.0/24 -d 2.2.2.2 -p udp --sport 1 --dport 2 -t 300
    -I -s 1.1.1.1/32 -d 2.2.2.2 -p udp --sport 1 --dport 2 -t 300
    -I dying {UDP}
    -I unconfirmed {UDP}
"""

CASES: list[Case] = [
    *changes("empty", PROTOCOLS),
    *changes("empty", ATTRIBUTES),
    *changes("empty", "\n".join(f"-I {TCP} --state {state} -t 1000" for state in TCP_STATES.split())),
    *changes(
        "one",
        f"""
        -I {EXISTING}
        -A {EXISTING}
        -I {EXISTING} -w 5
        -A {EXISTING} -m 5
        -I -r 2.2.2.2 -q 1.1.1.1 -p tcp --reply-port-src 21 --reply-port-dst 2005 --state CLOSE -t 100
        -I -s 2.2.2.2 -d 1.1.1.1 -p tcp --sport 21 --dport 2005 --state CLOSE -t 100
        """,
    ),
    *changes(
        "empty",
        f"""
        -I {UDP} --label-add first
        -I {UDP} --label-add first,last
        -I {UDP} --label-add 'first, last'
        -I {UDP} --label-add first --label-add second
        -I {UDP} --label-add with-dash
        -I {UDP} --label-add 0x10
        -I {UDP} --label-add 0
        -I {UDP} --label-add none
        -I {UDP} --label-add first,none
        -I {UDP} --label-add ''
        -I {UDP} -l first
        -A {UDP} --label-add middle
        -A {UDP6} --label-add middle -m 5 -w 6
        """,
        labels=True,
    ),
]
