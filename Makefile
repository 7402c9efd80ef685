# Everything runs in .venv, which these targets create. The one thing needed beforehand: Python 3.11 or newer.
# The first Python that really runs and can create environments; `make PYTHON=/path/to/python demo` names another.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& command -v $$python && break; done)
VENV = .venv
RUN = $(VENV)/bin/python
SEEDS ?= 10000
SCALE ?= 1
TIME ?= 3600
FUZZED = member intake frames records values pages
WEB_PORT ?= 8001
NODE_PORT ?= 7001

.DEFAULT_GOAL := help
.PHONY: help demo test coverage traced untraced lint audit wheel format simulate fuzz faults benchmark proto clean

help:
	@echo 'make demo              three nodes and three web processes on this machine, until Ctrl-C'
	@echo 'make test              all tests'
	@echo 'make coverage          all tests, and how much of the package they reach: less than before fails'
	@echo 'make lint              ruff, mypy, import-linter'
	@echo 'make audit             known vulnerabilities in what is installed'
	@echo 'make wheel             the wheel, built, installed elsewhere and used there'
	@echo 'make format            rewrite the code in the house format'
	@echo 'make simulate SEEDS=N  whole clusters in memory, N random lives'
	@echo 'make fuzz TIME=S       look for inputs that break something, S seconds for each harness; ONLY=NAME one of them'
	@echo 'make faults ONLY=NAME  real nodes under real faults, into docs/reliability.md; as root, all in an hour'
	@echo 'make benchmark         measure beside other caches, into docs/performance; QUICK=1 only tries it'
	@echo 'make proto             generate django_hacache/wire from proto/cache.proto'
	@echo 'make clean             remove the environment and everything generated'

demo: $(VENV)/installed
	@$(RUN) -m testproject.demo --web-port $(WEB_PORT) --node-port $(NODE_PORT)

test: $(VENV)/installed-dev
	$(RUN) -m pytest

# All tests, too, each once: those that run what they test in their own process under coverage, the others without.
# With --jobs=2 both at once.
coverage: traced untraced
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

traced: $(VENV)/installed-dev
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest -m 'not untraced'

untraced: $(VENV)/installed-dev
	$(RUN) -m pytest -m untraced

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

audit: $(VENV)/installed-dev
	$(RUN) .ci/audit.py

wheel: $(VENV)/installed-dev
	$(RUN) .ci/wheel.py

format: $(VENV)/installed-dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

simulate: $(VENV)/installed-dev
	$(RUN) -m tests.simulation --seeds $(SEEDS)

fuzz: $(VENV)/installed-dev
	for name in $(or $(ONLY),$(FUZZED)); do $(RUN) -m tests.fuzz $$name --time $(TIME) || exit 1; done

faults: $(VENV)/installed-dev
	$(RUN) -m tests.faults --report docs --scale $(SCALE) $(if $(ONLY),--only $(ONLY))

benchmark: $(VENV)/installed-benchmark
	$(RUN) -m benchmarks $(if $(QUICK),--quick)

proto: $(VENV)/installed-dev
	$(RUN) proto/generate.py

clean:
	rm -rf $(VENV) .demo .fuzz .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/pip:
	@test -n '$(PYTHON)' || { \
		echo 'This needs Python 3.11 or newer with the modules venv and ensurepip, and found none.'; \
		echo 'On Debian and Ubuntu: apt-get install python3-venv. Elsewhere: make PYTHON=/path/to/python ...'; \
		exit 1; } >&2
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

# Installed again only when pyproject.toml has changed.
$(VENV)/installed: pyproject.toml | $(VENV)/bin/pip
	$(RUN) -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/pip
	$(RUN) -m pip install --quiet --editable . --group dev
	@touch $@ $(VENV)/installed

$(VENV)/installed-benchmark: pyproject.toml | $(VENV)/bin/pip
	$(RUN) -m pip install --quiet --editable . --group benchmark
	@touch $@ $(VENV)/installed
