# SPDX-License-Identifier: GPL-2.0-or-later

"""`-o`: every form of output, alone and together, of flows of every kind."""

from __future__ import annotations

from itertools import combinations

from tests.conntrack.cases import Case, reads

FORMS = ["extended", "xml", "timestamp", "id", "ktimestamp", "labels", "userspace"]
PAIRS = [",".join(pair) for pair in combinations(FORMS, 2)]

CASES: list[Case] = [
    *reads("mixed", "\n".join(f"-L -o {form}" for form in FORMS)),
    *reads("mixed", "\n".join(f"-L -o {form}" for form in FORMS), labels=True),
    *reads("mixed", "-L -o save ## differs: save-whole"),
    *reads("mixed", "-L -o save ## differs: save-whole", labels=True),
    *reads("mixed", "\n".join(f"-L -p tcp --dport 22 -o {pair}" for pair in PAIRS)),
    *reads(
        "mixed",
        """
        -L -o extended,id,labels,timestamp,ktimestamp,userspace
        -L -o xml,extended,id,labels,timestamp,ktimestamp,userspace
        -L -o save -f ipv6    ## differs: save-whole
        -L -o extended -f ipv6
        -L -o xml -f ipv6
        -L -o xml -p sctp
        -L -o xml -p 89
        -L -o save -p icmp    ## differs: save-whole
        -L -o labels -l first
        -L -l first,middle -o labels,id
        """,
        labels=True,
    ),
    *reads(
        "mixed",
        """
        -L --output extended -d 10.1.0.3
        -L --output=extended -d 10.1.0.3
        -L -oextended -d 10.1.0.3
        -L -o ext -d 10.1.0.3
        -L -o e -d 10.1.0.3
        -L -o x -d 10.1.0.3
        -L -o XML -d 10.1.0.3
        -L -o t -d 10.1.0.3
        -L -o i -d 10.1.0.3
        -L -o k -d 10.1.0.3
        -L -o l -d 10.1.0.3
        -L -o u -d 10.1.0.3
        -L -o extended -o id -d 10.1.0.3
        -L -o xml -o id -d 10.1.0.3
        -L -o id,id -d 10.1.0.3
        -L -o save -o id -d 10.1.0.3
        -L -o save,id -d 10.1.0.3
        -L -o id,save -d 10.1.0.3
        -L -o save,save -d 10.1.0.3    ## differs: save-whole
        -L -o save,extended,xml -d 10.1.0.3
        -L -o extended, -d 10.1.0.3
        -L -o ,extended -d 10.1.0.3
        -L -o extended,,id -d 10.1.0.3
        -L -o 'extended, id' -d 10.1.0.3
        -L -o '' -d 10.1.0.3
        -L -o nothing -d 10.1.0.3
        -L -o extended,nothing -d 10.1.0.3
        -L -o extendedd -d 10.1.0.3
        -L -o
        -o xml -L -d 10.1.0.3
        -L expect -o extended
        -L expect -o xml
        -L expect -o id
        -L expect -o timestamp
        -L expect -o ktimestamp
        -L expect -o save
        -L expect -o labels
        -L expect -o userspace
        -L expect -o xml,timestamp
        -L dying -o extended
        -L unconfirmed -o xml
        -G -p tcp -s 10.0.2.1 -d 10.1.0.3 --sport 3001 --dport 22 -o extended,id
        -G -p tcp -s 10.0.2.1 -d 10.1.0.3 --sport 3001 --dport 22 -o xml
        -G -p tcp -s 10.0.2.1 -d 10.1.0.3 --sport 3001 --dport 22 -o save    ## differs: save-whole
        -G -p tcp -s 10.0.2.1 -d 10.1.0.3 --sport 3001 --dport 22 -o timestamp
        """,
    ),
]
