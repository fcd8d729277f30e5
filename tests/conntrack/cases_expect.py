# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: E501 (a command line is a line)
"""The table `expect`: every command on it, and what of the options it knows."""

from __future__ import annotations

from tests.conntrack.cases import Case, changes, reads

MASTER = "-s 10.0.10.1 -d 10.1.8.1 -p tcp --sport 1024 --dport 21"
TUPLE = "--tuple-src 10.1.8.1 --tuple-dst 10.0.10.1 --tuple-port-src 5 --tuple-port-dst 6"
MASK = "--mask-src 255.255.255.255 --mask-dst 255.255.255.255 --mask-port-src 0 --mask-port-dst 65535"
NEW = f"{MASTER} {TUPLE} {MASK} -t 200"
MASTER6 = "-s fd00::30 -d fd01::e -p tcp --sport 1024 --dport 21"
TUPLE6 = "--tuple-src fd01::e --tuple-dst fd00::30 --tuple-port-src 5 --tuple-port-dst 6"
FULL6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
MASK6 = f"--mask-src {FULL6} --mask-dst {FULL6} --mask-port-src 0 --mask-port-dst 65535"
EXPECTED = "-s 10.1.8.1 -d 10.0.10.1 -p tcp --sport 0 --dport 2000"

CASES: list[Case] = [
    *reads(
        "expectations",
        f"""
        -L expect
        --dump expect
        -L exp
        -L e
        -L expect -f ipv4
        -L expect -f ipv6
        -L expect -p tcp
        -L expect -p udp
        -L expect -s 10.1.8.1
        -L expect -d 10.1.8.1
        -L expect --tuple-src 10.1.8.1
        -L expect --tuple-dst 10.0.10.1
        -L expect --mask-src 255.255.255.255
        -L expect -t 300
        -L expect -m 1
        -L expect -u ASSURED
        -L expect -w 0
        -L expect -w 1
        -L expect -n
        -L expect -l first
        -L expect -z
        -L expect -e NEW
        -L expect -o xml
        -L expect -o extended
        -L expect -o id
        -L expect -o timestamp
        -L expect -o save
        -L expect -f ipv6 -o extended
        -L expect -f ipv6 -o xml
        -L expect -p tcp -o extended,id,timestamp
        -G expect {EXPECTED}
        -G expect {EXPECTED} -f ipv4
        -G expect {EXPECTED} -o extended
        -G expect {EXPECTED} -o xml
        -G expect {EXPECTED} -o id
        -G expect -s 10.1.8.1 -d 10.0.10.1 -p tcp --sport 0 --dport 2001
        -G expect -s 10.1.8.1 -d 10.0.10.1 -p tcp --dport 2000
        -G expect -s 10.1.8.1 -d 10.0.10.1 -p tcp
        -G expect -s 10.1.8.1 -d 10.0.10.1
        -G expect -s fd01::e -d fd00::30 -p tcp --sport 0 --dport 2002
        -G expect {MASTER}
        -G expect {TUPLE} -p tcp
        -G expect {EXPECTED} {TUPLE}
        -G expect
        -G expect -s 4.4.4.4 -d 5.5.5.5 --p tcp --orig-port-src 10240 --orig-port-dst 10241
        -G expect -s 4.4.4.4 -d 5.5.5.5 -p tcp --orig-port-src 10240 --orig-port-dst 10241
        -C expect
        -S expect
        -C expect -p tcp
        -U expect
        -U expect {EXPECTED} -t 200
        -A expect {NEW}
        -E expect -p tcp -s 1.1.1.1
        -R expect
        -L expect conntrack
        """,
    ),
    *changes(
        "expectations",
        f"""
        -I expect {NEW}    ## differs: expect-protocol
        --create expect {NEW}    ## differs: expect-protocol
        -A expect {NEW}
        -I exp {NEW}    ## differs: expect-protocol
        -I expect {MASTER} {TUPLE} {MASK}
        -I expect {MASTER} {TUPLE} -t 200
        -I expect {MASTER} {TUPLE} --mask-src 255.255.255.255 --mask-dst 255.255.255.255 -t 200
        -I expect {MASTER} {MASK} -t 200
        -I expect {TUPLE} {MASK} -p tcp -t 200
        -I expect {MASTER} --tuple-src 10.1.8.1 --tuple-dst 10.0.10.1 {MASK} -t 200
        -I expect {MASTER} --tuple-src 10.1.8.1/24 --tuple-dst 10.0.10.1 -t 200
        -I expect {MASTER} --tuple-src 10.1.8.1/24 --tuple-dst 10.0.10.1/32 --tuple-port-src 5 --tuple-port-dst 6 -t 200
        -I expect {MASTER} --tuple-src 10.1.8.0/24 --tuple-dst 10.0.0.0/16 --tuple-port-src 5 --tuple-port-dst 6 --mask-port-src 0 --mask-port-dst 65535 -t 200    ## differs: expect-protocol
        -I expect {NEW} -w 5
        -I expect {NEW} -m 5
        -I expect {NEW} -u ASSURED    ## differs: expect-protocol
        -I expect {NEW} -r 1.2.3.4    ## differs: expect-protocol
        -I expect {NEW} -f ipv4
        -I expect {NEW} -f ipv6
        -I expect {NEW} --state ESTABLISHED
        -I expect {NEW} -n 3.3.3.3
        -I expect {NEW} -o xml
        -I expect {MASTER6} {TUPLE6} {MASK6} -t 200    ## differs: expect-protocol
        -I expect {MASTER6} {TUPLE6} {MASK6} -t 200 -f ipv6
        -I expect {MASTER6} {TUPLE} {MASK} -t 200
        -I expect {MASTER} {TUPLE6} {MASK6} -t 200
        -I expect -s 10.0.10.9 -d 10.1.8.1 -p tcp --sport 1024 --dport 21 {TUPLE} {MASK} -t 200
        -I expect -s 10.0.10.3 -d 10.1.8.1 -p udp --sport 1024 --dport 69 {TUPLE} {MASK} -t 200
        -I expect {MASTER} --tuple-src 10.1.8.1 --tuple-dst 10.0.10.1 --tuple-port-src 0 --tuple-port-dst 2000 {MASK} -t 200    ## differs: expect-exists
        -I expect -s 10.0.10.2 -d 10.1.8.1 -p tcp --sport 1024 --dport 21 --tuple-src 10.1.8.1 --tuple-dst 10.0.10.1 --tuple-port-src 0 --tuple-port-dst 2000 {MASK} -t 200    ## differs: expect-exists
        -D expect {EXPECTED}
        --delete expect {EXPECTED}
        -D expect -s 10.1.8.1 -d 10.0.10.1 -p tcp --sport 0 --dport 2001
        -D expect -s 10.1.8.1 -d 10.0.10.1 -p tcp --dport 2000
        -D expect -s 10.1.8.1 -d 10.0.10.1 -p tcp
        -D expect -s 10.1.8.1
        -D expect -p tcp
        -D expect
        -D expect {EXPECTED} -f ipv4
        -D expect {EXPECTED} -f ipv6
        -D expect {EXPECTED} -o xml
        -D expect -s fd01::e -d fd00::30 -p tcp --sport 0 --dport 2002
        -D expect --tuple-src 10.1.8.1 --tuple-dst 10.0.10.1 -p tcp --tuple-port-src 0 --tuple-port-dst 2000
        -D expect -s 4.4.4.4 -d 5.5.5.5 -p tcp --orig-port-src 10240 --orig-port-dst 10241
        -F expect
        --flush expect
        -F exp
        -F expect -f ipv4
        -F expect -p tcp
        -F
        -D -p tcp
        -D -s 10.0.10.1
        """,
    ),
    *changes(
        "one",
        """
        -I expect -s 1.1.1.1 -d 2.2.2.2 -p gre --srckey 1 --dstkey 2 --tuple-src 4.4.4.4 --tuple-dst 5.5.5.5 --mask-src 255.255.255.0 --mask-dst 255.255.255.255 --tuple-key-src 1 --tuple-key-dst 2 --mask-key-src 3 --mask-key-dst 4 -t 200
        -I expect -s 1.1.1.1 -d 2.2.2.2 --tuple-src 4.4.4.4 --tuple-dst 5.5.5.5 --mask-src 255.255.255.0 --mask-dst 255.255.255.255 -p tcp --orig-port-src 2005 --orig-port-dst 21 -t 200 --tuple-port-src 10240 --tuple-port-dst 10241 --mask-port-src 10 --mask-port-dst 300
        """,
    ),
]
