# One command per purpose; `make` alone lists them. Everything runs in .venv, made when needed.

PYTHON ?= python3
VENV := .venv
# What Python compiled is kept: where a machine's setting forbids it, each command compiles anew.
export PYTHONDONTWRITEBYTECODE :=
BIN := $(VENV)/bin
DATA ?= ../shared/data
OUT ?= runs/study
EXTRAS := dev,train,int8,export,parquet,cluster,s3,serve,pacs,tensorboard,monai,hf,keras,http,report
# What `cxr study` needs beyond the core of the package.
DEMO_EXTRAS := train

.DEFAULT_GOAL := help
.PHONY: help install browser validators pacs-programs proxy demo test test-fast test-long types check check-versions study bench epochs docs clean audit-deps

help: ## List these commands.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(VENV)/.installed ## Make .venv with the tested versions.

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	@$(PYTHON) tools/install.py $(VENV) --extras $(EXTRAS)
	@touch $@ $(VENV)/.demo

# The same environment with less in it: `make install` adds the rest, and covers this.
$(VENV)/.demo: pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	@$(PYTHON) tools/install.py $(VENV) --extras "$(DEMO_EXTRAS)"
	@touch $@

define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Expected Python 3.11 or newer, but got $$($(PYTHON) --version); set PYTHON=..."; exit 2; }
endef

# PyTorch's threads spin while they wait for each other: beside other work on the same cores a step
# then takes six times as long as with threads that sleep. The results are the same, bit for bit.
demo: $(VENV)/.demo ## Install what it needs, then run the study on generated images (about a minute and a half).
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/cxr study --data phantom --out runs/demo --max-epochs 15 --skip-unavailable

# Two workers with one thread each: PyTorch's threads wait for each other more than they compute here.
test: install browser validators pacs-programs proxy ## Install, then run the tests, two files at a time (about 35 minutes).
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not long"

test-long: install browser validators pacs-programs proxy ## Install, then run the tests that `make test` leaves out for their time.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m long

browser: ## Debian's chromium for the page's tests (installed for root alone; skipped without).
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo "installing chromium for the page's tests" && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; } || \
		echo "no chromium: the page's tests are skipped"

pacs-programs: ## Debian's Orthanc for the node's tests (installed for root alone; skipped without).
	@command -v Orthanc >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo "installing Orthanc for the node's tests" && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		orthanc orthanc-dicomweb >/dev/null 2>&1; } || \
		echo "no Orthanc: the node's tests with an archive are skipped"

proxy: ## Debian's nginx for the tests of several servers (installed for root alone; skipped without).
	@test -x /usr/sbin/nginx || command -v nginx >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo "installing nginx for the tests of several servers" && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		nginx-light >/dev/null 2>&1; } || \
		echo "no nginx: the tests of several servers behind a proxy are skipped"

validators: ## Debian's dcmtk, dicom3tools and poppler, which judge DICOM objects and PDFs in tests (installed for root alone).
	@command -v dciodvfy >/dev/null && command -v dsrdump >/dev/null && command -v pdfinfo >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo "installing dcmtk, dicom3tools and poppler for tests" && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends dcmtk dicom3tools poppler-utils >/dev/null 2>&1; } || \
		echo "no dcmtk, dicom3tools or poppler: DICOM objects and PDFs are judged without them"

# Left out, by the markers in pyproject.toml: the real collections, the browser, whole journeys through
# the commands, and what is slow: the laws, the server's life cycle, and single tests of more than a few
# seconds. Two tests run at a time, each with one thread.
test-fast: install ## Install, then run the quick tests of every module (under two minutes).
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not (real or browser or journey or slow or long)" $(TESTS)

types: install ## Check the types.
	$(BIN)/mypy $(MYPY_FLAGS)

check-versions: ## What CI also runs: install, types and fast tests on other versions of Python.
	.ci/versions

check: install ## What CI runs first: format, lint, types, tests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory types
	$(MAKE) --no-print-directory test

epochs: install $(VENV)-keras/.installed $(VENV)-fastai/.installed ## Time an epoch beside Keras, fastai, MONAI, PyTorch: make epochs DATA=DIR.
	$(BIN)/python benchmarks/epochs.py --out docs/results/epochs.json $(if $(filter command line,$(origin DATA)),--data $(DATA))

$(VENV)-fastai/.installed: benchmarks/peers/fastai/requirements.txt
	-$(PYTHON) -m venv $(VENV)-fastai && \
		$(VENV)-fastai/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@

docs: $(VENV)/.docs ## Build the documentation into site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

# In .venv, since the reference is written from the package; only when it is asked for.
$(VENV)/.docs: $(VENV)/.installed
	@$(PYTHON) tools/install.py $(VENV) --extras docs
	@touch $@

study: install ## Run the paper's study on real images: make study DATA=DIR OUT=DIR.
	$(BIN)/cxr study --data $(DATA) --out $(OUT)

bench: install $(VENV)-keras/.installed $(VENV)-fastai/.installed ## Time ours beside what one would use instead (about 25 minutes): make bench DATA=DIR.
	$(BIN)/python benchmarks/speed.py $(if $(filter command line,$(origin DATA)),--data $(DATA))

# The peer's own environment; where it cannot be had, the peer is left out, and that is said.
$(VENV)-keras/.installed: benchmarks/peers/keras/requirements.txt
	-$(PYTHON) -m venv $(VENV)-keras && \
		$(VENV)-keras/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@

audit-deps: $(VENV)-audit/.installed ## Look for advisories on the tested versions; says so where none can be asked.
	$(VENV)-audit/bin/python .ci/audit_dependencies.py

$(VENV)-audit/.installed: Makefile
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet --disable-pip-version-check 'pip-audit==2.10.1'
	@touch $@

clean: ## Remove .venv and caches; runs/ stays.
	rm -rf $(VENV) $(VENV)-keras $(VENV)-fastai $(VENV)-audit .mypy_cache .ruff_cache .pytest_cache .hypothesis site
