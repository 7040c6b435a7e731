#!/usr/bin/env bash
# Builds, tests and times r1core on a machine with a GPU that may have no network:
#
#     bash tests/gpu_bundle.sh    # before, where there is one: headers and wheels, into .gpu/
#     bash tests/gpu.sh [build] [test] [sanitize] [bench]
#
# Needs torch, nvcc, CMake and Ninja there. Results go to $OUT (tests/bench/results/ by default).
set -euo pipefail
cd "$(dirname "$0")/.."
STEPS=${*:-build test sanitize bench}
OUT=${OUT:-tests/bench/results}
PYTHON=${PYTHON:-python3}
SITE=${SITE:-/tmp/r1core-site}
say() { echo "== $* ($(date +%T), ${SECONDS} s)"; }

if compgen -G '.gpu/wheels/*.whl' >/dev/null && [ ! -d "$SITE" ]; then
  $PYTHON -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$SITE" .gpu/wheels/*.whl
fi
export PYTHONPATH=$PWD/python:$PWD/tests/bench:$SITE R1_REQUIRE_CUDA=1 HF_HUB_OFFLINE=1

for step in $STEPS; do
  say "$step"
  case $step in
    build)
      mkdir -p build; boost=(); [ -d .gpu/include ] && boost=("-DBOOST_INCLUDE_DIR=$PWD/.gpu/include")
      cmake -S . -B build/gpu -G Ninja -DPython_EXECUTABLE="$(command -v $PYTHON)" -DR1CORE_CUDA=ON \
        -DCMAKE_BUILD_TYPE=Release "${boost[@]}" >build/gpu.log
      cmake --build build/gpu >>build/gpu.log || { tail -40 build/gpu.log; exit 1; }
      cuobjdump --dump-resource-usage python/r1core/libr1cuda.so 2>/dev/null >build/gpu-resources.txt || true
      $PYTHON -m r1core doctor || true ;;
    test)
      $PYTHON -m pytest -m cuda -q -p no:cacheprovider --durations=8 || failed=1 ;;
    sanitize)
      for tool in memcheck racecheck; do
        compute-sanitizer --tool $tool --error-exitcode 9 --print-limit 5 \
          $PYTHON tests/python/cuda_small_shapes.py 2>&1 | tail -12 || failed=1
      done ;;
    bench) $PYTHON tests/bench/cuda_all.py "$OUT" || failed=1 ;;
  esac
done
say done
exit ${failed:-0}
