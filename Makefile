# Everything a contributor runs. `make setup` needs Python 3.11, make and gcc.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test check format bench chaos kube cluster lock clean

setup: .venv/ready

.venv/ready: requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/mllm demo

test: setup
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python -m tests.bench

chaos: setup
	$(BIN)/python -m pytest -m chaos --timeout 3600

# Needs a cluster that one may make a namespace in, with KServe's CRDs and without its controller.
kube: cluster setup
	$(BIN)/python -m pytest -m kube tests/kube

cluster:
	@test -n "$$KUBECONFIG" || { echo "make kube: KUBECONFIG names no cluster" >&2; exit 1; }

# Needs uv; writes hashes and no index address, so any mirror serves. What the image installs is
# held to the versions that the tests run on.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --no-emit-index-url --no-emit-find-links --no-annotate pyproject.toml --extra llama
lock:
	$(COMPILE) --group dev -o requirements-dev.lock
	$(COMPILE) --group build --constraint requirements-dev.lock -o requirements.lock

clean:
	rm -rf .venv build
