# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrackd doctor`: looks at the machine as an expert would, changes nothing, and says what to do.

A check is a function from a `Case` to findings; the table of all of them is in `examination`.
"""
