# SPDX-License-Identifier: GPL-2.0-or-later
"""What is handed to others: the wheel and the Debian package, see `make wheel` and `make deb`."""
