# SPDX-License-Identifier: GPL-2.0-or-later
"""The dedicated link: sockets that carry the replication protocol's datagrams between the nodes."""
