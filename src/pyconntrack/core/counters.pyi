# SPDX-License-Identifier: GPL-2.0-or-later
class Counters:
    created: int
    updated: int
    destroyed: int
    create_failed: int
    update_failed: int
    destroy_failed: int
