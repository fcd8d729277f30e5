# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration: two firewalls, one dies, the connections live; without conntrackd they die too.

``python -m demo`` from the repository's root; see ``python -m demo --help``.
"""
