# SPDX-License-Identifier: GPL-2.0-or-later
"""`-G`: one flow by its tuple, of each protocol."""

from __future__ import annotations

from tests.conntrack.cases import Case, reads

TUPLE = "-s 10.0.2.1 -d 10.1.0.3 -p tcp --sport 3001 --dport 22"

CASES: list[Case] = [
    *reads(
        "mixed",
        f"""
        -G {TUPLE}
        --get {TUPLE}
        -G conntrack {TUPLE}
        -Gconntrack {TUPLE}
        -G {TUPLE} -f ipv4
        -G {TUPLE} -f ipv6
        -G {TUPLE} -m 1
        -G {TUPLE} -m 99
        -G {TUPLE} -m 2/2
        -G {TUPLE} -u ASSURED
        -G {TUPLE} -t 5
        -G {TUPLE} -w 0
        -G {TUPLE} -w 1
        -G {TUPLE} --orig-zone 1
        -G {TUPLE} --reply-zone 1
        -G {TUPLE} -n
        -G {TUPLE} -n 1.2.3.4
        -G {TUPLE} -l first
        -G {TUPLE} -c 5
        -G {TUPLE} --id 5    ## differs: crash
        -G {TUPLE} -z
        -G {TUPLE} -e NEW
        -G {TUPLE} --state ESTABLISHED
        -G {TUPLE} --state CLOSE
        -G {TUPLE} --mask-src 255.255.255.0
        -G {TUPLE} --tuple-src 1.2.3.4
        -G {TUPLE} --reply-port-src 5    ## differs: get-reply
        -G {TUPLE} -r 10.1.0.3
        -G {TUPLE} -q 10.0.2.1
        -G -s 10.0.2.1 -d 10.1.0.3 -p tcp --sport 3001
        -G -s 10.0.2.1 -d 10.1.0.3 -p tcp
        -G -s 10.0.2.1 -d 10.1.0.3
        -G -s 10.0.2.1 -p tcp --sport 3001 --dport 22
        -G -p tcp --sport 3001 --dport 22
        -G -p tcp
        -G
        -G -s 10.0.2.1 -d 10.1.0.3 -p tcp --sport 3001 --dport 23
        -G -s 10.0.2.1 -d 10.1.0.3 -p udp --sport 3001 --dport 22
        -G -r 10.1.0.3 -q 10.0.2.1 -p tcp --reply-port-src 22 --reply-port-dst 3001
        -G -r 10.1.0.3 -q 10.0.2.1 -p tcp --sport 3001 --dport 22
        -G -r 10.1.0.3 -q 10.0.2.1 -p tcp
        -G -s 10.0.2.0/24 -d 10.1.0.3 -p tcp --sport 3001 --dport 22
        -G -s 10.0.7.1 -d 10.1.5.1 -p tcp --sport 6001 --dport 80
        -G -r 10.1.5.1 -q 192.0.2.1 -p tcp --reply-port-src 80 --reply-port-dst 7000
        -G -s fd00::3 -d fd01::3 -p tcp --sport 65535 --dport 1
        -G -s fd00::3 -d 10.1.0.3 -p tcp --sport 65535 --dport 1
        -G -f ipv6 -s fd00::3 -d fd01::3 -p tcp --sport 65535 --dport 1
        -G -s fd00::7:1 -d fd01::b -p tcp --sport 6001 --dport 80
        -G -s fd00::4 -d fd01::4 -p udp --sport 4000 --dport 53
        -G -s 10.0.3.1 -d 10.1.1.1 -p udp --sport 4000 --dport 53
        -G -s 10.0.3.100 -d 10.1.1.1 -p udp --sport 0 --dport 0
        -G -s 10.0.3.102 -d 10.1.1.1 -p udplite --sport 4000 --dport 53
        -G -s 10.0.4.1 -d 10.1.2.1 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 800
        -G -s 10.0.4.1 -d 10.1.2.1 -p icmp --icmp-type 13 --icmp-code 0 --icmp-id 1300
        -G -s 10.0.4.1 -d 10.1.2.1 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 801
        -G -s 10.0.4.2 -d 10.1.2.1 -p icmp --icmp-type 8 --icmp-code 0
        -G -s 10.0.4.2 -d 10.1.2.1 -p icmp --icmp-type 8
        -G -s 10.0.4.2 -d 10.1.2.1 -p icmp --icmp-id 8
        -G -s 10.0.4.2 -d 10.1.2.1 -p icmp
        -G -s fd00::6 -d fd01::6 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 65535
        -G -s fd00::6 -d fd01::7 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0
        -G -s fd00::6 -d fd01::7 -p icmpv6
        -G -s 10.0.5.1 -d 10.1.3.1 -p sctp --sport 5000 --dport 3868
        -G -s 10.0.5.1 -d 10.1.3.1 -p sctp --sport 5004 --dport 3868 --state NONE
        -G -s 10.0.5.1 -d 10.1.3.1 -p sctp --sport 5004 --dport 3868 --orig-vtag 5
        -G -s 10.0.5.2 -d 10.1.3.1 -p dccp --sport 5000 --dport 5001
        -G -s 10.0.5.2 -d 10.1.3.1 -p dccp --sport 0 --dport 0    ## differs: dccp-ports
        -G -s 10.0.5.3 -d 10.1.3.1 -p gre --srckey 1 --dstkey 0x100
        -G -s 10.0.5.3 -d 10.1.3.1 -p gre --srckey 1
        -G -s 10.0.5.3 -d 10.1.3.1 -p gre
        -G -s fd00::8 -d fd01::9 -p gre --srckey 65535 --dstkey 0
        -G -s 10.0.6.1 -d 10.1.4.1 -p 50
        -G -s 10.0.6.1 -d 10.1.4.1 -p esp
        -G -s 10.0.6.1 -d 10.1.4.1 -p 255
        -G -s 10.0.6.1 -d 10.1.4.1 -p 0
        -G -s 10.0.6.1 -d 10.1.4.1 -p 3
        -G -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123
        -G -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 -w 1
        -G -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 -w 65535
        -G -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 -w 3
        -G -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 --orig-zone 3
        -G -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 --reply-zone 4
        -G -s 10.0.8.2 -d 10.1.6.1 -p tcp --sport 1 --dport 2 --orig-zone 3
        -G -s 10.0.9.20 -d 10.1.7.1 -p tcp --sport 1024 --dport 21 -o id
        """,
    ),
    *reads("mixed", "-G -s 10.0.9.2 -d 10.1.7.1 -p tcp --sport 1024 --dport 80 -o labels", labels=True),
    *reads("empty", f"-G {TUPLE}"),
]
