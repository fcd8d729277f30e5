# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""A growable, contiguous array of expectation records, and each as Python values."""

from libc.stdlib cimport free, realloc

from pyconntrack.core.expectation_record cimport *
from pyconntrack.core.flow_values cimport set_text, set_tuple, some_text, tuple_values

# Names of attributes, and their bits in `present`.
cdef dict BITS = {
    "expected": EXPECTATION_EXPECTED,
    "mask": EXPECTATION_MASK,
    "master": EXPECTATION_MASTER,
    "timeout": EXPECTATION_TIMEOUT,
    "id": EXPECTATION_ID,
    "zone": EXPECTATION_ZONE,
    "flags": EXPECTATION_FLAGS,
    "class_": EXPECTATION_CLASS,
    "helper": EXPECTATION_HELPER,
    "function": EXPECTATION_FUNCTION,
    "nat": EXPECTATION_NAT,
}


cdef class ExpectationBatch:
    """Expectations in one piece of memory, one record of fixed size each.

    While another thread writes text of it, or receives into it, it can neither grow nor be cleared: BufferError. While
    one receives into it, it looks empty.
    """

    def __dealloc__(self):
        free(self.expectations)

    def __len__(self):
        return self.length

    cdef expectation_t *append_nogil(self) noexcept nogil:
        cdef Py_ssize_t capacity
        cdef void *moved
        if self.holds > 0:
            return NULL
        if self.length == self.capacity:
            capacity = max(self.capacity * 2, 64)
            moved = realloc(self.expectations, capacity * sizeof(expectation_t))
            if moved == NULL:
                return NULL
            self.expectations = <expectation_t *>moved
            self.capacity = capacity
        self.length += 1
        clear_expectation(&self.expectations[self.length - 1])
        return &self.expectations[self.length - 1]

    cdef expectation_t *append(self) except NULL:
        cdef expectation_t *expectation = self.append_nogil()
        if expectation == NULL:
            self.check_not_held()
            raise MemoryError
        return expectation

    cdef void pop(self) noexcept nogil:
        self.length -= 1

    cdef int check_not_held(self) except -1:
        if self.holds > 0:
            raise BufferError("another thread works with this batch: it can neither grow nor be cleared")
        return 0

    cdef ExpectationBatch lend(self):
        cdef ExpectationBatch lent = ExpectationBatch()
        self.check_not_held()
        swap(self, lent)
        self.holds += 1
        return lent

    cdef void take_back(self, ExpectationBatch lent) noexcept:
        self.holds -= 1
        swap(self, lent)

    def clear(self):
        """Forget all; the memory is kept for the next ones. BufferError."""
        self.check_not_held()
        self.length = 0

    def unpack(self, Py_ssize_t index):
        """The expectation at `index` as {attribute: value}, of those present; `event` always. IndexError.

        A tuple is that of Tuple.values(); `nat` is a pair of the direction (IP_CT_DIR_*) and a tuple.
        """
        cdef const expectation_t *e
        if index < 0:
            index += self.length
        if index < 0 or index >= self.length:
            raise IndexError("expectation index out of range")
        e = &self.expectations[index]
        values = {"event": e.event}
        for name, bit in BITS.items():
            if expectation_has(e, bit):
                values[name] = value_of(e, bit)
        return values

    def pack(self, dict values not None):
        """Append an expectation with these attributes, as unpack names them, and return its index.

        Raises ValueError for an unknown name or a bad address or text, OverflowError for a number that does
        not fit, TypeError, BufferError.
        """
        cdef expectation_t made
        cdef expectation_t *place
        clear_expectation(&made)
        for name, value in values.items():
            set_value(&made, name, value)
        place = self.append()
        place[0] = made
        return self.length - 1


cdef void swap(ExpectationBatch one, ExpectationBatch other) noexcept:
    one.expectations, other.expectations = other.expectations, one.expectations
    one.length, other.length = other.length, one.length
    one.capacity, other.capacity = other.capacity, one.capacity


cdef object value_of(const expectation_t *e, int bit):
    if bit == EXPECTATION_EXPECTED: return tuple_values(&e.expected)
    if bit == EXPECTATION_MASK: return tuple_values(&e.mask)
    if bit == EXPECTATION_MASTER: return tuple_values(&e.master)
    if bit == EXPECTATION_TIMEOUT: return e.timeout
    if bit == EXPECTATION_ID: return e.id
    if bit == EXPECTATION_ZONE: return e.zone
    if bit == EXPECTATION_FLAGS: return e.flags
    if bit == EXPECTATION_CLASS: return e.class_
    if bit == EXPECTATION_HELPER: return some_text(e.helper, EXPECTATION_HELPER_SIZE)
    if bit == EXPECTATION_FUNCTION: return some_text(e.function, EXPECTATION_FUNCTION_SIZE)
    return (e.nat_direction, tuple_values(&e.nat))


cdef int set_value(expectation_t *e, str name, object value) except -1:
    cdef int bit
    if name == "event":
        e.event = value
        return 0
    if name not in BITS:
        raise ValueError(f"an expectation has no attribute {name}")
    bit = BITS[name]
    if bit == EXPECTATION_EXPECTED: set_tuple(&e.expected, value, name)
    elif bit == EXPECTATION_MASK: set_tuple(&e.mask, value, name)
    elif bit == EXPECTATION_MASTER: set_tuple(&e.master, value, name)
    elif bit == EXPECTATION_TIMEOUT: e.timeout = value
    elif bit == EXPECTATION_ID: e.id = value
    elif bit == EXPECTATION_ZONE: e.zone = value
    elif bit == EXPECTATION_FLAGS: e.flags = value
    elif bit == EXPECTATION_CLASS: e.class_ = value
    elif bit == EXPECTATION_HELPER: set_text(e.helper, value, EXPECTATION_HELPER_SIZE, name)
    elif bit == EXPECTATION_FUNCTION: set_text(e.function, value, EXPECTATION_FUNCTION_SIZE, name)
    else:
        e.nat_direction = value[0]
        set_tuple(&e.nat, value[1], name)
    expectation_put(e, bit)
    return 0
