# SPDX-License-Identifier: GPL-2.0-or-later
"""For each clause of the configuration the test that sees what it does, and not only that it is read.

A clause that is added without one fails here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

import pytest

from pyconntrack.config.schema import FILE, MODES, Clause, Section
from tests.docs.blocks import ROOT

_ONE = "daemon/test_clauses.py"
_TWO = "peer/test_peer_clauses.py"
_OLD = "config/test_config_clauses.py"
_MATRIX = "peer/test_peer_matrix.py::test_peers_are_equal_through_a_whole_life"
_STATISTICS = "daemon/test_statistics_mode.py"
_FILTERS = "cli/test_filter_beside.py::test_both_daemons_hold_the_same_flows"
_HELPERS = "daemon/test_helper_section.py::test_check_tells_it_for_either_kernel"
_SCHEDULED = "daemon/test_privileges.py::test_every_thread_is_scheduled_as_configured"
_ALARM = "peer/test_peer_alarm.py"
_TIE = "channel/test_tie.py::test_the_peers_address_by_another_interface"
_BUFFERS = f"{_TWO}::test_socket_buffers"
_INJECTED = "peer/test_peer_caches.py::test_the_peers_flows_are_in_the_kernel_and_nowhere_else"
_FORMER = f"{_OLD}::test_old_clauses_of_sync"
_PURGE = "daemon/test_daemon_commands.py::test_kernel_table_is_flushed_after_purge_timeout"
_COMMIT_TIMEOUT = f"{_ALARM}::test_commit_timeout_and_purge_timeout_are_obeyed"

GENERAL = {
    "Systemd": "daemon/test_notify.py::test_a_daemon_that_shall_not_tell_tells_nothing",
    "Nice": _SCHEDULED,
    "HashSize": f"{_ONE}::test_hash_size",
    "HashLimit": "faults/test_hash_limit.py::test_full_cache_is_told_once_and_recovers",
    "LogFile": "daemon/test_daemon_life.py::test_files_are_roots_alone_and_the_log_is_in_the_known_form",
    "Syslog": f"{_STATISTICS}::test_syslog_hears_of_each_flow",
    "LockFile": "daemon/test_daemon_life.py::test_second_daemon_with_the_lock_or_the_socket_is_refused",
    "NetlinkBufferSize": "daemon/test_privileges.py::test_socket_buffers_go_beyond_the_limits_of_the_system",
    "SocketBufferSize": f"{_OLD}::test_old_clauses_of_general",
    "NetlinkBufferSizeMaxGrowth": f"{_ONE}::test_netlink_buffer_grows_up_to_its_limit",
    "SocketBufferSizeMaxGrowth": f"{_OLD}::test_old_clauses_of_general",
    "SocketBufferSizeMaxGrown": f"{_OLD}::test_old_clauses_of_general",
    "NetlinkOverrunResync": f"{_ONE}::test_netlink_overrun_resync",
    "NetlinkEventsReliable": f"{_STATISTICS}::test_reliable_events_lose_no_counter",
    "PollSecs": "daemon/test_polling.py::test_what_begins_changes_and_ends_between_two_polls_is_replicated",
    "EventIterationLimit": f"{_ONE}::test_event_iteration_limit",
    "Family": f"{_ONE}::test_filters_of_old",
    "UNIX": "daemon/test_daemon_life.py::test_signal_ends_it_and_nothing_is_left",
    "UNIX/Path": "daemon/test_daemon_life.py::test_signal_ends_it_and_nothing_is_left",
    "UNIX/Backlog": f"{_ONE}::test_backlog",
    "Scheduler": _SCHEDULED,
    "Scheduler/Type": _SCHEDULED,
    "Scheduler/Priority": _SCHEDULED,
    "Filter": "daemon/test_filter_kernelspace.py::test_the_daemon_obeys_it",
    "Filter/Protocol": _FILTERS,
    "Filter/Address": _FILTERS,
    "Filter/Address/IPv4_address": _FILTERS,
    "Filter/Address/IPv6_address": _FILTERS,
    "Filter/State": _FILTERS,
}

MULTICAST = {
    "IPv4_address": _MATRIX,
    "IPv6_address": _MATRIX,
    "IPv4_interface": f"{_TWO}::test_own_address_is_the_one_that_is_sent_from",
    "IPv6_interface": f"{_OLD}::test_old_clauses_of_links",
    "Group": f"{_TWO}::test_port_or_group",
    "Interface": "channel/test_tie.py::test_a_group_that_others_have_joined_elsewhere",
    "SndSocketBuffer": _BUFFERS,
    "RcvSocketBuffer": _BUFFERS,
    "McastSndSocketBuffer": f"{_TWO}::test_buffers_of_multicast_by_their_old_names",
    "McastRcvSocketBuffer": f"{_TWO}::test_buffers_of_multicast_by_their_old_names",
    "Backlog": f"{_OLD}::test_old_clauses_of_links",
    "Checksum": f"{_TWO}::test_checksum",
}

UDP = {
    "IPv4_address": f"{_TWO}::test_own_address_is_the_one_that_is_sent_from",
    "IPv6_address": _MATRIX,
    "IPv4_Destination_Address": "faults/test_faults.py::test_after_the_fault_all_is_well_and_told",
    "IPv6_Destination_Address": _MATRIX,
    "Port": f"{_TWO}::test_port_or_group",
    "Interface": _TIE,
    "SndSocketBuffer": _BUFFERS,
    "RcvSocketBuffer": _BUFFERS,
    "Checksum": f"{_TWO}::test_checksum",
}

_LINK_LOCAL = "channel/test_stream_channel.py::test_link_local_addresses_take_the_interface"

TCP = {
    "IPv4_address": f"{_TWO}::test_addresses_and_port_of_tcp",
    "IPv6_address": _LINK_LOCAL,
    "IPv4_Destination_Address": "channel/test_stream_channel.py::test_strangers_are_refused_and_told_once",
    "IPv6_Destination_Address": _LINK_LOCAL,
    "Port": f"{_TWO}::test_addresses_and_port_of_tcp",
    "Interface": (
        "channel/test_stream_channel.py::test_who_has_the_peers_address_behind_another_interface_is_not_heard"
    ),
    "SndSocketBuffer": _BUFFERS,
    "RcvSocketBuffer": _BUFFERS,
    # None that it could have, which is told.
    "Checksum": f"{_OLD}::test_remarks_on_what_works_but_is_odd",
    "ErrorQueueLength": f"{_TWO}::test_error_queue_length_is_shown_and_needless",
}

_LINKS = "peer/test_peer_links.py::test_both_daemons_stay_in_step_from_link_to_link"
_OLD_FILTERS = f"{_ONE}::test_filters_of_old"

SYNC = {
    "Mode": _MATRIX,
    "Multicast": _LINKS,
    **{f"Multicast/{name}": test for name, test in MULTICAST.items()},
    "UDP": _LINKS,
    **{f"UDP/{name}": test for name, test in UDP.items()},
    "TCP": "peer/test_peer_links.py::test_ftfw_loses_nothing_when_the_link_in_use_fails_under_load",
    **{f"TCP/{name}": test for name, test in TCP.items()},
    "Options": f"{_TWO}::test_tcp_window_tracking",
    "Options/TCPWindowTracking": f"{_TWO}::test_tcp_window_tracking",
    "Options/ExpectationSync": "peer/test_peer_ftp.py::test_transfers_go_on_after_the_fail_over",
    "Checksum": f"{_TWO}::test_checksum",
    "Replicate": _OLD_FILTERS,
    "CacheWriteThrough": _FORMER,
    "RefreshTime": _FORMER,
    "CacheTimeout": _FORMER,
    "CommitTimeout": _FORMER,
    "PurgeTimeout": _FORMER,
    "McastSndSocketBuffer": _BUFFERS,
    "McastRcvSocketBuffer": _BUFFERS,
}

# What an old clause means by a setting of today is seen where today's is: it fills the same one.
STATS = {
    "LogFile": f"{_STATISTICS}::test_lines_are_the_c_daemon_s",
    "Syslog": f"{_STATISTICS}::test_syslog_hears_of_each_flow",
    "NetlinkEventsReliable": f"{_STATISTICS}::test_reliable_events_lose_no_counter",
    "PollSecs": f"{_ONE}::test_poll_seconds_in_stats",
}

# No helper runs in user space; that the section asks for some is told.
HELPER = dict.fromkeys(
    (
        *("Type", "Type/QueueNum", "Type/QueueLen", "Type/Policy", "Type/Policy/ExpectMax"),
        *("Type/Policy/ExpectTimeout", "Setup"),
    ),
    _HELPERS,
)

EFFECTS = {
    **{f"General/{name}": test for name, test in GENERAL.items()},
    **{f"Sync/{name}": test for name, test in SYNC.items()},
    **{f"Stats/{name}": test for name, test in STATS.items()},
    **{f"Helper/{name}": test for name, test in HELPER.items()},
    "General": f"{_ONE}::test_filters_of_old",
    "Sync": _MATRIX,
    "Stats": f"{_STATISTICS}::test_lines_are_the_c_daemon_s",
    "Helper": _HELPERS,
    "IgnoreTrafficFor": _OLD_FILTERS,
    "IgnoreTrafficFor/IPv4_address": _OLD_FILTERS,
    "IgnoreTrafficFor/IPv6_address": _OLD_FILTERS,
    "IgnoreProtocol": _OLD_FILTERS,
    "Mode FTFW/ResendQueueSize": f"{_TWO}::test_resend_queue",
    "Mode FTFW/ResendBufferSize": f"{_TWO}::test_resend_buffer_of_old",
    "Mode FTFW/ACKWindowSize": f"{_TWO}::test_ack_window",
    "Mode FTFW/CommitTimeout": f"{_TWO}::test_commit_timeout",
    "Mode FTFW/PurgeTimeout": _PURGE,
    "Mode FTFW/DisableExternalCache": _INJECTED,
    "Mode FTFW/StartupResync": f"{_TWO}::test_startup_resync",
    "Mode NOTRACK/DisableInternalCache": (
        "peer/test_peer_caches.py::test_events_reach_the_peer_without_a_cache_in_between"
    ),
    "Mode NOTRACK/DisableExternalCache": _INJECTED,
    "Mode NOTRACK/CommitTimeout": f"{_TWO}::test_commit_timeout",
    "Mode NOTRACK/PurgeTimeout": _PURGE,
    "Mode NOTRACK/StartupResync": f"{_TWO}::test_startup_resync",
    "Mode ALARM/RefreshTime": f"{_ALARM}::test_what_is_told_again_stays_and_what_is_not_goes",
    "Mode ALARM/CacheTimeout": f"{_ALARM}::test_what_is_told_again_stays_and_what_is_not_goes",
    "Mode ALARM/CommitTimeout": _COMMIT_TIMEOUT,
    "Mode ALARM/PurgeTimeout": _COMMIT_TIMEOUT,
    "Mode ALARM/DisableExternalCache": _INJECTED,
}
"""The path of a clause, and the test."""


def paths(section: Section, above: str = "") -> Iterator[tuple[str, Clause]]:
    for clause in section.clauses:
        yield f"{above}{clause.name}", clause
        if clause.section is not None:
            yield from paths(clause.section, f"{above}{clause.name}/")


CLAUSES = {
    **dict(paths(FILE)),
    **{path: clause for section in MODES.values() for path, clause in paths(section, f"{section.name}/")},
}


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_clause_has_a_test_of_its_effect() -> None:
    assert sorted(CLAUSES.keys() - EFFECTS.keys()) == []
    assert sorted(EFFECTS.keys() - CLAUSES.keys()) == []


@pytest.mark.parametrize("test", sorted(set(EFFECTS.values())))
def test_the_test_is_there(test: str) -> None:
    file, name = test.split("::")
    assert name in names_in(file)


def test_only_old_clauses_are_seen_by_how_they_are_read() -> None:
    reading = {path for path, test in EFFECTS.items() if test.startswith("config/")}
    assert {path for path in reading if not CLAUSES[path].old} == {"Sync/TCP/Checksum"}
