# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled core: bytes, flow records, the flow table, filters and output text. Python moves batches, this moves flows."""
