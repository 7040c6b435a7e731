#!/usr/bin/env bash
# Collects in .gpu/ what tests/gpu.sh needs on a GPU machine without a network: the headers of Boost that
# csrc/rewards includes, and wheels of the packages of pure Python that such a machine may lack.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON_VERSION=${PYTHON_VERSION:-3.12}
WHEELS=(pydantic pydantic_core annotated_types typing_inspection tomli_w datasets dill multiprocess
  rich typing_extensions)

rm -rf .gpu && mkdir -p .gpu/include .gpu/wheels
for source in csrc/rewards/*.cpp csrc/rewards/math/*.cpp; do
  g++ -std=c++20 -I. -M "$source"
done | tr ' \\' '\n\n' | grep '^/usr/include/boost/' | sort -u | while read -r header; do
  install -D -m 644 "$header" ".gpu/include/${header#/usr/include/}"
done
python3 -m pip download -q --only-binary=:all: --no-deps --python-version "$PYTHON_VERSION" \
  --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
  --platform manylinux2014_x86_64 -d .gpu/wheels "${WHEELS[@]}" 2>/dev/null
du -sh .gpu
