# SPDX-License-Identifier: GPL-2.0-or-later
"""The log: the C daemon's line format, to file, syslog and terminal, and nothing that stops the daemon."""

from __future__ import annotations

import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyconntrack.daemon.log import ERROR, NOTICE, Log, LogError, SyslogSink, format_line

LINE = re.compile(
    r"\[(Sun|Mon|Tue|Wed|Thu|Fri|Sat) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"[ 1-3]\d \d\d:\d\d:\d\d \d{4}\] "
    r"\(pid=(\d+)\) \[(ERROR|warning|notice|info)\] (.*)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conntrackd.log"


@pytest.fixture
def log(path: Path) -> Iterator[Log]:
    made = Log(file=str(path), console=False)
    yield made
    made.close()


def messages(path: Path) -> list[tuple[str, str]]:
    """(level, message) of each line; every line has the form."""
    found = []
    for line in path.read_text().splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        assert int(match[3]) == os.getpid()
        found.append((match[4], match[5]))
    return found


def test_lines_have_the_c_daemon_s_form(log: Log, path: Path) -> None:
    log.error("commit failed")
    log.warning("no space")
    log.notice("initialization completed")
    log.info("as you like")
    assert messages(path) == [
        ("ERROR", "commit failed"),
        ("warning", "no space"),
        ("notice", "initialization completed"),
        ("info", "as you like"),
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_date_is_written_as_by_ctime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(time, "ctime", lambda: "Sun Nov  1 01:04:08 2026")
    assert format_line(NOTICE, "x") == f"[Sun Nov  1 01:04:08 2026] (pid={os.getpid()}) [notice] x"


def test_a_message_cannot_forge_a_line(log: Log, path: Path) -> None:
    log.error("helper `a\n[Sun Nov 22 01:04:08 2026] (pid=1) [notice] all is well\x1b[2J\x7f'")
    assert len(messages(path)) == 1


def test_text_that_is_no_unicode_is_written_as_it_came(log: Log, path: Path) -> None:
    log.notice(b"/etc/\xff.conf".decode("utf-8", "surrogateescape"))
    assert path.read_bytes().endswith(b"/etc/\xff.conf\n")


def test_after_rotation_it_goes_on_in_the_new_file(log: Log, path: Path) -> None:
    log.notice("before")
    old = path.rename(path.with_suffix(".1"))
    log.notice("between")
    log.reopen()
    log.notice("after")
    assert [text for _, text in messages(old)] == ["before", "between"]
    assert [text for _, text in messages(path)] == ["after"]


def test_if_the_file_cannot_be_reopened_the_old_one_is_kept(log: Log, path: Path) -> None:
    held = path.open()
    path.unlink()
    path.mkdir()
    log.reopen()
    log.notice("still here")
    assert "can't open logfile" in held.readline()
    assert "still here" in held.readline()


def test_a_log_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"can't open logfile `.*nowhere/x.log': No such file or directory"):
        Log(file=str(tmp_path / "nowhere" / "x.log"))


def test_a_full_disk_does_not_stop_the_daemon() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    log = Log(file="/dev/full", console=False)
    log.error("lost")
    log.error("lost, too")
    log.close()


def test_lost_lines_are_told_when_there_is_room_again(
    log: Log, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.notice("one")
        log.notice("two")
    log.notice("three")
    log.notice("four")
    assert messages(path) == [
        ("warning", "2 lines could not be written to this log"),
        ("notice", "three"),
        ("notice", "four"),
    ]


def test_a_full_disk_is_told_once_where_there_is_another_place(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(file=str(path))

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.notice("one")
        log.notice("two")
    log.notice("three")
    log.close()
    out, err = capsys.readouterr()
    assert [line.split("] ", 2)[2] for line in err.splitlines()] == [
        f"can't write to logfile `{path}': No space left on device"
    ]
    assert [line.split("] ", 2)[2] for line in out.splitlines()] == ["one", "two", "three"]


def test_a_line_that_the_disk_cut_short_spoils_no_other(log: Log, path: Path) -> None:
    """The limit on a file's size stands for the disk: the write that meets it comes back short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log.notice("one")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
        log.notice("two")
        log.notice("three")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.notice("four")
    cut = path.read_text().splitlines()[1]
    assert len(cut) == 10
    path.write_text(path.read_text().replace(f"{cut}\n", "", 1))
    assert messages(path) == [
        ("notice", "one"),
        ("warning", "2 lines could not be written to this log"),
        ("notice", "four"),
    ]


def test_in_the_foreground_errors_go_to_stderr_and_the_rest_to_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = Log()
    log.error("e")
    log.warning("w")
    log.notice("n")
    log.info("i")
    out, err = capsys.readouterr()
    assert re.findall(r"\[(\w+)\] (\w)\n", err) == [("ERROR", "e"), ("warning", "w")]
    assert re.findall(r"\[(\w+)\] (\w)\n", out) == [("notice", "n"), ("info", "i")]
    log.console = False
    log.error("e")
    assert capsys.readouterr() == ("", "")


def test_the_journal_gets_the_severity_and_the_text(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def where(descriptor: int) -> str:
        status = os.fstat(descriptor)
        return f"{status.st_dev}:{status.st_ino}"

    monkeypatch.setenv("JOURNAL_STREAM", where(2))
    log = Log()
    log.warning("told\n<0>by one")
    log.notice("to a terminal")
    monkeypatch.setenv("JOURNAL_STREAM", where(1))
    log.notice("by two")
    out, err = capfd.readouterr()
    assert err == "<4>told <0>by one\n"
    assert re.findall(r"\[notice\] (.*)\n", out) == ["to a terminal"]
    assert out.endswith("\n<5>by two\n")


def test_a_closed_terminal_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    broken = os.fdopen(writing, "w")
    monkeypatch.setattr("sys.stdout", broken)
    Log().notice("nobody hears")
    monkeypatch.setattr("sys.stdout", None)
    Log().notice("nobody hears")
    with pytest.raises(BrokenPipeError):
        broken.close()


def test_syslog_gets_facility_severity_identity_and_pid(tmp_path: Path) -> None:
    address = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as logger:
        logger.bind(address)
        logger.settimeout(5)
        sink = SyslogSink("local3", address)
        sink.write(ERROR, "lockfile exists")
        line = logger.recv(4096).decode()
        sink.close()
    match = re.fullmatch(
        r"<(\d+)>\w{3} [ 1-3]\d \d\d:\d\d:\d\d conntrack-tools\[(\d+)\]: lockfile exists", line
    )
    assert match, line
    assert int(match[1]) == 19 * 8 + 3
    assert int(match[2]) == os.getpid()


def test_a_syslog_that_hangs_or_is_not_there_does_not_stop_the_daemon(tmp_path: Path) -> None:
    address = str(tmp_path / "log")
    sink = SyslogSink("daemon", address)
    sink.write(ERROR, "nobody there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as logger:
        logger.bind(address)
        for _ in range(2000):
            sink.write(ERROR, "x" * 1000)
    sink.close()
