# SPDX-License-Identifier: GPL-2.0-or-later

"""`-D` and `-F`: the end of one flow, of those that a filter chooses, of all."""

from __future__ import annotations

from tests.conntrack.cases import Case, changes

ONE = "-s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21"

CASES: list[Case] = [
    *changes(
        "one",
        f"""
        -D {ONE}
        --delete {ONE}
        --del {ONE}
        -D conntrack {ONE}
        -Dconntrack {ONE}
        -D
        -D -p tcp
        -D -p udp
        -D -s 1.1.1.1
        -D -s 1.1.1.2
        -D -s 1.1.1.0/24
        -D -s 1.1.1.9 --mask-src 255.255.255.0
        -D --mask-src 255.255.255.0
        -D -d 2.2.2.2
        -D -d 2.2.0.0/16
        -D -r 2.2.2.2
        -D -q 1.1.1.1
        -D -q 2.2.2.2
        -D -r 2.2.2.2 -q 1.1.1.1 -p tcp --reply-port-src 21 --reply-port-dst 2005
        -D {ONE} -m 0
        -D {ONE} -m 1
        -D {ONE} -u ASSURED
        -D {ONE} -u EXPECTED
        -D {ONE} -t 5
        -D {ONE} -w 0
        -D {ONE} -w 1
        -D {ONE} --orig-zone 1
        -D {ONE} -f ipv4
        -D {ONE} -f ipv6
        -D {ONE} --state ESTABLISHED
        -D {ONE} --state CLOSE
        -D {ONE} -n
        -D {ONE} -c 5
        -D {ONE} --id 5    ## as: -D {ONE} -i 5
        -D {ONE} -i 5
        -D {ONE} -l first
        -D {ONE} --label-add first
        -D {ONE} --label-del
        -D {ONE} -z
        -D {ONE} -e NEW
        -D {ONE} -b 5
        -D {ONE} -o xml
        -D {ONE} -o extended
        -D {ONE} -o save
        -D {ONE} -o id
        -D {ONE} -o timestamp
        -D {ONE} -o ktimestamp
        -D {ONE} -o labels
        -D {ONE} -o userspace
        -D -o xml
        -D --tuple-src 1.2.3.4
        -D dying
        -D unconfirmed
        -D -f ipv4
        -D -f ipv6
        -F
        --flush
        --flu
        -F conntrack
        -Fconntrack
        -F -f ipv4
        -F -f ipv6    ## differs: flush-family
        -F -s 1.1.1.1
        -F -p tcp
        -F -m 5
        -F -w 1
        -F -o xml
        -F dying
        -F unconfirmed
        -F nothing
        """,
    ),
    *changes(
        "mixed",
        """
        -D
        -F
        -F -f ipv4    ## differs: flush-family
        -F -f ipv6    ## differs: flush-family
        -F expect
        -D -f ipv4
        -D -f ipv6
        -D -s 10.0.2.1
        -D -s 10.0.2.0/24
        -D -s 10.0.0.0/14 -d 10.1.0.0/23
        -D -s fd00::3
        -D -s fd00::/16
        -D -d fd01::b
        -D -r 192.0.2.2
        -D -q 192.0.2.1
        -D -q fd02::1
        -D -p tcp
        -D -p tcp --dport 80
        -D -p tcp --sport 3001 --dport 22
        -D -p tcp --state TIME_WAIT
        -D -p tcp --reply-port-dst 7000
        -D -p tcp -f ipv6
        -D -p udp
        -D -p udp --dport 53 -u ASSURED
        -D -p udplite
        -D -p icmp
        -D -p icmp --icmp-type 8
        -D -p icmp --icmp-id 800
        -D -p icmpv6
        -D -p icmpv6 --icmpv6-type 128
        -D -p sctp
        -D -p sctp --state CLOSED
        -D -p sctp --sport 5001
        -D -p dccp
        -D -p gre
        -D -p gre --srckey 1    ## differs: gre-keys
        -D -p 50
        -D -p 89
        -D -p 200
        -D -p mptcp    ## differs: protocol-deletes
        -D -m 1
        -D -m 0
        -D -m 0/0xff
        -D -m 0x0f/0xf0
        -D -m 2 -p icmp
        -D -u ASSURED
        -D -u SEEN_REPLY
        -D -u FIXED_TIMEOUT
        -D -u UNSET    ## differs: status-deletes
        -D -m 0/0 -u SRC_NAT    ## differs: status-deletes
        -D -u ASSURED,SEEN_REPLY
        -D -w 1
        -D -w 0
        -D -w 5
        -D --orig-zone 3
        -D --reply-zone 4
        -D --orig-zone 3 -p tcp
        -D -n
        -D -g
        -D -j
        -D -n 192.0.2.1
        -D -n 192.0.2.1:7000
        -D -g 192.0.2.2
        -D -g 192.0.2.2:8080
        -D -j 192.0.2.2
        -D -n fd02::1    ## differs: ipv6-translation
        -D -g [fd02::2]:8080
        -D -n -g
        -D -n -j
        -D -c 1
        -D -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123
        -D -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 -w 2
        -D -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 -w 65535
        -D -s 10.0.10.1
        -D -d 10.1.0.3 -o extended,id
        -D -d 10.1.0.3 -o xml
        -D -d 10.1.0.3 -o save    ## differs: save-whole
        -D -d 10.1.0.3 -o extended,timestamp
        """,
    ),
    *changes(
        "mixed",
        "-D -l first\n-D -l first,second\n-D -l first -l middle\n-D -l none\n-D -l second -o labels",
        labels=True,
    ),
    *changes(
        "empty", "-D\n-D -p tcp -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2\n-F\n-F expect\n-D -s 1.1.1.1"
    ),
    *changes("many", "-D\n-D -p tcp --dport 81\n-D -m 3\n-F"),
    *changes("mixed", "-L -z\n-L -z -p tcp\n--dump --zero\n-L -z -o xml\n-L expect -z\n-L dying -z"),
]
