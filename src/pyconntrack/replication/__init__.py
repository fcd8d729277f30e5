# SPDX-License-Identifier: GPL-2.0-or-later
"""The replication protocols, without sockets and without a clock.

Datagrams and the time come in, datagrams and changes go out.
"""
