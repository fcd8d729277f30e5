# SPDX-License-Identifier: GPL-2.0-or-later

"""`-R`: files and standard input with lines of all commands, good and bad."""

from __future__ import annotations

from tests.conntrack.cases import Case, changes, loads

UDP = "-s 1.1.1.{} -d 2.2.2.2 -p udp --sport 1000 --dport 53 -t 300"
EXISTING = "-s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21"

THREE = "".join(f"-A {UDP.format(number)}\n" for number in range(3))
MIXED = f"""\
-I {UDP.format(5)} -m 5
-A {UDP.format(6)} -u SEEN_REPLY,ASSURED
-U {EXISTING} -m 9
-D -s 1.1.1.5 -d 2.2.2.2 -p udp --sport 1000 --dport 53
-A {UDP.format(7)} -n 3.3.3.3
"""
SURROUNDED = f"""\
# a comment

   # another one
\t
-A {UDP.format(1)}{"   "}
   -A {UDP.format(2)}
\t-A\t-s 1.1.1.3 -d 2.2.2.2  -p   udp --sport 1000 --dport 53 -t 300
"""

# Each stands between two good lines.
LINES = [
    "-F",
    "-A " + UDP.format(9) + " extra",
    "-A " + UDP.format(9) + " -m x",
    "-A " + UDP.format(9) + " -t x",
    "-A " + UDP.format(9) + " -w 65536",
    "-A -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21 --state CLOSE -t 100",
    "-U -s 9.9.9.9 -d 2.2.2.2 -p tcp --sport 2005 --dport 21 -m 5",
    "-U",
    "-D -s 9.9.9.9 -d 2.2.2.2 -p tcp --sport 2005 --dport 21",
    "-D -p tcp",
    "-D",
    "-A conntrack " + UDP.format(9),
    "conntrack -A " + UDP.format(9),
    '-A -s "1.1.1.9" -d 2.2.2.2 -p udp --sport 1000 --dport 53 -t 300',
    "-A " + UDP.format(9) + " # comment behind it",
    "-A " + UDP.format(9) + " \\",
    "-A --src=1.1.1.9 --dst=2.2.2.2 --proto=udp --sport=1000 --dport=53 --timeout=300",
    "-A -s1.1.1.9 -d2.2.2.2 -pudp --sport 1000 --dport 53 -t300",
    "-A " + UDP.format(9) + "\r",
    "-A -s fd00::9 -d fd00::2 -p udp --sport 1 --dport 2 -t 300",
    "-A -s fd00::9 -d fd00::2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 -t 300",
    "-A -s 1.1.1.9 -d 2.2.2.2 -p 50 -t 300",
    "-A -s 1.1.1.9 -d 2.2.2.2 -p gre --srckey 1 --dstkey 2 -t 300",
]
WITH_DIFFERENCE = {
    "-A " + UDP.format(9) + " -r 3.3.3.3 -q 1.1.1.9": "load-refused",
    "-I -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21 --state CLOSE -t 100": "load-refused",
    "-U -m 5": "load-update",
    "-A " + UDP.format(9) + " -w 5 -m 0x10/0xff -u SEEN_REPLY": "mark-before-status",
}
# Nothing of a file with one of these is carried out.
REFUSED_LINES = [
    "-A " + UDP.format(9) + " --label-add none",
    "nothing",
    "-x",
    "-L",
    "-L -p tcp",
    "-G -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21",
    "-E",
    "-C",
    "-S",
    "-V",
    "-h",
    "-R /dev/null",
    "-A",
    "-A -p tcp",
    "-I -A",
    "-A extra " + UDP.format(9),
    "-A " + UDP.format(9) + " -s nothing",
    "-A " + UDP.format(9) + " -p tcp",
    "-A " + UDP.format(9) + " --state CLOSE",
    "-A " + UDP.format(9) + " -o xml",
    "-A " + UDP.format(9) + " -z",
    "-A " + UDP.format(9) + " -s fd00::1",
    "-A expect -p tcp",
    "-D expect -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 2005 --dport 21",
    "-A -s '1.1.1.9' -d 2.2.2.2 -p udp --sport 1000 --dport 53 -t 300",
]

CASES: list[Case] = [
    loads("one", "-R {file}", THREE),
    loads("one", "-R -", THREE),
    loads("one", "--load-file {file}", THREE),
    loads("one", "--load-file=-", THREE),
    loads("one", "-R{file}", THREE),
    loads("one", "-R-", THREE),
    loads("one", "-R {file}", ""),
    loads("one", "-R {file}", "\n\n"),
    loads("one", "-R {file}", "# nothing but a comment\n"),
    loads("one", "-R {file}", "# a comment without an end"),
    loads("one", "-R {file}", THREE.rstrip("\n")),
    loads("one", "-R {file}", MIXED, "load-update"),
    loads("one", "-R {file}", SURROUNDED),
    loads("one", "-R {file}", THREE.replace("\n", "\r\n")),
    loads("one", "-R {file}", THREE * 2),
    loads("one", "-R {file}", THREE.replace("-A", "-I")),
    loads("one", "-R {file}", THREE.replace("-A", "-I") * 2, "load-refused"),
    loads("one", "-R {file}", "-A " + UDP.format(9) + " " * 5000 + "\n"),
    loads("one", "-R {file} -R {file}", THREE),
    loads("one", "-R {file} -p tcp", THREE),
    loads("one", "-R {file} -f ipv6", THREE),
    loads("one", "-R {file} -o xml", THREE),
    loads("one", "-R {file} extra", THREE),
    loads("one", "-R {file} conntrack", THREE),
    *(loads("one", "-R {file}", f"-A {UDP.format(1)}\n{line}\n-A {UDP.format(2)}\n") for line in LINES),
    *(
        loads("one", "-R {file}", f"-A {UDP.format(1)}\n{line}\n-A {UDP.format(2)}\n", name)
        for line, name in WITH_DIFFERENCE.items()
    ),
    *(
        loads("one", "-R {file}", f"-A {UDP.format(1)}\n{line}\n-A {UDP.format(2)}\n", "load-line")
        for line in REFUSED_LINES
    ),
    loads(
        "one",
        "-R {file}",
        f"-A {UDP.format(1)} --label-add first\n-A {UDP.format(2)} --label-add last\n",
        "crash",
        labels=True,
    ),
    loads("one", "-R {file}", f"-A {UDP.format(1)} --label-add none\n", "load-line", labels=True),
    *changes(
        "one", "-R /nonexistent\n-R / ## differs: load-directory\n-R ''\n-R\n--load-file\n-R /dev/null\n-R -"
    ),
]
