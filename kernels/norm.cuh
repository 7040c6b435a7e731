#pragma once
#include "kernels/common/packed.cuh"

/// What both passes of RMSNorm share. Some threads of a block, its "team", take a row: vectors
/// rank, rank + lanes, ... of it. The first few of each thread wait in registers from the only read
/// on; the rest, of the longest rows, are read again.
namespace r1::kernels {

constexpr int kNormThreads = 256, kNormWarps = kNormThreads / kWarp;
constexpr int kFew = 2, kMany = 4;  // vectors that a thread holds
constexpr std::int64_t kFewWidth = std::int64_t{kFew} * kNormThreads * kVector;

/// The least power of two of threads that hold a row between them.
inline int lanes_for(std::int64_t width, int vectors) {
  int lanes = 1;
  while (lanes < kNormThreads && std::int64_t{lanes} * vectors * kVector < width) lanes *= 2;
  return lanes;
}

/// This thread among those of its row, and that row's place in the block.
struct Team {
  int lanes, rank, index, teams;

  __device__ explicit Team(int lanes)
      : lanes(lanes),
        rank(static_cast<int>(threadIdx.x) % lanes),
        index(static_cast<int>(threadIdx.x) / lanes),
        teams(kNormThreads / lanes) {}

  /// Where this thread's vector v begins.
  __device__ int at(int v) const { return (v * lanes + rank) * kVector; }
  /// Calls body(begin) for each of this thread's vectors beyond the first.
  template <int Vectors, class Body>
  __device__ void for_rest(std::int64_t width, const Body& body) const {
    if constexpr (Vectors == kFew) return;
    const std::int64_t step = std::int64_t{lanes} * kVector;
#pragma unroll 1
    for (std::int64_t i = at(Vectors); i < width; i += step) body(i);
  }
};

/// Sums over a team, with the same bits in all of its threads; the whole block calls it.
template <int Count>
__device__ void team_sum(const Team& team, float (&sums)[Count]) {
  __shared__ float of_warps[Count][kNormWarps];
  for (int mask = (team.lanes < kWarp ? team.lanes : kWarp) / 2; mask > 0; mask /= 2)
#pragma unroll
    for (int i = 0; i < Count; ++i) sums[i] += __shfl_xor_sync(kAllLanes, sums[i], mask);
  if (team.lanes <= kWarp) return;
  if (lane_of_thread() == 0)
#pragma unroll
    for (int i = 0; i < Count; ++i) of_warps[i][warp_of_thread()] = sums[i];
  __syncthreads();  // the sums of all warps are there
  const int first = team.index * team.lanes / kWarp;
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    sums[i] = 0;
    for (int w = 0; w < team.lanes / kWarp; ++w) sums[i] += of_warps[i][first + w];
  }
  __syncthreads();  // before the next row's sums overwrite them
}

__device__ inline float square_sum(const float (&x)[kVector]) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kVector; ++i) sum += x[i] * x[i];
  return sum;
}

__device__ inline float inverse_root(float squares, std::int64_t width, float eps) {
  return 1.f / sqrtf(squares / static_cast<float>(width) + eps);
}

/// A row among [rows, heads], or none.
struct Place {
  std::int64_t token, head, width;  // width: 0 where there is no such row

  __device__ Place(std::int64_t n, std::int64_t rows, std::int64_t heads, std::int64_t width)
      : token(n >= rows    ? 0
              : heads == 1 ? n
                           : n / heads),
        head(n < rows ? n - token * heads : 0),
        width(n < rows ? width : 0) {}

  template <class Element>
  __device__ Element* in(const Heads<Element>& all) const {
    return all.data + token * all.token_stride + head * all.head_stride;
  }
};
}  // namespace r1::kernels
