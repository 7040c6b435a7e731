#pragma once
#include <cooperative_groups.h>

#include "kernels/grpo_loss_row.cuh"

/// One read of the logits, one write of their gradient. The blocks of a cluster hold a row between
/// them; each warp sums its slices as their copies arrive; the blocks tell each other their sums;
/// then each warp turns its slices into the gradient. Clusters go from row to row, and the next row
/// is on its way while this one is computed: without that all blocks would load at one time and
/// compute at another.
namespace r1::kernels {

/// Where the blocks of a row meet, and where another block holds what lies here in this one.
template <bool Clustered>
struct Meeting {
  __device__ static unsigned rank() { return 0; }
  __device__ static void meet() { __syncthreads(); }
  template <class T>
  __device__ static T* in_block(T* here, unsigned) {
    return here;
  }
};
#if defined(R1_EMULATION) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
template <>
struct Meeting<true> {
  __device__ static unsigned rank() { return cooperative_groups::this_cluster().block_rank(); }
  __device__ static void meet() { cooperative_groups::this_cluster().sync(); }
  template <class T>
  __device__ static T* in_block(T* here, unsigned rank) {
    return cooperative_groups::this_cluster().map_shared_rank(here, rank);
  }
};
#else
/// Of code for older GPUs, which no launcher starts in clusters.
template <>
struct Meeting<true> : Meeting<false> {
  __device__ static unsigned rank() {
    __trap();
    return 0;
  }
};
#endif

/// Rows in the shared memory of a cluster, or of one block, one after the other. A thread waits
/// where it uses what it loads, so whether a row counts is read a row ahead, and its token early.
template <class Element, class Gradient, bool Clustered>
struct ResidentLoss {
  static constexpr int kMostWorkers = 10, kOtherWarps = 0, kBlocksPerProcessor = 2;
  static constexpr int kHeldRows = 2;
  /// Of a row, in a block, as far as clusters allow: with two rows each, two blocks fit a
  /// multiprocessor of Hopper (228 KB), and while one waits for its cluster the other computes.
  static constexpr std::int64_t kRowBytes = 48 * 1024;

  /// Bytes of shared memory before the rows: the sums of the block's slices.
  R1_HOST_DEVICE static std::int64_t sums_bytes(std::int64_t, std::int64_t most) {
    return ceil_div(most * static_cast<std::int64_t>(sizeof(SliceSums)), 16) * 16;
  }

  __device__ static void run(const Call<Element, Gradient>& call, int cluster,
                             unsigned char* memory) {
    using Blocks = Meeting<Clustered>;
    __shared__ Found found;
    const unsigned rank = Blocks::rank();
    const Part part(call.vocab, warps_of_block(), cluster, rank);
    auto* const sums = reinterpret_cast<SliceSums*>(memory);
    const HeldRows<Element> rows(part, memory + sums_bytes(part.slices, part.most));
    const std::int64_t step = gridDim.x / static_cast<unsigned>(cluster);
    const float inverse_most = 1.f / static_cast<float>(part.most);
    const auto block_of = [&](std::int64_t slice) {  // slice / most, exact below 2^22
      return static_cast<unsigned>((static_cast<float>(slice) + 0.5f) * inverse_most);
    };

    std::int64_t row = blockIdx.x / static_cast<unsigned>(cluster);
    double weight = call.weight(row), next = call.weight(row + step);
    rows.fetch(call, row, weight != 0, 0);
    for (int place = 0; row < call.rows; row += step, place ^= 1) {
      const double later = call.weight(row + 2 * step);
      rows.fetch(call, row + step, next != 0, place ^ 1);
      if (weight != 0) {  // for the whole cluster
        const TokenInputs token = token_inputs(call.tokens, row);
        const std::int64_t id = call.ids[row];
        rows.for_sums(place, call.scale, [&](int s, const SliceSums& slice) {
          if (lane_of_thread() == 0) sums[s - part.first] = slice;
        });
        Blocks::meet();  // every block's sums and logits are there
        if (warp_of_thread() == 0) {
          const auto slice = [&](std::int64_t i) {
            const unsigned block = block_of(i);
            return Blocks::in_block(sums, block)[i - block * part.most];
          };
          float logit = __builtin_nanf("");  // of no such token
          if (id >= 0 && id < call.vocab) {
            const unsigned block = block_of(id / kSlice);
            const Element* const held = rows.slice(place, part.first);
            logit = to_float(Blocks::in_block(held, block)[id - block * part.most * kSlice]);
          }
          const Found result = call.score(row, token, id, slice, logit, rank == 0);
          if (lane_of_thread() == 0) found = result;
        }
        Blocks::meet();  // nobody overwrites what others read, or leaves
        rows.differentiate(call, row, found, place);
      } else {
        if (rank == 0 && warp_of_thread() == 0) call.note_nothing(row);
        call.clear(row, part);
      }
      weight = next;
      next = later;
    }
  }
};

}  // namespace r1::kernels
