# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: E501 (a command line is a line)
"""`-U`: changes of one flow by its tuple, and of all that are chosen by a filter."""

from __future__ import annotations

from tests.conntrack.cases import Case, changes

ONE = "-s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21"

CASES: list[Case] = [
    *changes(
        "one",
        f"""
        -U {ONE} -m 5
        --update {ONE} -m 5
        -U conntrack {ONE} -m 5
        -Uconntrack {ONE} -m 5
        -U -m 5    ## differs: update-without-family
        -U
        -U -p tcp -m 5    ## differs: update-without-family
        -U -p udp -m 5
        -U -s 1.1.1.1 -m 5
        -U -s 9.9.9.9 -m 5
        -U -d 2.2.2.2 -m 5
        -U -r 2.2.2.2 -m 5
        -U -q 1.1.1.1 -m 5
        -U -r 2.2.2.2 -q 1.1.1.1 -p tcp --reply-port-src 21 --reply-port-dst 2005 -m 5
        -U {ONE} -t 800
        -U {ONE} -t 0
        -U {ONE} --timeout=800
        -U -t 800    ## differs: update-without-family
        -U {ONE} --state CLOSE
        -U {ONE} --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 500
        -U {ONE} --state NONE
        -U {ONE} --state LISTEN
        -U -p tcp --state CLOSE    ## differs: update-without-family
        -U {ONE} -u SEEN_REPLY
        -U {ONE} -u ASSURED
        -U {ONE} -u SEEN_REPLY,ASSURED,FIXED_TIMEOUT
        -U {ONE} -u SEEN_REPLY,ASSURED,FIXED_TIMEOUT -t 700
        -U {ONE} -u UNSET
        -U {ONE} -u UNSET,ASSURED
        -U {ONE} -u EXPECTED    ## differs: update-refused
        -U {ONE} -u OFFLOAD
        -U {ONE} -u NOTHING
        -U -u ASSURED
        -U -u ASSURED -m 5    ## differs: update-without-family
        -U -u SEEN_REPLY,ASSURED,FIXED_TIMEOUT    ## differs: update-without-family
        -U {ONE} -m 5/0xff
        -U {ONE} -m 5/0
        -U {ONE} -m 0
        -U -m 5/0xff    ## differs: update-without-family
        -U -m 0xff/0    ## differs: update-without-family
        -U {ONE} -w 5 -m 5
        -U {ONE} -w 0 -m 5
        -U {ONE} --orig-zone 5 -m 5
        -U {ONE} --reply-zone 5 -m 5
        -U {ONE} -f ipv4 -m 5
        -U {ONE} -f ipv6 -m 5
        -U -f ipv4 -m 5
        -U -f ipv6 -m 5
        -U {ONE} -n 3.3.3.3
        -U {ONE} -g 3.3.3.3
        -U {ONE} -j 3.3.3.3
        -U -n -m 5
        -U {ONE} -r 2.2.2.2 -q 1.1.1.1 -m 5
        -U {ONE} -r 3.3.3.3 -q 1.1.1.1 -m 5
        -U {ONE} --reply-port-src 22 -m 5
        -U {ONE} -c 5
        -U -c 5
        -U {ONE} --id 5    ## as: -U {ONE} -i 5
        -U {ONE} -l first
        -U {ONE} --label-add first
        -U {ONE} --label-del
        -U {ONE} -z
        -U {ONE} -e NEW
        -U {ONE} -b 5
        -U {ONE} -m 5 -o xml
        -U {ONE} -m 5 -o extended,id
        -U {ONE} -m 5 -o save    ## differs: save-whole
        -U {ONE} -m 5 -o timestamp
        -U {ONE} -m 5 -o labels
        -U -s 1.1.1.0/24 -m 5
        -U -s 1.1.1.0/24 -t 900
        -U -s 1.1.1.9 --mask-src 255.255.255.0 -m 5
        -U --mask-src 255.255.255.0 -m 5
        -U -d 2.2.0.0/16 -m 6 -t 900
        -U --tuple-src 1.1.1.1 -m 5
        -U dying -m 5
        -U unconfirmed -m 5
        -U expect -m 5
        """,
    ),
    *changes(
        "mixed",
        """
        -U -m 9    ## differs: update-without-family
        -U -t 600    ## differs: update-without-family
        -U -s 10.0.2.1 -m 9    ## differs: update-answers
        -U -s 10.0.2.1 -m 9/0xff    ## differs: update-answers
        -U -s 10.0.2.1 -m 0x0f/0xf0    ## differs: update-answers
        -U -s 10.0.2.0/24 -m 9    ## differs: update-answers
        -U -d 10.1.1.1 -t 900    ## differs: update-refused
        -U -p udp -s 10.0.3.5 -t 900    ## differs: update-refused
        -U -p udp -s 10.0.3.4/31 -t 900    ## differs: update-refused
        -U -p udp -s 10.0.3.0/24 -t 900    ## differs: update-refused
        -U -d fd01::b -m 9    ## differs: update-answers
        -U -s fd00::/16 -m 9    ## differs: update-zone update-answers
        -U -f ipv6 -m 9    ## differs: update-zone update-answers
        -U -f ipv6 -m 9/0    ## differs: update-zone update-answers
        -U -p tcp -m 9    ## differs: update-without-family
        -U -p tcp --dport 80 -m 9    ## differs: update-without-family
        -U -p tcp --dport 80 -t 600    ## differs: update-without-family
        -U -p tcp --state TIME_WAIT    ## differs: update-without-family
        -U -p tcp --state TIME_WAIT -d 10.1.0.1    ## differs: update-answers
        -U -p tcp --dport 443 -u SEEN_REPLY,ASSURED    ## differs: update-without-family
        -U -p udp -m 9    ## differs: update-without-family
        -U -p udp -u ASSURED,SEEN_REPLY    ## differs: update-without-family
        -U -p udp --dport 53 -u SEEN_REPLY -t 500    ## differs: update-without-family
        -U -p icmp -m 9    ## differs: update-without-family
        -U -p icmp --icmp-type 8 -m 9    ## differs: update-without-family
        -U -p icmpv6 -m 9    ## differs: update-without-family
        -U -p sctp -m 9    ## differs: update-without-family
        -U -p sctp --sport 5001 -m 9    ## differs: update-without-family
        -U -p sctp --state CLOSED    ## differs: update-without-family
        -U -p gre -m 9    ## differs: update-without-family
        -U -p gre --srckey 1 -m 9    ## differs: update-without-family
        -U -p dccp -m 9    ## differs: update-without-family
        -U -p udplite -m 9    ## differs: update-without-family
        -U -p 50 -m 9    ## differs: update-without-family
        -U -p 89 -m 9    ## differs: update-without-family
        -U -p 200 -m 9
        -U -u ASSURED -m 9    ## differs: update-without-family
        -U -w 1 -m 9
        -U -w 0 -m 9
        -U --orig-zone 3 -m 9
        -U --reply-zone 4 -m 9
        -U -n -m 9    ## differs: update-without-family
        -U -n 192.0.2.1 -m 9    ## differs: update-without-family
        -U -g -m 9    ## differs: update-without-family
        -U -j -m 9
        -U -q 192.0.2.1 -m 9    ## differs: update-answers
        -U -r 192.0.2.2 -m 9    ## differs: update-answers
        -U -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 -m 9    ## differs: update-zone update-answers
        -U -s 10.0.8.1 -d 10.1.6.1 -p udp --sport 1024 --dport 123 -w 2 -m 9
        -U -s 10.0.9.0/24 -m 9    ## differs: update-answers
        -U -s 10.0.10.0/24 -t 600    ## differs: update-answers
        -U -m 9 -o extended -d 10.1.0.3    ## differs: update-answers
        -U -m 9 -o xml -d 10.1.0.3    ## differs: update-answers
        -U -m 9 -o id -d 10.1.5.1    ## differs: update-answers
        """,
    ),
    *changes(
        "mixed",
        """
        -U -d 10.1.7.1 --label-add second    ## differs: update-answers
        -U -d 10.1.7.1 --label-add second,middle    ## differs: update-answers
        -U -d 10.1.7.1 --label-add second --label-add middle    ## differs: update-answers
        -U -d 10.1.7.1 --label-add none
        -U -d 10.1.7.1 --label-del first    ## differs: update-answers
        -U -d 10.1.7.1 --label-del=first    ## as: -U -d 10.1.7.1 --label-del first    ## differs: update-answers
        -U -d 10.1.7.1 --label-del=first,second    ## as: -U -d 10.1.7.1 --label-del first,second    ## differs: update-answers
        -U -d 10.1.7.1 --label-del    ## differs: update-answers
        -U -d 10.1.7.1 --label-del=none    ## as: -U -d 10.1.7.1 --label-del none
        -U -d 10.1.7.1 --label-add first --label-del=second
        -U -d 10.1.7.1 --label-add last --label-del
        -U -l first --label-add last    ## differs: update-without-family
        -U -l first,second --label-add last    ## differs: update-without-family
        -U -l first -l second -m 9    ## differs: update-without-family
        -U -l first -m 9    ## differs: update-without-family
        -U -l last --label-del    ## differs: update-without-family
        -U --label-add middle    ## differs: update-without-family
        -U --label-del    ## differs: update-without-family
        -U -d fd01::d --label-add 0x10    ## differs: update-answers
        -U -s 10.0.9.0 -d 10.1.7.1 -p tcp --sport 1024 --dport 80 --label-add second -m 3 -t 500    ## differs: update-flags
        -U -s 10.0.9.0 -d 10.1.7.1 -p tcp --sport 1024 --dport 80 --label-del=first -o labels    ## as: -U -s 10.0.9.0 -d 10.1.7.1 -p tcp --sport 1024 --dport 80 --label-del first -o labels    ## differs: update-flags
        """,
        labels=True,
    ),
    *changes("empty", "-U -m 5\n-U -p tcp -m 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2\n-U"),
    *changes(
        "many",
        "-U -m 7 ## differs: update-without-family\n-U -p tcp --dport 81 -m 7 ## differs: update-without-family\n-U -m 7 -s 10.3.0.0/16 ## differs: update-many",
    ),
]
