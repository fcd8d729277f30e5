# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixture `bed`, and the right to make network namespaces, for all tests."""

pytest_plugins = ["testbed.pytest_plugin"]
