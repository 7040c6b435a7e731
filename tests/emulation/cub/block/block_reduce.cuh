#pragma once
#include <algorithm>
#include <vector>

#include "tests/emulation/cuda_runtime.h"

/// Stands for CUB: block-wide primitives with its names and results, in plain loops.
namespace cub {

/// What every thread of the block gives, for all to read.
template <class T, int Threads>
struct Shared {
  T values[Threads];
};

template <class T, int Threads>
class BlockReduce {
 public:
  using TempStorage = Shared<T, Threads>;
  explicit BlockReduce(TempStorage& storage) : storage_(storage) {}

  /// Valid in thread 0.
  template <class Op>
  T Reduce(T value, Op op) {
    storage_.values[threadIdx.x] = value;
    __syncthreads();
    T total = storage_.values[0];
    for (unsigned i = 1; i < blockDim.x; ++i) total = op(total, storage_.values[i]);
    return total;
  }
  T Sum(T value) {
    return Reduce(value, [](T a, T b) { return a + b; });
  }

 private:
  TempStorage& storage_;
};

}  // namespace cub
