#pragma once
#include "tests/emulation/cub/block/block_reduce.cuh"
