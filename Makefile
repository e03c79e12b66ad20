# Two commands are all that a fresh machine needs: `make run` and `make test`. Both begin with `make install`.

PYTHON ?= $(or $(shell python3 scripts/choose_python.py 2>/dev/null),python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
UV     := uv

.DEFAULT_GOAL := help
.PHONY: help install run cluster test test-cluster bench bench-scaling bench-sustained bench-growth bench-page bench-micro lint format lock clean

# A stamp is no proof that what it stands for still works: Python may have been upgraded, the cache emptied.
ifneq ($(shell $(BIN)/python -c 'import babygun' 2>/dev/null && test -x $(BIN)/etcd && echo works),works)
.PHONY: $(STAMP)
endif

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv, install everything into it, prepare etcd (once per machine)

# Made again when a dependency, the package's own metadata or the pinned etcd changed; quick otherwise.
$(STAMP): requirements.lock pyproject.toml etcd/build/go.mod etcd/build/go.sum etcd/build/etcd-fallback.txt babygun/dev/etcd/build.py
	@$(PYTHON) scripts/check_python.py
	@test -x $(BIN)/python && $(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing the locked dependencies into $(VENV), for $$($(BIN)/python -c 'import sys; print(sys.version.split()[0], "of", sys.base_prefix)')"
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m babygun.dev.etcd.build --link $(BIN)
	@touch $(STAMP)

run: install ## start etcd, API, a worker and a catch-all mailbox; Ctrl-C stops all of it
	@exec $(BIN)/babygun dev $(ARGS)

cluster: ## start a whole cluster in containers and prove that it works (needs Docker with Compose)
	@docker compose -f deploy/compose.yml up --build --detach --wait
	@docker compose -f deploy/compose.yml run --rm check

test: install ## run all tests but those of the cluster (ARGS='-k name' for some)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --ignore tests/cluster $(ARGS)

test-cluster: install ## start the cluster, break its parts, see it heal; skips where there is no Docker
	@BABYGUN_TEST_ETCD=container $(BIN)/python -m pytest tests/store tests/cluster $(ARGS)

bench: install ## measure Babygun beside the peers that are installed (ARGS='--rounds 5'); docs/performance.md tells more
	@exec $(BIN)/python -m scripts.bench compare $(ARGS)

bench-scaling: install ## measure Babygun with more processes, a backlog of 100,000, larger e-mails, batches (ARGS='--only sizes')
	@exec $(BIN)/python -m scripts.bench scaling $(ARGS)

MINUTES := 10
bench-sustained: install ## mail at two thirds of the highest rate for MINUTES=10: does everything level off? (ARGS='--quota-mb 256')
	@exec $(BIN)/python -m scripts.bench sustained --minutes $(MINUTES) $(ARGS)

bench-growth: install ## claim and list latency with 1,000, 10,000 and 100,000 finished e-mails in the store
	@exec $(BIN)/python -m scripts.bench growth $(ARGS)

bench-page: install ## the page in a browser: its first paint, and its frames under a flood of changes
	@exec $(BIN)/python -m scripts.bench page $(ARGS)

bench-micro: install ## what is done for each e-mail, without I/O: render, classify, encode, group, keys
	@$(BIN)/python -m pytest -o addopts=--strict-markers -o python_files='micro_*.py' tests/micro --benchmark-columns=median,iqr,rounds --benchmark-time-unit=us --benchmark-sort=name $(ARGS)

lint: install ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: install ## format the code, mend what ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## resolve the dependencies anew into requirements.lock (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header --upgrade --group dev --all-extras pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header --all-extras --constraint requirements.lock pyproject.toml -o deploy/requirements.lock

clean: ## remove .venv and what tools leave behind (not .babygun, where the data are)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
