# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual's quick start, line by line, on a Debian that has the package and what the page names."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import Testbed
from tests.docs.manual import read_page
from tests.docs.manual_host import Host
from tests.docs.test_manual_commands import carry_out_all
from tests.packaging.chroot import Chroot

pytestmark = pytest.mark.packages

SET_UP = """
mount -t tmpfs tmpfs /run && mkdir -p /run/lock /run/netns || exit
unset PYTHONPATH
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME={home}
"""


def test_the_quick_start_on_a_clean_debian(bed: Testbed, debian: Chroot, package: Path) -> None:
    debian.apt("install", "iproute2", "nftables", str(package))
    try:
        isolation = ["unshare", "--pid", "--uts", "--fork", "--kill-child"]
        host = Host(bed.namespace("clean"), [*isolation, *debian.command("bash")], SET_UP)
        assert host.run("command -v conntrackd") == (0, "/usr/sbin/conntrackd\n")
        page = read_page("quick-start")
        for step in page.steps:
            if step.kind == "console" and step.remark != "not run":
                carry_out_all(page, step, {"host": host})
    finally:
        debian.apt("purge", "pyconntrack")
