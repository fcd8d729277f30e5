# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the command, ours and the C one."""

from __future__ import annotations

from testbed.pytest_plugin import bed

__all__ = ["bed"]
