# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.standby_cache import StandbyCache

class Bypass(StandbyCache):
    begun: int
    changed: int
    ended_flows: int
