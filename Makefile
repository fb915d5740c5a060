# `make demo` runs the main job and `make test` runs every test, both from a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test quick lint versions system bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[dev,fast]"
	$(BIN)/python -m compileall -qq -j 0 .venv/lib radvlm || true
	touch $(READY)

demo: $(READY)      ## a phantom with known lesions, its report and its page
	$(BIN)/radvlm demo -o out/demo

test: $(READY)      ## every test
	$(BIN)/python -m pytest -n 2 --dist worksteal

quick: $(READY)     ## without the slow and the browser tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not browser"

lint: $(READY)
	$(BIN)/ruff format --check radvlm tests eval examples
	$(BIN)/ruff check radvlm tests eval examples
	$(BIN)/mypy

versions: $(READY)  ## Python 3.13, the lowest versions on 3.12, and the demo of the wheel
	.ci/versions

system:             ## Chromium for the browser tests (Debian, Ubuntu)
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

bench: $(READY)
	for script in eval/bench_*.py; do $(BIN)/python $$script; done

clean:
	rm -rf .venv out
