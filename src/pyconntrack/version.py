# SPDX-License-Identifier: GPL-2.0-or-later
"""Which release this is, for the commands and for the package's metadata."""

VERSION = "0.1.0"
__version__ = VERSION
