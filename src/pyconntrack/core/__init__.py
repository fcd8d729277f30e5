# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled core. Python moves batches, this moves flows: bytes, records, tables, filters, text."""
