# `make quickstart` and `make test` do all their own set-up; everything installed stays in .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BUILD := build/test
JOBS ?= $(shell nproc)
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
CPP_FILES = $(shell find csrc kernels tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
SEED ?= 0
# Processes that share the Python tests, each file in one: a third less time on two cores.
WORKERS ?= 2
CLANG ?= $(firstword $(foreach name,clang++ $(patsubst %,clang++-%,20 19 18 17 16 15 14),$(shell command -v $(name))))
FUZZ_BUILD := build/fuzz$(if $(CLANG),-clang)
FUZZERS := $(patsubst tests/fuzz/fuzz_%.cpp,%,$(wildcard tests/fuzz/fuzz_*.cpp))
FUZZ_SECONDS ?= 20
SOURCES = pyproject.toml CMakeLists.txt $(shell find csrc kernels python build_support -type f -not -name '*.pyc' -not -name '*.so')

# What `make bench` measures against, in an environment of its own.
BENCH_VENV ?= .bench-venv
PEERS := transformers==5.23.0 trl==1.16.0 peft==0.21.2 datasets==5.2.0 math-verify==0.9.0
LLAMA_CPP := llama-cpp-python==0.3.36 gguf==0.19.0

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

quickstart: $(VENV)/.installed  ## Install, then train the embedded model from a guesser to a reasoner
	$(BIN)/r1core demo --seed $(SEED)

test: $(VENV)/.dev format-check install-tests  ## Format, types, C++ tests, Python tests, notebooks, README
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)
	$(PYTHON) -m pytest -m "not slow" --durations=15 -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.dev install-tests  ## The full-length and many-seed runs
	$(PYTHON) -m pytest -m slow --durations=15

test-arm:  ## The C++ tests, cross-compiled (apt: g++-aarch64-linux-gnu qemu-user-static libgtest-dev)
	cmake --preset arm64
	cmake --build build/arm64 -j $(JOBS)
	ctest --test-dir build/arm64 --output-on-failure -j $(JOBS)

test-threads:  ## The engine's threads under ThreadSanitizer
	cmake --preset tsan
	cmake --build build/tsan -j $(JOBS) --target engine_test
	build/tsan/tests/engine_test

fuzz: $(VENV)/.dev  ## Each fuzzer for FUZZ_SECONDS (default 20) under ASan and UBSan; libFuzzer with Clang
	cmake -S . -B $(FUZZ_BUILD) $(addprefix -DCMAKE_CXX_COMPILER=,$(CLANG)) -DR1_BUILD_PYTHON=OFF \
	  -DR1_BUILD_FUZZ=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo
	cmake --build $(FUZZ_BUILD) -j $(JOBS)
	rm -rf $(FUZZ_BUILD)/corpus && $(PYTHON) tests/fuzz/corpus.py unpack $(FUZZ_BUILD)/corpus
	for name in $(FUZZERS); do mkdir -p $(FUZZ_BUILD)/corpus/$$name; \
	  $(FUZZ_BUILD)/tests/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=4096 \
	    -verbosity=0 -print_final_stats=1 -dict=tests/fuzz/tokens.dict $(FUZZ_BUILD)/corpus/$$name; done

bench: $(BENCH_VENV)/.installed  ## r1core beside torch, transformers, TRL: medians, ratios, phases
	for topic in tests/bench/bench_*.py; do $(BENCH_VENV)/bin/python $$topic; done
	$(BENCH_VENV)/bin/python tests/bench/table.py

bench-llama: $(BENCH_VENV)/.torch  ## Build llama.cpp, about 7 minutes, so that `make bench` times it
	$(BENCH_VENV)/bin/pip install -q $(LLAMA_CPP)

format: $(VENV)/.dev  ## Format C++ and Python
	$(BIN)/clang-format -i $(CPP_FILES)
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

format-check: $(VENV)/.dev
	$(BIN)/clang-format --dry-run -Werror $(CPP_FILES)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy

# The user's own command, plus test programs and strict warnings, in a build directory that stays.
install-tests: $(VENV)/.dev
	$(BIN)/pip install -q --force-reinstall --no-deps . \
	  -C build-dir=$(BUILD) -C cmake.define.R1_BUILD_TESTS=ON -C cmake.define.R1_WERROR=ON

develop: $(VENV)/.dev  ## Build r1core._C into the source tree (run with PYTHONPATH=python)
	cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$(abspath $(PYTHON)) -DR1_BUILD_TESTS=ON \
	  -DR1_WERROR=ON -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja)
	cmake --build build/dev -j $(JOBS)

constraints: $(VENV)/.torch  ## Let `make test` run with the newest releases, and keep their versions
	$(BIN)/pip install -q -U ninja $$($(PYTHON) build_support/requirements.py)
	$(BIN)/pip freeze | grep -vE '^(r1core|torch)\b' > build_support/constraints.txt

clean:  ## Remove what builds and runs made (not .venv)
	rm -rf build runs python/r1core/*.so

# Set-up, each step once ---------------------------------------------------------------------------

$(VENV)/.system:
	@bash build_support/system_packages.sh
	python3 -m venv $(VENV)
	@touch $@

$(VENV)/.torch: $(VENV)/.system
	$(BIN)/pip install -q $(TORCH)
	@touch $@

$(VENV)/.installed: $(VENV)/.torch $(SOURCES)
	$(BIN)/pip install -q .
	@touch $@

$(BENCH_VENV)/.torch: $(VENV)/.system
	python3 -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install -q $(TORCH)
	@touch $@

# A build directory of its own: the other environment's holds the paths of its torch.
$(BENCH_VENV)/.installed: $(BENCH_VENV)/.torch $(SOURCES) Makefile
	$(BENCH_VENV)/bin/pip install -q . $(PEERS) -C build-dir=build/bench
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml build_support/constraints.txt
	$(BIN)/pip install -q -c build_support/constraints.txt ninja $$($(PYTHON) build_support/requirements.py)
	@touch $@

.PHONY: help quickstart test test-slow test-arm test-threads fuzz bench bench-llama format format-check install-tests develop constraints clean
