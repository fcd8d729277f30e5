# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmarks: our daemon and the C one do the same work in turn, in one run, on one machine.

Two nodes of a kind replicate over a veth pair between two network namespaces. What is compared is CPU time
and memory of the daemons' processes, as the kernel accounts them; beside them stands what the kernel itself
needs for the same work.
"""
