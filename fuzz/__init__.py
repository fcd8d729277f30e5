# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile input for the two doors of the daemon: datagrams from the network, messages from the kernel."""
