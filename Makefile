# `make run` and `make test` set up whatever is missing; the other targets are their parts.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# For PyTorch's CPU builds: make run TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP_INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
MEMES ?=
MODEL ?=
PORT ?= 1707
STATE ?= state
PAGE := clipfront2/static/index.html

.PHONY: setup run test check format bench page system-packages clean

setup: $(VENV)/.installed $(PAGE)

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/pip
	@echo "installing Python packages (some minutes the first time)"
	$(BIN)/pip install --quiet $(PIP_INDEX) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/pip install --quiet $(PIP_INDEX) -r requirements-dev.txt
	@touch $@

clipfront2/node_modules/.installed: clipfront2/package.json clipfront2/package-lock.json
	@command -v node >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || \
	  { echo "Node 20 or newer is needed to build the page (Debian: apt install nodejs npm)"; exit 1; }
	cd clipfront2 && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

page: $(PAGE)

$(PAGE): clipfront2/node_modules/.installed frontend_config.json $(shell find clipfront2/src -type f 2>/dev/null)
	cd clipfront2 && node src/build.js

run: setup
	@exec $(BIN)/python -m memesearch.run --memes "$(MEMES)" --model "$(MODEL)" --port $(PORT) --state "$(STATE)"

# $(call system-package,PROGRAM,PACKAGE,WHAT IS SKIPPED WITHOUT IT)
define system-package
	@PATH="$$PATH:/usr/sbin"; command -v $(1) >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian's $(2) for the tests"; \
	  (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(2)) >/dev/null; \
	else \
	  echo "*** $(1) is missing, so THE $(3) ARE SKIPPED: sudo apt install $(2) ***"; \
	fi
endef

system-packages:
	$(call system-package,chromium,chromium,BROWSER TESTS)
	$(call system-package,nginx,nginx-light,TESTS OF SEVERAL SERVICES)

test: setup $(VENV)/.installed-dev system-packages
	cd clipfront2 && npm test --silent
	$(BIN)/python -m pytest -q

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layout.py tests/test_docs.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup $(VENV)/.installed-dev
	for script in indexing search memory; do $(BIN)/python bench/$$script.py || exit 1; done

clean:
	rm -rf $(VENV) clipfront2/node_modules clipfront2/static .mypy_cache .ruff_cache .pytest_cache
