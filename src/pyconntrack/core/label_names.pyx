# cython: language_level=3, boundscheck=False, wraparound=False
# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of connection labels: bit to name, and back."""

from libc.string cimport memset

cdef enum:
    NAME_MAX = 1022            # what a line of connlabel.conf can hold


cdef class LabelNames:
    """Names of label bits, at most one to a bit and one bit to a name.

    Bits from 128 on may be named, as in connlabel.conf; no flow has them.
    """

    def __cinit__(self):
        memset(&self.labels, 0, sizeof(self.labels))
        self.total = 0
        self.by_name = {}
        self.by_bit = {}

    def __len__(self):
        return len(self.by_bit)

    def add(self, int bit, name):
        """Name a bit, and say whether that was possible: not where the bit or the name is taken.

        Raises ValueError for a bit that is not within 0 to 1023, an empty name, one of more than 1022 bytes, and a character
        that is not an ASCII letter or digit, a space or `-`.
        """
        cdef bytes text = encoded(name)
        if bit < 0 or bit >= LABEL_BITS_MAX:
            raise ValueError(f"label bit {bit} is not within 0 to {LABEL_BITS_MAX - 1}")
        if not 0 < len(text) <= NAME_MAX:
            raise ValueError(f"a label's name has 1 to {NAME_MAX} characters, not {len(text)}")
        if text.translate(None, ALLOWED):
            raise ValueError(f"the label name {name!r} has other characters than letters, digits, spaces and -")
        if bit in self.by_bit or text in self.by_name:
            return False
        self.by_bit[bit] = text
        self.by_name[text] = bit
        if bit < LABELS_MAX:
            self.labels.texts[bit] = text
            self.labels.lengths[bit] = <uint16_t>len(text)
            self.total += <uint32_t>len(text)
        return True

    def find(self, name):
        """The bit of a name (str or bytes), or -1 where it is unknown."""
        return self.by_name.get(encoded(name), -1)

    def name(self, int bit):
        """The name of a bit, or None."""
        text = self.by_bit.get(bit)
        return None if text is None else text.decode("ascii")

    def items(self):
        """[(bit, name), ...], by bit."""
        return [(bit, self.by_bit[bit].decode("ascii")) for bit in sorted(self.by_bit)]


cdef bytes ALLOWED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -"


cdef bytes encoded(name):
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
