#!/usr/bin/env bash
# Installs what the build needs from the system where that is allowed; otherwise names it in one line.
set -euo pipefail

missing=()
command -v g++ >/dev/null || missing+=(g++)
command -v cmake >/dev/null || missing+=(cmake)
command -v make >/dev/null || missing+=(make)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
python3 -c 'import sysconfig, os; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' \
  2>/dev/null || missing+=(python3-dev)
[ -e /usr/include/boost/multiprecision/cpp_int.hpp ] || missing+=(libboost-dev)
[ -e /usr/include/gtest/gtest.h ] || missing+=(libgtest-dev)

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing with apt-get: ${missing[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" \
    >/dev/null || [ "${missing[*]}" = libgtest-dev ]
else
  # GoogleTest alone is no reason to stop: CMake fetches it when a test build wants it.
  [ "${missing[*]}" = libgtest-dev ] && exit 0
  echo "r1core needs these packages: ${missing[*]} (Debian/Ubuntu: sudo apt-get install ${missing[*]})" >&2
  exit 1
fi
