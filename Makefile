# SPDX-License-Identifier: GPL-2.0-or-later

PYTHON ?= python3
SEEDS ?= 1000
COUNT ?= 1000000
# Much of the tests' time is waiting.
WORKERS ?= $(shell expr $$(nproc) + 1)

# As installed: without bytecode beside them, every command compiles its sources when it starts.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
SOURCES := $(wildcard src/pyconntrack/core/*.pyx src/pyconntrack/core/*.pxd)
INSTALLED := $(VENV)/installed
FOR_TESTS := $(VENV)/test-packages
FOR_LINT := $(VENV)/lint-packages
FOR_DOCS := $(VENV)/docs-packages

BUILD_TOOLS := gcc:gcc "$(PYTHON) -c 'import ensurepip, venv':python3-venv" \
	"$(PYTHON) -c 'import os, sysconfig; os.stat(sysconfig.get_path(\"include\") + \"/Python.h\")':python3-dev"
NETWORK_TOOLS := ip:iproute2 nft:nftables unshare:util-linux
TEST_TOOLS := $(NETWORK_TOOLS) conntrack:conntrack conntrackd:conntrackd iptables:iptables nfct:nfct \
	keepalived:keepalived vsftpd:vsftpd ping:iputils-ping groff:groff-base zsh:zsh shellcheck:shellcheck \
	logrotate:logrotate strace:strace systemd-analyze:systemd
PACKAGE_TOOLS := strip:binutils chrpath:chrpath

.PHONY: install demo test test-packages test-systemd lint bench docs simulate fuzz asan guard guard-limits wheel deb clean

install: $(INSTALLED)

$(VENV)/bin/python:
	@scripts/prepare $(BUILD_TOOLS)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --upgrade pip "setuptools>=77" "Cython>=3.0"

$(INSTALLED): $(VENV)/bin/python pyproject.toml $(SOURCES)
	$(VENV)/bin/python -m pip install -q --no-build-isolation --editable .
	@touch $@

$(FOR_TESTS): $(INSTALLED)
	$(VENV)/bin/python scripts/requirements test bench docs | $(VENV)/bin/python -m pip install -q -r /dev/stdin
	@touch $@

$(FOR_DOCS): $(INSTALLED)
	$(VENV)/bin/python scripts/requirements docs | $(VENV)/bin/python -m pip install -q -r /dev/stdin
	@touch $@

$(FOR_LINT): $(INSTALLED)
	$(VENV)/bin/python scripts/requirements test bench lint | $(VENV)/bin/python -m pip install -q -r /dev/stdin
	@touch $@

demo: $(INSTALLED)
	@scripts/prepare $(NETWORK_TOOLS)
	$(VENV)/bin/python -m demo

test: $(FOR_TESTS)
	@scripts/prepare $(TEST_TOOLS)
	$(VENV)/bin/python -m pytest -m "not alone and not packages and not systemd" -n $(WORKERS) --dist worksteal
	$(VENV)/bin/python -m pytest -m alone

# On a Debian made for them, which takes a network.
test-packages: $(FOR_TESTS)
	@scripts/prepare $(NETWORK_TOOLS) $(PACKAGE_TOOLS) mmdebstrap:mmdebstrap
	$(VENV)/bin/python -m pytest -m packages tests/packaging

# A systemd of its own, in namespaces: not where control groups are out of reach.
test-systemd: $(FOR_TESTS)
	@scripts/prepare $(NETWORK_TOOLS) $(PACKAGE_TOOLS) mmdebstrap:mmdebstrap
	$(VENV)/bin/python -m pytest -m systemd tests/packaging

simulate: $(FOR_TESTS)
	$(VENV)/bin/python -m tests.replication.simulate --seeds $(SEEDS)

fuzz: $(FOR_TESTS)
	$(VENV)/bin/python -m fuzz --count $(COUNT)

# The core with sanitizers, compiled in build/asan; some minutes.
asan: $(FOR_TESTS)
	@scripts/prepare $(TEST_TOOLS)
	scripts/sanitized $(VENV)/bin/python

guard: $(FOR_TESTS)
	@scripts/prepare $(NETWORK_TOOLS) valgrind:valgrind
	$(VENV)/bin/python -m guard

guard-limits: $(FOR_TESTS)
	@scripts/prepare $(NETWORK_TOOLS) valgrind:valgrind
	$(VENV)/bin/python -m guard --write

# Strict: a link that leads nowhere fails.
docs: $(FOR_DOCS)
	$(VENV)/bin/python -m sphinx -q -E -W --keep-going docs build/site
	@echo "build/site/index.html"

lint: $(FOR_LINT)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Parts of it: make bench ONLY=commands,events BENCH="--rounds 1 --sizes 10k,1M"; only a whole run writes to docs.
bench: $(FOR_TESTS)
	@scripts/prepare $(TEST_TOOLS)
	$(VENV)/bin/python -m bench $(if $(ONLY),--only $(ONLY)) $(BENCH)

wheel: $(INSTALLED)
	@scripts/prepare $(PACKAGE_TOOLS)
	@$(VENV)/bin/python -m distribution.wheel dist

deb: $(INSTALLED)
	@scripts/prepare $(PACKAGE_TOOLS)
	@$(VENV)/bin/python -m distribution.deb dist

clean:
	rm -rf $(VENV) build dist src/*.egg-info
	find src \( -name '*.so' -o -name '*.c' \) -delete
