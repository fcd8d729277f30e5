# SPDX-License-Identifier: GPL-2.0-or-later
"""What fixed jobs cost in instructions, against limits: a guard that no busy machine trips.

Each job takes 10,000 flows through one stage, under callgrind (valgrind). Counted is what the modules of the
core carry out themselves: not libc, which chooses how to copy by the processor, nor Python, nor the kernel.
So the same core gives the same count again, on any machine.
"""
