# SPDX-License-Identifier: GPL-2.0-or-later
"""For pytest: the fixture ``bed``, and the move of a session without root into a user namespace.

A ``tests/conftest.py`` takes both with ``pytest_plugins = ["testbed.pytest_plugin"]``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.bed import Testbed
from testbed.privilege import PrivilegeError, require_root

_refusal = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Run the session again in a user namespace if it cannot make network namespaces here."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        # Output is not captured yet, but input is, and the next process is to have the real one.
        capture.suspend_global_capture(in_=True)
    try:
        require_root()
    except PrivilegeError as error:
        config.stash[_refusal] = str(error)


@pytest.fixture
def bed(pytestconfig: pytest.Config) -> Iterator[Testbed]:
    """A test bed for one test; skips, with the reason, where network namespaces cannot be made."""
    refusal = pytestconfig.stash.get(_refusal, "")
    if refusal:
        pytest.skip(refusal)
    with Testbed() as made:
        yield made
