# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow records as the lines that `conntrackd -i`, `-e` and `conntrack -L` print."""

from libc.stdint cimport int64_t, uint32_t

from pyconntrack.core.record cimport flow_t

cdef enum:
    TEXT_MAX = 4096            # no line is longer

# Forms.
cdef enum:
    TEXT_PLAIN = 0
    TEXT_XML = 1
    TEXT_SAVE = 2              # a command line that makes the flow again; only of output.pyx, as is JSON
    TEXT_JSON = 3

# Flags: what is shown beside what every line shows, and what is not. Without one of the first four, the line is what
# `conntrack -L` prints by default.
cdef enum:
    TEXT_LAYER3 = 1            # the network protocol before the transport protocol (-o extended); XML always has it
    TEXT_ID = 2                # id= (-o id); XML always has it
    TEXT_TIMESTAMPS = 4        # start and stop (-o timestamp ...)
    TEXT_EVENT = 8             # what happened: [NEW], type="new"
    TEXT_NO_REPLY = 16         # the reply direction is not known: as in the external cache
    TEXT_NO_TIMEOUT = 32       # a cache does not know how much of it is left
    TEXT_TIME = 64             # when the event was (-o timestamp)
    TEXT_WHOLE = 128           # in a command line, also what the C tool leaves out: mark and labels
    TEXT_DELETE = 256          # the command line is one that deletes the flow

# What the daemon's two dumps show, plain or XML.
cdef enum:
    TEXT_INTERNAL_CACHE = 32
    TEXT_EXTERNAL_CACHE = 48

# One line, with its newline, into `out`. `now` is in seconds since the epoch and serves delta-time where the flow has a
# start and no stop. `age` in seconds ends a plain line with "[active since Ns]"; nothing where it is negative.
# The length, or 0 where it does not fit `capacity`; TEXT_MAX always suffices, and is faster than less.
cdef uint32_t format_flow(const flow_t *flow, int form, int flags, int64_t now, int64_t age, char *out,
                          uint32_t capacity) noexcept nogil
