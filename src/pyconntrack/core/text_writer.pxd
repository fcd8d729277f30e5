# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers, addresses and words into a buffer that is known to be large enough. Each function returns where it stopped.

By hand and not by printf, since a dump formats a dozen of them per flow.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen

from pyconntrack.core.record cimport FAMILY_IPV4

cdef extern from *:
    """
    static const char pyconntrack_pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354"
        "5556575859606162636465666768697071727374757677787980818283848586878889909192939495969798" "99";
    static const char pyconntrack_hex[] = "0123456789abcdef";
    /* Each with a dot behind it, in four bytes, and how many of them it takes. */
    #define TEN(tens, rest) tens "0." rest, tens "1." rest, tens "2." rest, tens "3." rest, tens "4." rest, \\
                            tens "5." rest, tens "6." rest, tens "7." rest, tens "8." rest, tens "9." rest
    static const char pyconntrack_octets[256][5] = {
        TEN("", "\\0\\0\\2"), TEN("1", "\\0\\3"), TEN("2", "\\0\\3"), TEN("3", "\\0\\3"), TEN("4", "\\0\\3"),
        TEN("5", "\\0\\3"), TEN("6", "\\0\\3"), TEN("7", "\\0\\3"), TEN("8", "\\0\\3"), TEN("9", "\\0\\3"),
        TEN("10", "\\4"), TEN("11", "\\4"), TEN("12", "\\4"), TEN("13", "\\4"), TEN("14", "\\4"), TEN("15", "\\4"),
        TEN("16", "\\4"), TEN("17", "\\4"), TEN("18", "\\4"), TEN("19", "\\4"), TEN("20", "\\4"), TEN("21", "\\4"),
        TEN("22", "\\4"), TEN("23", "\\4"), TEN("24", "\\4"),
        "250.\\4", "251.\\4", "252.\\4", "253.\\4", "254.\\4", "255.\\4",
    };
    #undef TEN
    """
    const char *pyconntrack_pairs
    const char *pyconntrack_hex
    const char (*pyconntrack_octets)[5]


cdef inline char *write_text(char *out, const char *text) noexcept nogil:
    cdef size_t length = strlen(text)
    memcpy(out, text, length)
    return out + length


cdef inline char *write_pair(char *out, uint32_t value) noexcept nogil:
    """A number below 100 in two digits."""
    memcpy(out, pyconntrack_pairs + 2 * value, 2)
    return out + 2


cdef inline char *write_small(char *out, uint32_t value) noexcept nogil:
    """A number below 100 in one digit or two."""
    if value >= 10:
        return write_pair(out, value)
    out[0] = <char>(48 + value)
    return out + 1


cdef inline char *write_number(char *out, uint64_t value) noexcept nogil:
    """Decimal, without padding."""
    cdef uint32_t rest = <uint32_t>value
    if value < 100:
        return write_small(out, rest)
    if value < 10000:
        return write_pair(write_small(out, rest // 100u), rest % 100u)
    if value < 1000000:
        out = write_small(out, rest // 10000u)
    else:
        out = write_number(out, value // 1000000)
        rest = <uint32_t>(value % 1000000)
        out = write_pair(out, rest // 10000u)
    return write_pair(write_pair(out, rest // 100u % 100u), rest % 100u)


cdef inline char *write_digits(char *out, uint64_t number, int width) noexcept nogil:
    """A number in at least so many digits."""
    cdef uint64_t limit = 10
    while width > 1 and limit <= number:
        limit *= 10
        width -= 1
    while width > 1:
        out[0] = 48
        out += 1
        width -= 1
    return write_number(out, number)


cdef inline char *write_hex(char *out, uint16_t value) noexcept nogil:
    """Hexadecimal in lower case, without leading zeros or a prefix."""
    cdef int shift = 12
    while shift and not value >> shift:
        shift -= 4
    while shift >= 0:
        out[0] = pyconntrack_hex[(value >> shift) & 15]
        out += 1
        shift -= 4
    return out


cdef inline char *write_padded(char *out, const char *word) noexcept nogil:
    """A word in a column of eight, left-aligned, and a space."""
    cdef size_t length = strlen(word)
    memcpy(out, b"        ", 8)
    memcpy(out, word, length)
    out += length if length > 8 else 8
    out[0] = 32
    return out + 1


cdef inline char *write_ipv4(char *out, const uint8_t *address) noexcept nogil:
    """Up to three bytes behind the end are written, too."""
    cdef int i
    for i in range(4):
        memcpy(out, pyconntrack_octets[address[i]], 4)
        out += pyconntrack_octets[address[i]][4]
    return out - 1


cdef inline char *write_ipv6(char *out, const uint8_t *address) noexcept nogil:
    """As inet_ntop(3): the first of the longest runs of zero words is cut; mapped and compatible addresses end dotted."""
    cdef uint16_t[8] words
    cdef int best = -1
    cdef int best_length = 1
    cdef int i, start
    for i in range(8):
        words[i] = (<uint16_t>address[2 * i] << 8) | address[2 * i + 1]
    i = 0
    while i < 8:
        start = i
        while i < 8 and words[i] == 0:
            i += 1
        if i - start > best_length:
            best, best_length = start, i - start
        i += 1
    i = 0
    while i < 8:
        if i == best:
            out[0] = 58
            out += 1
            i += best_length
            if i == 8:
                out[0] = 58
                out += 1
            continue
        if i:
            out[0] = 58
            out += 1
        if i == 6 and best == 0 and (best_length == 6 or best_length == 5 and words[5] == 0xffff):
            return write_ipv4(out, address + 12)
        out = write_hex(out, words[i])
        i += 1
    return out


cdef inline char *write_address(char *out, uint8_t family, const uint8_t *address) noexcept nogil:
    if family == FAMILY_IPV4:
        return write_ipv4(out, address)
    return write_ipv6(out, address)


cdef inline char *write_name(char *out, const char *name, uint32_t size, bint xml) noexcept nogil:
    """A name that came from outside, at most `size` bytes, in ASCII: nothing in it may break the line or the markup."""
    cdef uint32_t i
    cdef uint8_t c
    for i in range(size):
        c = <uint8_t>name[i]
        if c == 0:
            break
        if c < 32 or c >= 127:
            c = 63
        if xml and c == 38:
            out = write_text(out, b"&amp;")
        elif xml and c == 60:
            out = write_text(out, b"&lt;")
        elif xml and c == 62:
            out = write_text(out, b"&gt;")
        else:
            out[0] = <char>c
            out += 1
    return out


cdef inline char *write_field(char *out, const char *name, uint64_t value) noexcept nogil:
    """A word, and a number right behind it."""
    return write_number(write_text(out, name), value)
