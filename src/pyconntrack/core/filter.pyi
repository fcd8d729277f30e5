# SPDX-License-Identifier: GPL-2.0-or-later
from collections.abc import Collection, Iterable, Mapping
from typing import Any

def merge_networks(networks: Iterable[tuple[bytes, int]]) -> list[tuple[int, int]]: ...

class EventFilter:
    def __init__(
        self,
        *,
        protocols: Collection[int] | None = None,
        accept_protocols: bool = True,
        networks: Iterable[tuple[bytes, int]] | None = None,
        accept_networks: bool = True,
        states: Mapping[int, Collection[int]] | None = None,
        accept_states: bool = True,
    ) -> None: ...
    def decide(self, records: Any) -> list[bool]: ...
