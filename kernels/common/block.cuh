#pragma once
#include <cub/block/block_reduce.cuh>

#include "kernels/common/cuda.cuh"

/// Reductions over the threads of a block; all of them call, and all have the result.
namespace r1::kernels {

template <int Threads>
class Block {
  using Reduce = cub::BlockReduce<double, Threads>;

 public:
  /// In shared memory.
  struct Storage {
    typename Reduce::TempStorage parts;
    double result;
  };
  __device__ explicit Block(Storage& storage) : storage_(storage) {}

  __device__ double sum(double value) const { return for_all(Reduce(storage_.parts).Sum(value)); }
  __device__ double least(double value) const {
    const auto less = [](double a, double b) { return a < b ? a : b; };
    return for_all(Reduce(storage_.parts).Reduce(value, less));
  }

 private:
  /// What thread 0 has, in every thread.
  __device__ double for_all(double result) const {
    if (threadIdx.x == 0) storage_.result = result;
    __syncthreads();  // it is there, and the parts are free again
    const double all = storage_.result;
    __syncthreads();  // before the next one overwrites it
    return all;
  }

  Storage& storage_;
};

}  // namespace r1::kernels
