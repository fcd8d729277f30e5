# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmarks: our tools and the C ones do the same work in turn, in one run, on one machine.

The commands are measured as whole processes on a full table. Two nodes of a kind replicate over a veth pair
between two network namespaces; what is compared is CPU time and memory of the daemons' processes, as the
kernel accounts them. Beside both stands what the kernel itself needs for the same work.
"""
