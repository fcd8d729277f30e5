# SPDX-License-Identifier: GPL-2.0-or-later
"""The parser of conntrack's command line. Messages and exit codes are those of conntrack 1.4.7."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.core import command_line
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.command_line import CommandLineError, parse
from tests.core.support_command_line import Labels, labels, no_labels, parsed, refused

TUPLE = "-s 192.0.2.1 -d 198.51.100.2 "
FLOW = TUPLE + "-p udp --sport 1 --dport 2 "
EXPECTATION = (
    "-I expect -t 9 -s 192.0.2.1 -d 192.0.2.2 --tuple-src 192.0.2.4 --tuple-dst 192.0.2.5 "
    "--mask-src 255.255.255.0 --mask-dst 255.255.255.255 -p udp --sport 1 --dport 2 "
    "--tuple-port-src 7 --tuple-port-dst 8 --mask-port-src 9 --mask-port-dst 10"
)


@pytest.mark.parametrize(
    ("line", "command", "table"),
    [
        ("-L", "LIST", "CONNTRACK"),
        ("--dump", "LIST", "CONNTRACK"),
        ("--du exp", "LIST", "EXPECT"),
        ("-L dying", "LIST", "DYING"),
        ("-L u", "LIST", "UNCONFIRMED"),
        ("-L ''", "LIST", "EXPECT"),
        ("-Lexpect", "LIST", "CONNTRACK"),
        ("--dump=expect", "LIST", "CONNTRACK"),
        ("word -L expect more", "LIST", "EXPECT"),
        ("-L -- expect", "LIST", "CONNTRACK"),
        ("-L !expect", "LIST", "CONNTRACK"),
        ("-C", "COUNT", "CONNTRACK"),
        ("--count", "COUNT", "CONNTRACK"),
        ("--stats expect", "STATISTICS", "EXPECT"),
        ("-F", "FLUSH", "CONNTRACK"),
        ("-h", "HELP", "CONNTRACK"),
        ("-V", "VERSION", "CONNTRACK"),
        ("words only", "NONE", "CONNTRACK"),
        ("-R file -L", "LOAD", "CONNTRACK"),
        ("--load-file - --bogus", "LOAD", "CONNTRACK"),
    ],
)
def test_command_and_table(line: str, command: str, table: str) -> None:
    found = parsed(line)
    assert found.command == getattr(command_line, f"COMMAND_{command}")
    assert found.table == getattr(command_line, f"TABLE_{table}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-L --bogus", "unknown option `--bogus'"),
        ("-L --zero=1", "unknown option `--zero=1'"),
        ("-L --s 192.0.2.1", "unknown option `--s'"),
        ("-L --stat", "unknown option `--stat'"),
        ("-L -Y", "unknown option `-Y'"),
        ("-R-", "unknown option `conntrack'"),
        ("-L -z word -zYz", "unknown option `word'"),
        ("-L -zY", "unknown option `-zY'"),
        ("-R", "unknown option `-R'"),
        ("-L -R -", "unknown option `-R'"),
        ("-L --sport 1 -p tcp", "unknown option `--sport'"),
        ("-L -p udp --state NONE", "unknown option `--state'"),
        ("-L -s", "option `-s' requires an argument"),
        ("-L --src", "option `--src' requires an argument"),
        ("-L -D -s x", "Invalid commands combination"),
        ("-L -V x", "unknown type `x'"),
        ("-L CON", "unknown type `CON'"),
        ("-Sx", "unknown option `-Sx'"),
        ("-D dying -s x", "Can't do that command with tables `dying' and `unconfirmed'"),
        ("-A expect -s x", "Can't do --add on expectations"),
        ("-U expect", "Can't do --update on expectations"),
        ("-L -s x/24", "Invalid IP address `x/24'"),
        ("-L --src=", "Invalid IP address `'"),
        ("-L -s 192.0.2.1/33", "Invalid netmask"),
        ("-L -s 192.0.2.1/8x", "Invalid netmask"),
        ("-L -s ::1 -d 192.0.2.1", "mismatched address family"),
        ("-L -f ipv4 -f ipv6", "mismatched address family"),
        ("-L -r 192.0.2.1/24", "CIDR notation unavailable for `--reply-src'"),
        ("-L -n ::/64", "CIDR notation unavailable for `--src-nat'"),
        ("-L -p 256", "`256' unsupported protocol"),
        ("-L -p 6x", "`6x' unsupported protocol"),
        ("-L -f IPV4", "`IPV4' unsupported protocol"),
        ("-L -u ASSURED,x,SEEN", "Bad parameter `x,SEEN'"),
        ("-L -u ,ASSURED", "Bad parameter `,ASSURED'"),
        ("-L -o ''", "Bad parameter `'"),
        ("-E -e x", "Bad parameter `x'"),
        ("-L -n []:5", "No IPv6 address specified"),
        ("-L -n [::1", "No closing ']' around IPv6 address"),
        ("-L -n [::1]", "Invalid IP address `[::1]'"),
        ("-L -n 192.0.2.1:", "No port specified after `:'"),
        ("-L -n 192.0.2.1:77-99", "Invalid port `77-99'"),
        ("-L -n 192.0.2.1:65536", "Invalid port `65536'"),
        ("-L -p tcp --state est", "unknown TCP state `est'"),
        ("-L -p sctp --state est", "unknown SCTP state `est'"),
        ("-L -p dccp --state est", "Unknown DCCP state `est'"),
        ("-L -l one,x", "unknown label 'x'"),
        ("-L -l one,", "unknown label ''"),
        ("-L -j -n -t 5", "cannot specify `--src-nat' or `--dst-nat' with `--any-nat'"),
        ("-I " + TUPLE, "You need to supply the `--protonum' option for this command"),
        ("-I -p tcp " + TUPLE, "You need to supply the `--timeout' option for this command"),
        ("-I -p tcp -t 9 " + TUPLE, "You need to supply the `--state' option for this command"),
        (f"-I {FLOW} -t 9 -c 5", "Illegal option `--secmark' with this command"),
        (f"-I {FLOW} -t 9 -s 192.0.2.1/31", "Illegal option `--mask-src' with this command"),
        ("-L -p tcp --state CLOSE -p udp", "Illegal option `--state' with this command"),
        ("-D -p icmp --icmp-type 8 -p tcp", "Illegal option `--icmp-type' with this command"),
        ("-D -p tcp --sport 5 -p 50", "Illegal option `--sport' with this command"),
        ("-L -p tcp --tuple-port-src 1", "Illegal option `--tuple-port-src' with this command"),
        ("-L -p gre --mask-key-src 1", "Illegal option `--mask-key-src' with this command"),
        (f"-G -p icmpv6 {TUPLE}", "You need to supply the `--icmpv6-type' option for this command"),
        ("-s 192.0.2.1", "Illegal option `--src' with this command"),
        ("-I -p tcp -t 9", "you have to specify `--src' and `--dst'"),
        ("-I -p udp -t 9 -r 192.0.2.1", "you have to specify `--reply-src' and `--reply-dst'"),
        ("-I -p udp -t 9 -s 192.0.2.1 -q 192.0.2.1", "you have to specify `--src' and `--dst'"),
        (f"-G -p tcp {TUPLE}", "you have to specify `--sport' and `--dport'"),
        (
            f"-G -p tcp {TUPLE} --reply-port-src 1",
            "you have to specify `--reply-src-port' and `--reply-dst-port'",
        ),
        (
            f"-G -p dccp {TUPLE} --reply-port-src 1",
            "you have to specify `--reply-port-src' and `--report-port-dst'",
        ),
        (f"-G -p gre {TUPLE}", "you have to specify `--srckey' and `--dstkey'"),
        ("-L --mask-src 255.0.0.0 -z", "Can't use --mask-src without --src"),
        ("-U -s 192.0.2.1 --mask-dst 255.0.0.0", "Can't use --mask-dst without --dst"),
        ("-L -z -p icmp", "Can't use -z with filtering parameters"),
        ("-G expect " + FLOW, "You need to supply the `--reply-port-src' option for this command"),
        (EXPECTATION + " --reply-port-src 1", "Illegal option `--reply-port-src' with this command"),
        ("-L expect -w 1", "Illegal option `--zone' with this command"),
    ],
)
def test_refused(line: str, message: str) -> None:
    error = refused(line)
    assert (str(error), error.status, error.usage) == (message, 2, True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-C -o save,id", "cannot combine save output with any other output type, use -o save only"),
        ("-L -o id -o save -s x", "cannot combine save output with any other output type, use -o save only"),
        (
            "-U --label-del --label-add x",
            "cannot use --label-add and --label-del at the same time",
        ),
        ("-L -u UNSET", "Operation failed: invalid parameters"),
        ("-D -u UNSET", "Operation failed: invalid parameters"),
        ("-D -u SRC_NAT", "Operation failed: invalid parameters"),
        ("-D -m 3/3 -u SRC_NAT,DST_NAT", "Operation failed: invalid parameters"),
        ("-I -p icmp -t 9 -s ::1 -d ::2 --icmp-type 8 --icmp-code 0", "Operation failed: invalid parameters"),
        (
            f"-A -p icmpv6 -t 9 {TUPLE} --icmpv6-type 8 --icmpv6-code 0",
            "Operation failed: invalid parameters",
        ),
        (
            "-G -p udp -r 192.0.2.1 -q 192.0.2.2 --reply-port-src 1 --reply-port-dst 2",
            "Operation failed: invalid parameters",
        ),
    ],
)
def test_found_late(line: str, message: str) -> None:
    error = refused(line)
    assert (str(error), error.status, error.usage) == (message, 1, False)


@pytest.mark.parametrize(
    "line", ["-D -u SRC_NAT,ASSURED", "-U -u UNSET", "-U -u SRC_NAT", f"-I {FLOW} -t 9 -u UNSET"]
)
def test_status_words_that_leave_something_or_are_set(line: str) -> None:
    assert parsed(line).has("status")


@pytest.mark.parametrize("words", [[b"-D", b"-p", b"udp\0x"], [b"-R", b"a\0b"], [b"-D\0"]])
def test_a_nul_byte_does_not_cut_a_word(words: list[bytes]) -> None:
    with pytest.raises(CommandLineError, match="NUL byte among the parameters"):
        parse(words, no_labels)


def test_warnings_come_with_what_is_refused_later() -> None:
    error = refused("-L -u SRC_NAT -a 1 -s x")
    assert error.warnings == [
        "WARNING: ignoring SRC_NAT, use --src-nat instead",
        "WARNING: ignoring -a, deprecated option.",
    ]
    assert parsed("-L -u DST_NAT,ASSURED").warnings == ["WARNING: ignoring DST_NAT, use --dst-nat instead"]


def test_without_a_label_map() -> None:
    with pytest.raises(CommandLineError, match="unknown label 'one'") as caught:
        parse([b"-L", b"-l", b"one"], no_labels)
    assert caught.value.warnings == ["nfct_labelmap_new: No such file or directory"]
    deletion = parse([b"-U", b"--label-del"], no_labels)
    assert deletion.labels_to_delete is True
    assert deletion.warnings == ["nfct_labelmap_new: No such file or directory"]


def test_label_map_is_asked_by_its_path_and_only_where_it_is_needed() -> None:
    asked: list[str | None] = []

    def finder(path: str | None) -> Labels:
        asked.append(path)
        return Labels()

    assert parse([b"-L", b"--labelmap", b"map"], finder).label_map_path == "map"
    assert asked == []
    parse([b"-L", b"--labelmap=map", b"-l", b"one,two", b"-l", b"last"], finder)
    assert asked == ["map"]


def test_a_failing_label_map_is_no_command_line_error() -> None:
    def broken(path: str | None) -> Labels:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        parse([b"-L", b"-l", b"one"], broken)


def test_labels() -> None:
    line = parsed("-U -l one --label-add two,last")
    assert line.labels_to_add == bytes([4]) + bytes(14) + bytes([128])
    assert line.labels_to_delete is None
    assert parsed("-U --label-del one").labels_to_delete == bytes([2]) + bytes(15)
    assert parsed("-U --label-del=one").labels_to_delete == bytes([2]) + bytes(15)
    assert parsed("-U --label-del -m 1").labels_to_delete is True


def test_numbers_and_flags_of_the_whole_line() -> None:
    line = parsed("-E -o xml,TIME -o user -e NEW,d -b 4096 -f ipv6")
    assert line.output == (
        command_line.OUTPUT_XML | command_line.OUTPUT_TIMESTAMP | command_line.OUTPUT_USERSPACE
    )
    assert line.events == command_line.EVENTS_NEW | command_line.EVENTS_DESTROY
    assert (line.buffer_size, line.family, line.protocol) == (4096, 10, None)
    assert parsed("-E").buffer_size is None
    assert parsed("-L -z").zero_counters
    assert parsed("-R -").load_file == b"-"
    assert parsed("-L -p igmp").protocol == 2
    assert line.has("event-mask") and not line.has("zero")
    with pytest.raises(KeyError):
        line.has("bogus")


def created(line: str) -> dict[str, Any]:
    return dict(parsed(line).template.unpack(0))


def test_created_flow_has_the_inverse_as_reply() -> None:
    flow = created(f"-I {FLOW} -t 9 -m 5/7 -w 3")
    first, second = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2])
    assert flow["original"] == (2, 17, first, second, 1, 2, 0, 0, 0)
    assert flow["reply"] == (2, 17, second, first, 2, 1, 0, 0, 0)
    assert (flow["timeout"], flow["mark"], flow["zone"]) == (9, 5, 3)
    assert "mark_mask" not in flow and "status" not in flow


def test_created_flow_from_its_reply() -> None:
    flow = created(
        "-I -p udp -t 9 -r 192.0.2.1 -q 192.0.2.2 --reply-port-src 3 --reply-port-dst 4 --orig-zone 6"
    )
    assert flow["original"] == (2, 17, bytes([192, 0, 2, 2]), bytes([192, 0, 2, 1]), 4, 3, 0, 0, 0)
    assert flow["original_zone"] == 6


def test_reply_ports_do_not_count_without_reply_addresses() -> None:
    flow = created(f"-I {FLOW} -t 9 --reply-port-src 70 --reply-port-dst 80")
    assert flow["reply"] == (2, 17, bytes([198, 51, 100, 2]), bytes([192, 0, 2, 1]), 2, 1, 0, 0, 0)


@pytest.mark.parametrize(("state", "flags"), [("ESTABLISHED", 0x0A), ("TIME_WAIT", 0x0E), ("LISTEN", 0x0E)])
def test_created_tcp_flow_is_not_checked_for_its_window(state: str, flags: int) -> None:
    flow = created(f"-I -p tcp {TUPLE} --sport 1 --dport 2 -t 9 --state {state} -u SEEN_REPLY")
    assert flow["tcp_flags_original"] == flow["tcp_flags_reply"] == (flags, flags)
    assert flow["status"] == 0x0A


def test_created_icmp_flow_with_its_reply_addresses() -> None:
    flow = created(
        f"-I -p icmp {TUPLE} -r 198.51.100.2 -q 192.0.2.1 --icmp-type 8 --icmp-code 0 --icmp-id 7 -t 9"
    )
    assert flow["reply"] == (2, 1, bytes([198, 51, 100, 2]), bytes([192, 0, 2, 1]), 0, 0, 7, 0, 0)


def test_nat_is_asked_of_the_kernel_with_the_inverse_as_reply() -> None:
    flow = created(f"-I {FLOW} -t 9 -n 203.0.113.9:99 -g 203.0.113.8")
    assert flow["reply"] == (2, 17, bytes([198, 51, 100, 2]), bytes([192, 0, 2, 1]), 2, 1, 0, 0, 0)
    assert flow["source_nat_address"] == bytes([203, 0, 113, 9])
    assert flow["source_nat_port"] == 99
    assert flow["destination_nat_address"] == bytes([203, 0, 113, 8])
    assert "destination_nat_port" not in flow


def test_nat_of_a_saved_flow() -> None:
    flow = created(
        f"-A -t 9 -u UNSET {TUPLE} -g 203.0.113.8 -q 192.0.2.1 -p udp --sport 1 --dport 2 "
        "--reply-port-src 77 --reply-port-dst 1"
    )
    assert flow["reply"] == (2, 17, bytes([198, 51, 100, 2]), bytes([192, 0, 2, 1]), 2, 1, 0, 0, 0)
    assert flow["destination_nat_address"] == bytes([203, 0, 113, 8])
    assert flow["destination_nat_port"] == 77
    assert "source_nat_address" not in flow
    ports_only = created(
        f"-A -t 9 {TUPLE} -r 198.51.100.2 -q 192.0.2.1 -p udp --sport 1 --dport 2 "
        "--reply-port-src 2 --reply-port-dst 99"
    )
    assert ports_only["source_nat_address"] == bytes([192, 0, 2, 1])
    assert ports_only["source_nat_port"] == 99
    assert "destination_nat_address" not in ports_only


def test_a_saved_flow_of_dccp_where_the_kernel_does_not_know_it() -> None:
    flow = created(f"-A -t 9 -u UNSET {TUPLE} -r 198.51.100.2 -q 192.0.2.1 -p dccp")
    assert flow["reply"] == (2, 33, bytes([198, 51, 100, 2]), bytes([192, 0, 2, 1]), 0, 0, 0, 0, 0)
    assert str(refused(f"-I -t 9 {TUPLE} -p dccp")).startswith("You need to supply the `--state'")


def test_a_joined_nat_address_counts() -> None:
    for line in ("--src-nat=203.0.113.9", "-n203.0.113.9", "-n 203.0.113.9"):
        assert created(f"-I {FLOW} -t 9 {line}")["source_nat_address"] == bytes([203, 0, 113, 9])
    assert "source_nat_address" not in created(f"-I {FLOW} -t 9 -nz")


def test_expectation() -> None:
    expectation = parsed(EXPECTATION).expectation.unpack(0)
    assert expectation["timeout"] == 9
    assert expectation["master"][1:6] == (17, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]), 1, 2)
    assert expectation["expected"][1:6] == (17, bytes([192, 0, 2, 4]), bytes([192, 0, 2, 5]), 7, 8)
    assert expectation["mask"][2:6] == (bytes([255, 255, 255, 0]), bytes([255] * 4), 9, 10)
    deleted = parsed(f"-D expect {FLOW} --reply-port-src 1 --reply-port-dst 2").expectation.unpack(0)
    assert "expected" in deleted and "master" not in deleted


def test_which_lines_name_one_flow() -> None:
    assert parsed(f"-D {FLOW}").names_one_flow
    assert not parsed(f"-D {TUPLE} -p udp --sport 1").names_one_flow
    assert not parsed("-D -s 192.0.2.1/31 -d 198.51.100.2 -p udp --sport 1 --dport 2").names_one_flow
    assert parsed("-D -s 192.0.2.1/32 -d 198.51.100.2 -p udp --sport 1 --dport 2").names_one_flow
    assert not parsed(f"-D {TUPLE} -p icmp --icmp-type 8").names_one_flow
    assert parsed(f"-D {TUPLE} -p 99").names_one_flow


def test_match_selects_what_the_template_would_create() -> None:
    flow = parsed(f"-I {FLOW} -t 9 -m 5").template
    assert parsed(f"-L {FLOW} -m 1/1").match.matches(flow, 0)
    assert parsed("-L -s 192.0.2.77/24 -f ipv4").match.matches(flow, 0)
    assert not parsed("-L -s 192.0.2.77/32").match.matches(flow, 0)
    assert not parsed("-L -m 4").match.matches(flow, 0)
    # What an update sets is no condition.
    assert parsed("-U -m 4 -t 7").match.matches(flow, 0)
    assert parsed("-D -t 9").match.matches(flow, 0)
    assert not parsed("-D -t 8").match.matches(flow, 0)


@pytest.mark.parametrize(
    ("created", "matching", "other"),
    [
        ("-p gre --srckey 1 --dstkey 2", "-D -p gre --srckey 1 --reply-key-src 2", "-D -p gre --srckey 3"),
        ("-p gre --srckey 1 --dstkey 2", "-U -p gre --dstkey 2", "-U -p gre --reply-key-dst 2"),
        (
            "-p sctp --sport 1 --dport 2 --state HEARTBEAT_SENT --orig-vtag 1 --reply-vtag 2",
            "-L -p sctp --state HEARTBEAT_SENT",
            "-L -p sctp --state HEARTBEAT_ACKED",
        ),
        (
            "-p sctp --sport 1 --dport 2 --state CLOSED --orig-vtag 1 --reply-vtag 2",
            f"-G {TUPLE} -p sctp --sport 1 --dport 2 --orig-vtag 1 --reply-vtag 2",
            f"-G {TUPLE} -p sctp --sport 1 --dport 2 --reply-vtag 1",
        ),
        (
            "-p tcp --sport 1 --dport 2 --state CLOSE",
            f"-G {TUPLE} -p tcp --sport 1 --dport 2 --state CLOSE --reply-port-src 2",
            f"-G {TUPLE} -p tcp --sport 1 --dport 2 --state LISTEN",
        ),
    ],
)
def test_what_is_accepted_selects(created: str, matching: str, other: str) -> None:
    flow = parsed(f"-I {TUPLE} -t 9 {created}").template
    assert parsed(matching).match.matches(flow, 0)
    assert not parsed(other).match.matches(flow, 0)


def test_the_security_mark_and_an_address_of_nat_in_ipv6_select() -> None:
    destination = bytes([0xFD]) + bytes(15)
    flow = FlowBatch()
    addresses = bytes([0xFD]) + bytes(14) + b"\x01", bytes([0xFD]) + bytes(14) + b"\x02"
    flow.pack(
        {
            "original": (10, 17, *addresses, 1, 2, 0, 0, 0),
            "reply": (10, 17, addresses[1], destination, 2, 1, 0, 0, 0),
            "status": 0x80 | 0x10,
            "secmark": 7,
        }
    )
    for line in ("-L -c 7", "-D -n fd00::", "-U -n fd00::", "-E -j fd00::"):
        assert parsed(line).match.matches(flow, 0)
    for line in ("-L -c 8", "-D -n fd00::9", "-L -j fd00::9", "-E -g fd00::"):
        assert not parsed(line).match.matches(flow, 0)


def test_the_length_of_a_whole_address_says_nothing() -> None:
    assert created(f"-I {FLOW} -t 9 -s 192.0.2.1/32") == created(f"-I {FLOW} -t 9")
    assert parsed("-L -s ::1/128").given == parsed("-L -s ::1").given
    # The network of the first stays, as with the C tool.
    flow = parsed(f"-I {FLOW} -t 9").template
    assert parsed("-L -s 192.0.2.0/24 -s 192.0.2.7/32").match.matches(flow, 0)


def test_half_a_reply_is_left_to_the_kernel_to_refuse() -> None:
    assert created(f"-I {FLOW} -t 9 -n 192.0.2.9 -r 198.51.100.2 -q 192.0.2.9")["reply"][1] == 0


WORDS = st.sampled_from(
    [
        "-L",
        "-D",
        "-I",
        "-U",
        "-E",
        "expect",
        "dying",
        "-s",
        "--src=1.1.1.1",
        "1.1.1.1",
        "::1/64",
        "-p",
        "tcp",
        "6",
        "gre",
        "icmp",
        "--sport",
        "1",
        "--state",
        "NONE",
        "-u",
        "ASSURED,UNREPLIED",
        "-n",
        "-g",
        "-j",
        "[::1]:5",
        "-o",
        "save,xml",
        "id",
        "-e",
        "ALL",
        "-l",
        "one",
        "--label-add",
        "--label-del",
        "two",
        "-z",
        "-m",
        "1/2",
        "-w",
        "--",
        "--mask-src",
        "--tuple-src=::/0",
        "-t",
        "-R",
        "--",
        "!",
        "-",
        "-b",
        "5",
        "-zzz",
        "--icmp-type",
        "--orig-",
        "--reply-port-src",
    ]
)


@settings(max_examples=2000, deadline=None)
@given(st.lists(st.one_of(WORDS, st.text(max_size=12)), max_size=14))
def test_any_words_are_taken_or_refused(words: list[str]) -> None:
    texts = [word.encode("utf-8", "surrogatepass").replace(b"\0", b"") for word in words]
    try:
        line = parse(texts, labels)
    except CommandLineError as error:
        assert str(error) and error.status in (1, 2)
        return
    assert len(line.template) == len(line.expectation) == 1
    line.match.matches(line.template, 0)


@given(
    st.permutations(["-t 9", "-s 192.0.2.1", "-d 192.0.2.2", "-w 3", "-m 7", "-u ASSURED", "-n 192.0.2.9"])
)
def test_the_order_of_options_does_not_matter(options: list[str]) -> None:
    line = f"-I -p udp --sport 1 --dport 2 {' '.join(options)}"
    assert bytes(parsed(line).template) == bytes(
        parsed(
            "-I -p udp --sport 1 --dport 2 -t 9 -s 192.0.2.1 -d 192.0.2.2 -w 3 -m 7 -u ASSURED -n 192.0.2.9"
        ).template
    )
