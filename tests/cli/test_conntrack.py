# SPDX-License-Identifier: GPL-2.0-or-later
"""What `conntrack` does beyond the C tool, or otherwise: JSON, whole tables saved and loaded."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyconntrack.cli.conntrack_labels import find_labels
from pyconntrack.cli.conntrack_load import REQUEST_BYTES
from pyconntrack.core.load import FULL, Loader
from pyconntrack.core.requests import RequestBatch
from testbed import Namespace, Testbed, wait_until
from tests.conntrack.kernel_table import KernelTable
from tests.conntrack.scenes import SCENES
from tests.conntrack.surroundings import LABEL_NAMES, with_label_names

OURS = [str(Path(sys.executable).parent / "conntrack")]
FLOW = "-s 10.0.0.{} -d 10.1.0.1 -p udp --sport 1000 --dport 53 -t 1000"


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    return bed.namespace("one")


@pytest.fixture
def table(namespace: Namespace) -> Iterator[KernelTable]:
    made = KernelTable(namespace)
    yield made
    made.close()


def conntrack(
    namespace: Namespace, words: str, *, prefix: tuple[str, ...] = (), input: str = "", status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        namespace.command([*prefix, *OURS, *words.split()]),
        input=input,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


# Status bits that come with a helper and with sequence adjustment (IPS_HELPER, IPS_SEQ_ADJUST).
UNSAID_STATUS = 0x2000 | 0x0040
# A name with an underscore is none to the C library.
NAMED = (line.split() for line in LABEL_NAMES.splitlines() if line[:1].isdigit() and "_" not in line)
UNNAMED_LABELS = ~sum(1 << int(bit) for bit, _ in NAMED)


def sayable(flow: str) -> str:
    """What of a flow the command line has options for, and what does not pass with time."""
    flow = re.sub(r" (timeout=\d+|(help|adjust|adjust-reply|synproxy)\([^)]*\))", "", flow)
    # TCP flags: a flow that is loaded has those of a flow made by hand.
    flow = re.sub(r"(protocol-info\(1\(.*?) 4=\w+ 5=\w+", r"\1", flow)
    flow = re.sub(r"status=(\w+)", lambda found: f"status={int(found[1], 16) & ~UNSAID_STATUS:08x}", flow)
    return re.sub(r" labels=(\w+)", named_labels, flow)


def named_labels(found: re.Match[str]) -> str:
    labels = int.from_bytes(bytes.fromhex(found[1]), "little") & ~UNNAMED_LABELS
    return f" labels={labels:x}" if labels else ""


def test_a_table_saved_is_loaded_equal(namespace: Namespace, table: KernelTable, tmp_path: Path) -> None:
    mounts = with_label_names(tmp_path)
    try:
        SCENES["mixed"].prepare(namespace)
        SCENES["mixed"].fill(namespace, table)
        before = table.flows()
        saved = conntrack(namespace, "-L -o save", prefix=mounts.prefix).stdout
        assert len(saved.splitlines()) == len(before) > 100
        conntrack(namespace, "-F")
        assert table.flows() == []
        conntrack(namespace, "-R -", prefix=mounts.prefix, input=saved)
        assert sorted(map(sayable, table.flows())) == sorted(map(sayable, before))
        assert "--label-add " in saved and "-m " in saved
    finally:
        mounts.close()


def test_nothing_is_loaded_of_a_file_with_a_wrong_line(namespace: Namespace, table: KernelTable) -> None:
    lines = [f"-A {FLOW.format(1)}", "# a remark", "", f"-A {FLOW.format(2)} --sport", f"-A {FLOW.format(3)}"]
    done = conntrack(namespace, "-R -", input="\n".join(lines), status=2)
    assert re.fullmatch(
        r"conntrack v\S+ \(pyconntrack\): line 4: option `--sport' requires an argument\nTry .*\n",
        done.stderr,
    )
    assert table.flows() == []


def test_lines_that_the_kernel_refuses_are_told_and_the_rest_is_loaded(
    namespace: Namespace, table: KernelTable
) -> None:
    lines = [f"-I {FLOW.format(number)}" for number in (1, 2, 1, 3, 2, 4)]
    done = conntrack(namespace, "-R -", input="\n".join(lines), status=1)
    assert re.findall(r"line (\d+): Operation failed: Such conntrack exists", done.stderr) == ["3", "5"]
    assert len(done.stderr.splitlines()) == 2
    assert len(table.flows()) == 4


def test_the_last_line_needs_no_newline_and_no_room_in_the_batch(namespace: Namespace) -> None:
    lines = [f"-I -s 10.0.{number >> 8}.{number & 255} -d 10.1.0.1 -p 200 -t 1000" for number in range(2000)]
    loader = Loader(find_labels, requests := RequestBatch(REQUEST_BYTES))
    loader.feed("\n".join(lines).encode(), final=True)
    assert loader.fill() == FULL
    conntrack(namespace, "-R -", input="\n".join(lines[: len(requests) + 1]))
    assert conntrack(namespace, "-C").stdout == f"{len(requests) + 1}\n"


def test_who_may_not_load_is_told_once(namespace: Namespace) -> None:
    lines = "".join(f"-I {FLOW.format(number)}\n" for number in range(100))
    powerless = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    done = conntrack(namespace, "-R -", prefix=powerless, input=lines, status=1)
    assert done.stderr.count("\n") == 1
    assert "you must be root" in done.stderr


def test_warnings_about_lines_of_a_file_are_told_once(namespace: Namespace) -> None:
    lines = ["-D -s 10.0.0.1 -u SRC_NAT,ASSURED", "-D -s 10.0.0.1 -a 10.0.0.2"]
    warnings = [
        "WARNING: ignoring SRC_NAT, use --src-nat instead",
        "WARNING: ignoring -a, deprecated option.",
    ]
    told = conntrack(namespace, "-R -", input="\n".join(lines)).stderr.splitlines()
    assert told == warnings
    told = conntrack(namespace, "-R -", input="\n".join([*lines, "-X"]), status=2).stderr.splitlines()
    assert told[:2] == warnings
    assert len(told) == 4


def test_lines_are_carried_out_in_their_order(namespace: Namespace, table: KernelTable) -> None:
    lines = [
        f"-A {FLOW.format(1)}",
        f"-A {FLOW.format(2)} -m 5",
        "-D -s 10.0.0.1",
        "-U -s 10.0.0.2 -m 6",
        f"-A {FLOW.format(1)} -m 7",
    ]
    done = conntrack(namespace, "-R -", input="\n".join(lines))
    assert done.stderr == ""
    assert re.findall(r"src=(10\.0\.0\.\d)", done.stdout) == ["10.0.0.1", "10.0.0.2"]
    assert sorted(re.findall(r"mark=(\d+)", "".join(table.flows()))) == ["00000006", "00000007"]


def test_json_of_a_listing_and_of_events(namespace: Namespace) -> None:
    namespace.nft("table ip t { chain o { type filter hook output priority 0; ct state new accept; }; }")
    follower = subprocess.Popen(
        namespace.command([*OURS, "-E", "-o", "json"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_until(lambda: subscribed(namespace), 10, "a subscription to events")
        conntrack(namespace, f"-I {FLOW.format(1)} -m 3")
        listed = json.loads(conntrack(namespace, "-L -o json").stdout)
        conntrack(namespace, "-D -s 10.0.0.1")
        assert follower.stdout is not None
        told = [json.loads(follower.stdout.readline()) for _ in range(2)]
    finally:
        follower.send_signal(signal.SIGINT)
        errors = follower.communicate(timeout=30)[1]
    assert [event["event"] for event in told] == ["new", "destroy"]
    assert listed["original"] == told[0]["original"] == told[1]["original"]
    assert listed["original"]["source"] == "10.0.0.1" and listed["mark"] == 3
    assert follower.returncode == 0
    assert errors.decode().endswith(": 2 flow events have been shown.\n")


def subscribed(namespace: Namespace) -> bool:
    """Whether somebody listens to netfilter's events (NETLINK_NETFILTER is 12)."""
    rows = namespace.run(["cat", "/proc/net/netlink"]).stdout.splitlines()[1:]
    return any(row.split()[1] == "12" and int(row.split()[3], 16) for row in rows)


def test_words_that_the_locale_does_not_have_are_told_as_they_are() -> None:
    ascii_only = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for word in (b"\xe2\x82\xac", b"\xff\xe2\x82"):
        done = subprocess.run([*OURS, "-L", "-p", word], env=ascii_only, capture_output=True, check=False)
        assert done.returncode == 2
        assert b"`" + word + b"' unsupported protocol" in done.stderr
        words = [b"--labelmap", b"/nowhere/" + word, b"-L", b"-l", b"web"]
        done = subprocess.run([*OURS, *words], env=ascii_only, capture_output=True, check=False)
        assert done.stderr.startswith(b"nfct_labelmap_new: No such file or directory\n")


@pytest.mark.parametrize("size", ["0", "-1", "2147483648", "9223372036854775808", "99999999999999999999"])
def test_any_size_of_buffer_is_taken(size: str, namespace: Namespace) -> None:
    follower = subprocess.Popen(namespace.command([*OURS, "-E", "-b", size]), stderr=subprocess.PIPE)
    try:
        assert follower.stderr is not None
        assert b"NOTICE: Netlink socket buffer" in follower.stderr.readline()
    finally:
        follower.send_signal(signal.SIGINT)
        errors = follower.communicate(timeout=30)[1]
    assert (follower.returncode, errors.count(b"\n")) == (0, 1)


def test_an_overrun_is_told_and_events_go_on(namespace: Namespace) -> None:
    namespace.nft("table ip t { chain o { type filter hook output priority 0; ct state new accept; }; }")
    follower = subprocess.Popen(
        namespace.command([*OURS, "-E", "-b", "1"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_until(lambda: subscribed(namespace), 10, "a subscription to events")
        follower.send_signal(signal.SIGSTOP)
        lines = "".join(f"-A {FLOW.format(number)}\n" for number in range(200))
        conntrack(namespace, "-R -", input=lines)
        follower.send_signal(signal.SIGCONT)
        assert follower.stderr is not None and follower.stdout is not None
        assert b"NOTICE: Netlink socket buffer" in follower.stderr.readline()
        assert b"WARNING: We have hit ENOBUFS!" in follower.stderr.readline()
        conntrack(namespace, "-D -s 10.0.0.77")
        assert any(b"[DESTROY]" in line and b"10.0.0.77" in line for line in follower.stdout)
    finally:
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=30)
    assert follower.returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_do_no_harm(closed: str, namespace: Namespace, table: KernelTable) -> None:
    command = f"{OURS[0]} -I {FLOW.format(1)} {closed}"
    assert namespace.run(["sh", "-c", command]).returncode == 0
    assert namespace.run(["sh", "-c", f"{OURS[0]} -L {closed}"]).returncode == 0
    assert len(table.flows()) == 1
