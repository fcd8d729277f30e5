# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink sockets and what is behind them: the connection tracking table, its events, its statistics."""
