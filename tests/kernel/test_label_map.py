# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of labels, against what libnetfilter_conntrack makes of the same file."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.core.label_names import LabelNames
from pyconntrack.kernel.label_map import LabelMapError, load_label_names

LIBRARY = "libnetfilter_conntrack.so.3"

bits = st.sampled_from(
    [b"0", b"1", b"08", b"0x", b"0xG", b"0x1f", b"127", b"128", b"1023", b"1024", b"a", b"#"]
)
hostile_bits = st.sampled_from([b"-0", b"+7", b"-", b"-1", b"18446744073709551616", b"-18446744073709551615"])
spaces = st.sampled_from([b" ", b"\t", b"  ", b"\v", b",", b"\r", b""])
names = st.sampled_from(
    [b"a", b"b", b"c", b"a b", b"a-", b"a_", b" ", b"#", b"a # b", b"\xc3", b"0", b"\0x", b""]
)
ends = st.sampled_from([b"\n", b" \n", b"\r\n", b"\n\n", b" \t\n", b"", b"n" * 1022 + b"\n"])
lines = st.tuples(bits | hostile_bits, spaces, names, ends).map(b"".join)


class Reference:
    """The C library's reading of a file."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.nfct_labelmap_new.restype = ctypes.c_void_p
        self._library.nfct_labelmap_get_name.restype = ctypes.c_char_p

    def names(self, path: Path) -> dict[int, bytes] | None:
        handle = self._library.nfct_labelmap_new(str(path).encode())
        if handle is None:
            return None
        whole = ctypes.c_void_p(handle)
        try:
            found = {bit: self._library.nfct_labelmap_get_name(whole, bit) for bit in range(1024)}
        finally:
            self._library.nfct_labelmap_destroy(whole)
        return {bit: name for bit, name in found.items() if name}


@pytest.fixture(scope="module")
def reference() -> Reference:
    try:
        return Reference()
    except OSError:
        pytest.skip(f"{LIBRARY} is not installed (Debian: libnetfilter-conntrack3)")


def ours(path: Path) -> dict[int, bytes] | None:
    try:
        return {bit: name.encode() for bit, name in load_label_names(path).items()}
    except LabelMapError:
        return None


@given(content=st.lists(lines, max_size=8).map(b"".join) | st.binary(max_size=60))
@settings(max_examples=600, deadline=None)
def test_a_file_gives_the_library_s_names(
    reference: Reference, tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.conf"
    path.write_bytes(content)
    assert ours(path) == reference.names(path)


def test_names_and_bits_are_found(tmp_path: Path) -> None:
    path = tmp_path / "labels.conf"
    path.write_text("# of the gateway\n0 web\n\t5\tlong name  \n5 taken\n6 web\n127 last\n")
    found = load_label_names(path)
    assert found.items() == [(0, "web"), (5, "long name"), (127, "last")]
    assert (found.find("long name"), found.find(b"web"), found.find("taken"), found.find("")) == (
        5,
        0,
        -1,
        -1,
    )
    assert (found.name(127), found.name(1)) == ("last", None)


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        LabelMapError, match=r"cannot read the label names in .*absent: No such file or directory$"
    ):
        load_label_names(tmp_path / "absent")
    (tmp_path / "empty").write_text("# nothing\n")
    with pytest.raises(LabelMapError, match=r"empty names no label: a line with a bit and a name is needed"):
        load_label_names(tmp_path / "empty")


@pytest.mark.parametrize(
    ("bit", "name"), [(-1, "a"), (1024, "a"), (0, ""), (0, "a\nb"), (0, "ä"), (0, "a" * 1023)]
)
def test_a_name_that_no_file_could_hold_is_refused(bit: int, name: str) -> None:
    with pytest.raises(ValueError, match="label"):
        LabelNames().add(bit, name)


def test_a_name_belongs_to_one_bit() -> None:
    found = LabelNames()
    assert found.add(3, "a")
    assert not found.add(3, "b")
    assert not found.add(4, "a")
    assert len(found) == 1
