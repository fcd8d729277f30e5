# SPDX-License-Identifier: GPL-2.0-or-later

"""What is refused: commands with options that are not theirs, values that mean nothing, words too many."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

from tests.conntrack.cases import Case, changes, refused

COMMANDS = ["-L", "-G", "-D", "-I", "-A", "-U", "-F", "-C", "-S"]
TABLES = ["conntrack", "expect", "dying", "unconfirmed"]

# Every option, with a value that is good.
OPTIONS = """
    -s 9.9.9.9
    -d 9.9.9.9
    -r 9.9.9.9
    -q 9.9.9.9
    -p tcp
    -f ipv4
    -t 100
    -u ASSURED
    -z
    -e NEW
    -o id
    -n
    -g
    -j
    -m 77
    -c 77
    -i 77
    -l first
    --label-add first
    --label-del
    -w 77
    --orig-zone 77
    --reply-zone 77
    -b 77
    --tuple-src 9.9.9.9
    --tuple-dst 9.9.9.9
    --mask-src 255.0.0.0
    --mask-dst 255.0.0.0
    -a 9.9.9.9
    -y
"""

TAKEN_BY_EVENTS = "-s -d -r -q -p -f -e -o -n -g -j -m -c -w --orig-zone --reply-zone -b -a"

WITH_OPTIONS = [*COMMANDS, "-E", *(f"{letter} expect" for letter in ("-L", "-G", "-C", "-S", "-F"))]
DIFFERENT = {
    "-U -t 100": "update-without-family",
    "-U -m 77": "update-without-family",
    "-L -c 77": "secmark",
    "-D -t 100": "timeout-deletes",
}


def _with_options() -> Iterator[str]:
    """Each command with every third option, each option with every third command."""
    for (row, command), (column, option) in product(enumerate(WITH_OPTIONS), enumerate(_lines(OPTIONS))):
        words = f"{command} {option}"
        # What `-E` takes, it does not end.
        endless = command == "-E" and option.split()[0] in TAKEN_BY_EVENTS.split()
        if not endless and ((row + column) % 3 == 0 or words in DIFFERENT):
            yield f"{words} ## differs: {DIFFERENT[words]}" if words in DIFFERENT else words


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


WITH_EACH_OPTION = list(_with_options())
# A file is read before options are judged, and this one is empty.
LOADING = [f"-R /dev/null {option}" for option in _lines(OPTIONS)[::3]]

CHANGING = ("-D", "-U", "-F", "-L -z", "-I", "-A")

WORDS = f"""
    -L {" ".join(TABLES)}
    -L nothing
    -L conntracks
    -L expectations
    -L ''
    -L -
    -L conntrack expect
    -L extra words
    -L extra -p tcp
    -L -p tcp extra
    -L --
    -L -- conntrack
    -- -L    ## differs: help
    nothing    ## differs: help
    -    ## differs: help
    ''    ## differs: help
    -x
    -X
    -Lx
    -xL
    -k 5
    -Q
    --nothing
    --nothing=5
    --    ## differs: help
    -v
    --ver
    --hel    ## differs: help
    --d
    --de
    --s
    --o
    --orig
    --reply
    --l
    --label
    --label-
    --label-x first
    --ma
    --mas
    --t
    --ti
    --tu
    --f
    --fl
    --z
    --zo
    --e
    --ev
    --n
    --a
    --an
    -L --family
    -L -f
    -L -p
    -L -s
    -L -m
    -L -u
    -L -w
    -L -l
    -L -e
    -L --zero=5
    -L --src-na
    --count=5
    -LC
    -L -C
    -CL
    -F -L
    -E -L
    -R /dev/null -L
    -h -L
    -L -h
    -V -L
    -LL
    -Cp tcp
    -Lp tcp
    -Lz
    -Lzn
    -Lnzg
    -zL
    -p tcp -L -L
"""

VALUES = """
    -L -f ipv5
    -L -f IPV4
    -L -f inet
    -L -f 4
    -L -f ''
    -L -f ip
    -L -f ipv4 -f ipv6
    -L -p nothing
    -L -p ''
    -L -p -1
    -L -p 256
    -L -p 6x
    -L -p tcp -p udp
    -L -p tcp,udp
    -L -p all
    -L -s nothing
    -L -s ''
    -L -s 1.1.1
    -L -s 1
    -L -s 0x01010101
    -L -s 1.1.1.256
    -L -s 1.1.1.1.1
    -L -s 1.1.1.1/
    -L -s 1.1.1.1/33
    -L -s 1.1.1.1/-1
    -L -s 1.1.1.1/x
    -L -s 1.1.1.1/24x
    -L -s 1.1.1.1/24/24
    -L -s /24
    -L -s 1.1.1.1:80
    -L -s [::1]
    -L -s ::1/129
    -L -s ::g
    -L -s fe80::1%lo
    -L -s localhost
    -L -s ::1 -d 1.1.1.1
    -L -s 1.1.1.1 -d ::1
    -L -s 1.1.1.1 -r ::1
    -L -s 1.1.1.1 -q ::1
    -L -r 1.1.1.1 -q ::1
    -L -f ipv6 -s 1.1.1.1
    -L -s ::1 -f ipv4
    -L -s 1.1.1.1 --mask-src ::1
    -L -s 1.1.1.1 --mask-src nothing
    -L -s 1.1.1.1/24 --mask-src 255.0.0.0
    -L -r 1.1.1.1/24 -s 1.1.1.1
    -L --mask-src 255.255.0.0/16
    -L --mask-src 0.0.0.0 -s 1.1.1.1
    -L --mask-src 255.0.255.0 -s 1.0.1.0
    -L -n nothing
    -L -n 1.1.1
    -L -n 1.1.1.1:
    -L -n 1.1.1.1:x
    -L -n 1.1.1.1:70000
    -L -n 1.1.1.1:-1
    -L -n ::1:80
    -L -n [::1
    -L -n [::1]
    -L -n [::1]80
    -L -n [::1]:
    -L -n [1.1.1.1]:5
    -L -g 1.1.1.1 -n ::1
    -L -g 1.1.1.1 -s ::1
    -L -j 1.1.1.1 -f ipv6
    -L -m ''
    -L -m x
    -L -m 5x
    -L -m -1
    -L -m 0x
    -L -m 5/
    -L -m 5/x
    -L -m /5
    -L -m 5/5/5
    -L -m 4294967296
    -L -m 99999999999999999999
    -L -m ' 5'
    -L -c x
    -L -u nothing
    -L -u ''
    -L -u ASSURED,nothing
    -L -u ,
    -L -u ASSURED,,SEEN_REPLY
    -L -u 'ASSURED, SEEN_REPLY'
    -L -u ASSUREDX
    -L -u ASS
    -L -u SEEN
    -L -u SRC_NAT
    -L -u CONFIRMED
    -L -u DYING
    -L -w x
    -L -w ''
    -L -w -1
    -L -w 65536
    -L -w 5x
    -L --orig-zone x
    -L --reply-zone x
    -L --orig-zone 65536
    -L --orig-zone
    -L -l first
    -L -l none
    -L -l ''
    -L -o nothing
    -L -p tcp --sport x
    -L -p tcp --sport 65536
    -L -p tcp --sport -1
    -L -p tcp --sport ''
    -L -p tcp --sport 80:90
    -L -p tcp --sport
    -L -p tcp --state nothing
    -L -p tcp --state ''
    -L -p tcp --state ESTABLISHED,CLOSE
    -L -p tcp --state EST
    -L -p tcp --state
    -L -p tcp --icmp-type 8
    -L -p tcp --srckey 8
    -L -p tcp --role client
    -L -p tcp --orig-vtag 5
    -L --sport 80
    -L --state CLOSE
    -L --icmp-type 8
    -L -p udp --state CLOSE
    -L -p udp --tuple-port-src 5
    -L -p icmp --sport 5
    -L -p icmp --icmp-type x
    -L -p icmp --icmp-type 256
    -L -p icmp --icmpv6-type 8
    -L -p icmpv6 --icmp-type 8
    -L -p icmpv6 -f ipv4
    -L -p icmp -s ::1
    -L -p sctp --state nothing    ## differs: crash
    -L -p sctp --state SYN_SENT    ## differs: crash
    -L -p sctp --orig-vtag x
    -L -p sctp --orig-vtag 4294967296
    -L -p dccp --state nothing
    -L -p dccp --role nothing
    -L -p dccp --role 0
    -L -p dccp --role CLIENT
    -L -p gre --srckey x
    -L -p gre --srckey 65536
    -L -p gre --sport 5
    -L -p gre --tuple-key-src 5
    -L -p gre --tuple-key-dst 5
    -L -p gre --mask-key-src 5
    -L -p gre --mask-key-dst 5
    -L expect -p gre --tuple-key-src 5
    -L -p 50 --sport 5
    -L -p 6 --sport x
    --sport 80 -L -p tcp
    -p tcp --sport 80 -L -s 9.9.9.9
    -L -p tcp --sport 80 -p udp --sport 53
    -L -p tcp --state CLOSE -p udp    ## differs: wrong-protocol-option
    --event --event-mask nothing
    --event --buffer-size
    -E -e nothing
    -E -e ''
    -E -e NEW,nothing
    -E -e new,nothing
    -E -e NEW,,DESTROY
    -E -b
    -E -o save,id
    -E -o nothing
    -E dying
    -E unconfirmed
    -E -z
    -E -t 5
    -E -G
    -E nothing
    -E -f ipv5
    -G dying
    -G unconfirmed
    -C dying
    -C unconfirmed
    -C nothing
    -C -s 1.1.1.1
    -S dying
    -S nothing
    -S -p tcp
    -D expect -m 5
"""

TWO_COMMANDS = [" ".join(pair) for pair in combinations([*COMMANDS, "-E", "-h", "-V", "-R /dev/null"], 2)][
    ::3
]

CASES: list[Case] = [
    *refused("\n".join(words for words in WITH_EACH_OPTION if not words.startswith(CHANGING))),
    *changes("one", "\n".join(words for words in WITH_EACH_OPTION if words.startswith(CHANGING))),
    *changes("one", WORDS),
    *refused("\n".join(LOADING)),
    *refused(VALUES),
    *changes("one", "\n".join(TWO_COMMANDS)),
    *refused("-h ## differs: help\n--help ## differs: help\n-V\n--version\n-Vx\n-V 5"),
    Case("", differs=("help",)),
]
