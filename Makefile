# A fresh machine needs two commands: `make run` and `make test`. Both begin with `make install`.

PYTHON ?= $(or $(shell python3 scripts/choose_python.py 2>/dev/null),python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
UV     := uv
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet
BENCH  := $(BIN)/python -m scripts.bench
LOCKED := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-header --all-extras pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help install wheel run cluster test test-system test-cluster test-mx
.PHONY: bench bench-scaling bench-sustained bench-growth bench-destinations bench-page
.PHONY: bench-webhooks bench-micro
.PHONY: attack chaos soak chaos-mutants prove-webhooks lint format lock clean

# The stamp may be there though Python was upgraded or the cache was emptied since.
WORKS := $(BIN)/python -c 'import babygun' 2>/dev/null && test -x $(BIN)/etcd && echo works
ifneq ($(shell $(WORKS)),works)
.PHONY: $(STAMP)
endif

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv, install everything into it, prepare etcd (once per machine)

# Made again after a change of the dependencies, the package's metadata or the pinned etcd.
$(STAMP): requirements.lock pyproject.toml babygun/dev/etcd/build.py scripts/install_locked.py \
		etcd/build/go.mod etcd/build/go.sum etcd/build/etcd-fallback.txt
	@$(PYTHON) scripts/check_python.py
	@test -x $(BIN)/python && $(BIN)/python -c 'import pip' 2>/dev/null || \
		$(PYTHON) -m venv --clear $(VENV)
	@echo "installing the locked dependencies into $(VENV), for Python" \
		"$$($(BIN)/python -c 'import sys; print(sys.version.split()[0], "of", sys.base_prefix)')"
	@$(BIN)/python scripts/install_locked.py requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m babygun.dev.etcd.build --link $(BIN)
	@touch $(STAMP)

wheel: install ## build the wheel in dist/, to install Babygun elsewhere
	@$(BIN)/python -m hatchling build -t wheel

run: install ## start etcd, API, a worker and a catch-all mailbox; Ctrl-C stops all of it
	@exec $(BIN)/babygun dev $(ARGS)

cluster: ## start a whole cluster in containers and check it (needs Docker with Compose)
	@docker compose -f deploy/compose.yml up --build --detach --wait
	@docker compose -f deploy/compose.yml run --rm check

# Tests that start whole installations, commands, a browser or a compiler. They take as long as all
# others.
SYSTEM := tests/attack tests/bench tests/browser tests/cli tests/dev tests/e2e tests/faults \
	tests/hosts tests/api/emails/test_examples.py tests/worker/test_faults.py
TEST := $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

test: install ## the tests of each room, on a real etcd (ARGS='-k name' for some; ETCD=/path/to/etcd: on it)
	@$(if $(ETCD),BABYGUN_ETCD_BIN=$(abspath $(ETCD))) \
		$(TEST) $(SYSTEM:%=--ignore %) --ignore tests/cluster --ignore tests/mx $(ARGS)

test-system: install ## test whole installations: babygun dev, all commands, the page in a browser
	@$(TEST) $(SYSTEM) $(ARGS)

test-cluster: install ## test a cluster in containers while its parts fail (needs Docker)
	@BABYGUN_TEST_ETCD=container $(BIN)/python -m pytest \
		--numprocesses 3 --dist loadfile tests/store $(ARGS) || [ $$? -eq 5 ] # none was chosen
	@BABYGUN_TEST_ETCD=container $(BIN)/python -m pytest tests/cluster $(ARGS)

test-mx: install ## deliver to real Postfix, Exim, OpenSMTPD (root; scripts/get-mail-servers first)
	@$(BIN)/python -m pytest tests/mx $(ARGS)

bench: install ## measure Babygun beside the other systems that are installed (ARGS='--rounds 5')
	@exec $(BENCH) compare $(ARGS)

bench-scaling: install ## more processes, a backlog, larger and signed e-mails, batches (ARGS='--only sizes')
	@exec $(BENCH) scaling $(ARGS)

MINUTES := 10
bench-sustained: install ## MINUTES=10 of mail: does everything level off? (ARGS='--quota-mb 256')
	@exec $(BENCH) sustained --minutes $(MINUTES) $(ARGS)

bench-growth: install ## latency of claims and lists with 1,000 to 100,000 finished e-mails
	@exec $(BENCH) growth $(ARGS)

bench-destinations: install ## mail to MX hosts: rates, black holes, limits (ARGS='--only ten')
	@exec $(BENCH) destinations $(ARGS)

bench-page: install ## the page in a browser: its first paint, its frames under a flood of changes
	@exec $(BENCH) page $(ARGS)

bench-webhooks: install ## events to webhooks: rates, endpoints that hang, mail (ARGS='--only one')
	@exec $(BENCH) webhooks $(ARGS)

bench-micro: install ## the work per e-mail without I/O: render, classify, encode, group, keys
	@$(BIN)/python -m pytest -o addopts=--strict-markers -o python_files='micro_*.py' tests/micro \
		--benchmark-columns=median,iqr,rounds --benchmark-time-unit=us --benchmark-sort=name $(ARGS)

attack: install ## bombs and floods against a stack of its own: what gives way? (ARGS='--quick')
	@exec $(BIN)/python -m scripts.attack $(ARGS)

SEED := 7
chaos: install ## MINUTES=10 of mail while parts fail: is anything lost? SEED=7 (ARGS='--list')
	@exec $(BIN)/python -m scripts.chaos --minutes $(MINUTES) --seed $(SEED) $(ARGS)

soak: MINUTES := 30
soak: install ## MINUTES=30 of mail at half of the highest rate, with some faults: is all flat?
	@exec $(BIN)/python -m scripts.chaos --soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

chaos-mutants: install ## put mistakes into the product, one a run: which rule of chaos finds each?
	@exec $(BIN)/python -m scripts.chaos.mutants $(ARGS)

EMAILS := 10000
prove-webhooks: install ## EMAILS=10000 with a webhook, processes killed at random: all events arrive?
	@PROOF_EMAILS=$(EMAILS) $(BIN)/python -m pytest -s tests/e2e/test_webhooks_killed.py $(ARGS)

lint: install ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: install ## format the code, fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## resolve the dependencies again into requirements.lock (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	$(LOCKED) --upgrade --group dev -o requirements.lock
	$(LOCKED) --constraint requirements.lock -o deploy/requirements.lock

clean: ## delete .venv and what tools leave behind (not .babygun, which has the data)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
