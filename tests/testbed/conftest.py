# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests of the test bed need nothing but the test bed."""

from testbed.pytest_plugin import bed

__all__ = ["bed"]
