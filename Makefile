# Every command of the project. Needs Python 3.11 or later, and nothing else that it does not fetch by itself:
# the virtual environment is made and kept up to date here, the programs that the tests talk to are installed
# by `make peers` where the machine allows it.

SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := test,postgresql,redis,kazoo
CONFIG ?= etc/sbc.toml
STAMPS := .stamps
# Where `make compiled` builds: never beside the sources, which stay what runs by default.
COMPILED := build/compiled
LOCK := flock $(STAMPS)/lock

# Programs not ours that tests/peers and bench/ run against. A missing one is skipped by its name, except with CI=true.
PEERS := kamailio kamailio-extra-modules kamailio-tls-modules kamailio-websocket-modules kamailio-outbound-modules \
         kamailio-presence-modules sip-tester baresip-core nghttp2-server tshark iproute2 iptables curl openssl sqlite3 postgresql redis-server \
         linphone-cli chromium rtpengine-daemon $(if $(shell command -v npm),,nodejs npm)
# The browser's side of the tests: its packages go where git does not look.
BROWSER := tests/peers/browser

# What to run when not everything: make test T="tests/unit/sip -k uri"
T ?= tests
# Test files run side by side; many of them mostly wait. JOBS=0: one after the other, as a debugger wants it.
JOBS ?= 2

.PHONY: help venv test lint format demo run bench compiled docs reference peers bpf clean

# The program that forwards in the kernel. Its object is part of the package: nobody needs a compiler to use it.
bpf: sbc/media/kernel/relay.bpf.o

%.bpf.o: %.bpf.c
	clang -O2 -target bpf -mcpu=v3 -Wall -Wextra -Werror -I/usr/include/$$(uname -m)-linux-gnu \
	  -DSOURCE="\"$$(sha256sum $< | cut -d' ' -f1)\"" -c $< -o $@

help:
	@echo "make demo    a phone sleeps, a call wakes it: everything on this machine, nothing to configure"
	@echo "make run     start the SBC in the foreground (CONFIG=$(CONFIG) when that file exists)"
	@echo "make test    every test; T=\"tests/unit -k uri\" for a part"
	@echo "make lint    ruff, mypy --strict, import rules"
	@echo "make bench   CPU, memory and latency, against Kamailio in the same run"
	@echo "make compiled  the SBC with its hot modules as machine code, in $(COMPILED)"
	@echo "make bpf     compile the program that forwards media in the kernel (clang), after a change of its source"
	@echo "make docs    the documentation as HTML in docs/_build"
	@echo "make peers   install the programs that the tests talk to (Debian, as root)"

$(STAMPS):
	@mkdir -p $(STAMPS)

venv: $(VENV)/.installed

# Two makes at once wait for each other here; the second finds the stamp and does nothing.
$(VENV)/.installed: setup.cfg | $(STAMPS)
	@$(LOCK) $(MAKE) --no-print-directory PYTHON="$(PYTHON)" .venv-locked

.PHONY: .venv-locked
.venv-locked:
	@if [ ! $(VENV)/.installed -nt setup.cfg ]; then \
	  set -e; \
	  if [ ! -x $(BIN)/python ]; then \
	    $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); apt-get install -y python3-venv && $(PYTHON) -m venv $(VENV); }; \
	  fi; \
	  echo "installing the dependencies into $(VENV)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat -e '.[$(EXTRAS)]'; \
	  touch $(VENV)/.installed; \
	fi

test: venv peers lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(T)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

demo: venv
	$(BIN)/python -m sbc.lab.demo

run: venv
	$(BIN)/twistd -n --pidfile= sbc $(if $(wildcard $(CONFIG)),--config $(CONFIG))

bench: venv peers
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat -e '.[bench]'
	$(BIN)/python -m bench

compiled: venv
	SBC_COMPILED=1 $(BIN)/python setup.py --quiet build --build-lib $(COMPILED)

reference: venv
	$(BIN)/python docs/generate.py

docs: venv reference
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/sphinx-build -q -b html docs docs/_build

# Never fails: what cannot be installed is reported here and skipped by name in the tests.
peers: | $(STAMPS)
	@if [ ! $(STAMPS)/peers -nt Makefile ]; then $(LOCK) $(MAKE) --no-print-directory .peers-locked; fi
	@if [ ! $(STAMPS)/browser -nt $(BROWSER)/package.json ]; then $(LOCK) $(MAKE) --no-print-directory .browser-locked; fi

.PHONY: .peers-locked
.peers-locked:
	@missing=; for p in $(PEERS); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then touch $(STAMPS)/peers; \
	elif [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then echo "peers not installed (needs root and apt):$$missing"; \
	else \
	  export DEBIAN_FRONTEND=noninteractive; echo "installing:$$missing"; \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; } >$(STAMPS)/peers.log 2>&1 || \
	  for p in $$missing; do apt-get install -y -qq --no-install-recommends $$p >>$(STAMPS)/peers.log 2>&1 || echo "could not install $$p (see $(STAMPS)/peers.log)"; done; \
	  touch $(STAMPS)/peers; \
	fi; true

.PHONY: .browser-locked
.browser-locked:
	@if [ ! $(STAMPS)/browser -nt $(BROWSER)/package.json ]; then \
	  if command -v npm >/dev/null && cd $(BROWSER) && \
	    npm install --no-package-lock --no-audit --no-fund --ignore-scripts >$(CURDIR)/$(STAMPS)/npm.log 2>&1; \
	  then touch $(CURDIR)/$(STAMPS)/browser; else echo "npm packages of $(BROWSER) not installed (see $(STAMPS)/npm.log)"; fi; \
	fi; true

clean:
	rm -rf $(STAMPS) build docs/_build .mypy_cache .ruff_cache .import_linter_cache .hypothesis
