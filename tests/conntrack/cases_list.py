# SPDX-License-Identifier: GPL-2.0-or-later
"""`-L` and `-C`, `-S`: the tables, how their names and the command are written."""

from __future__ import annotations

from tests.conntrack.cases import Case, reads

CASES: list[Case] = [
    *reads(
        "mixed",
        """
        -L
        --dump
        --dum
        -L conntrack
        -L conn
        -L c
        -Lconntrack
        --dump=conntrack
        --dump conntrack
        -L -f ipv4
        -L -f ipv6
        -L --family=ipv6
        -f ipv6 -L
        -L expect
        -L exp
        -Lexpect
        -L dying
        -Ldying
        -L unconfirmed
        -L uncon
        -C
        -C conntrack
        -Cconntrack
        --count
        --counter
        -C expect
        --count expect
        -S
        -S conntrack
        --stats
        -S expect
        """,
    ),
    *reads(
        "many",
        "-L\n-L -o xml\n-L -o save ## differs: save-whole\n-L -p tcp --dport 81 -o extended,id\n-C\n-L -m 3",
    ),
    *reads(
        "empty",
        """
        -L
        -L -f ipv4
        -L -f ipv6
        -L -o xml
        -L -o save
        -L -o extended
        -L -z
        -L -p tcp
        -L -s 10.0.0.1
        -L -n
        -L expect
        -L expect -o xml
        -L dying
        -L dying -o xml
        -L unconfirmed
        -L unconfirmed -o xml
        -C
        -C expect
        """,
    ),
]
