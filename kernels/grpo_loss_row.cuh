#pragma once
#include <cuda_pipeline.h>

#include "kernels/common/softmax.cuh"
#include "kernels/grpo_terms.h"

/// What the loss does of a row of logits, whether it lies in shared memory or not.
namespace r1::kernels {

using namespace R1_ISA;  // the formulas

/// What a block does of each row.
struct Part {
  std::int64_t vocab;
  int workers;       // warps of the block
  int slices, most;  // of a row, and of it at most a block's
  int first, end;    // this block's

  __device__ Part(std::int64_t vocab, int workers, int cluster, unsigned rank)
      : vocab(vocab),
        workers(workers),
        slices(static_cast<int>(ceil_div(vocab, kSlice))),
        most((slices + cluster - 1) / cluster),
        first(static_cast<int>(rank) * most),
        end(first + most < slices ? first + most : slices) {}

  __device__ int count(int slice) const {
    const std::int64_t left = vocab - std::int64_t{slice} * kSlice;
    return left < kSlice ? static_cast<int>(left) : kSlice;
  }
  /// Calls body(slice) for this worker's.
  template <class Body>
  __device__ void for_slices(const Body& body) const {
    for (int s = first + warp_of_thread(); s < end; s += workers) body(s);
  }
};

/// Whether a row counts, and its token; -1 where there is no such token.
struct RowToken {
  bool counts = false;
  int token = -1;
};

/// What a gradient is made of.
struct Found {
  RowGradient of_row;
  float at_token;
  std::int64_t token;
};

/// What a launch does; the same for every block.
template <class Element, class Gradient>
struct Call {
  const Element* logits;
  const std::int64_t* ids;
  std::int64_t rows, vocab;
  float scale;  // 1 / temperature
  GrpoTokens tokens;
  GrpoLossOptions options;
  float entropy_weight;
  Gradient* gradient;  // or null
  float* logprobs;     // or null
  double* workspace;

  /// Of no row, none that counts.
  __device__ RowToken token(std::int64_t row) const {
    if (row >= rows) return {false, -1};
    const std::int64_t id = ids[row];
    return {tokens.weights[row] != 0, id >= 0 && id < vocab ? static_cast<int>(id) : -1};
  }

  /// What is noted of a row that does not count, by a warp.
  __device__ void note_nothing(std::int64_t row) const {
    if (lane_of_thread() < kLossSums) workspace[row * kLossSums + lane_of_thread()] = 0;
    if (logprobs && lane_of_thread() == 0) logprobs[row] = 0;
  }

  /// The loss of a row's token, which `notes` writes down, and the gradient; by a whole warp.
  template <class Slice>
  __device__ Found score(std::int64_t row, const TokenInputs& token, std::int64_t id,
                         const Slice& slice, float logit, bool notes) const {
    const SoftmaxRow softmax = combine_slices(ceil_div(vocab, kSlice), scale, slice);
    const float rounded = logprob_of(softmax, logit, scale);
    const double logprob = static_cast<double>(rounded);
    const double log_ratio = log_ratio_of(logprob, token);
    GrpoLossSums sums{};
    const Term term = add_token(logprob, log_ratio, token, options, sums);
    const float entropy = entropy_of(softmax);
    const double all[kLossSums] = {sums.loss,         sums.kl,
                                   sums.tokens,       sums.low_clipped,
                                   sums.high_clipped, static_cast<double>(entropy)};
    if (notes && lane_of_thread() == 0) {
      for (int i = 0; i < kLossSums; ++i) workspace[row * kLossSums + i] = all[i];
      if (logprobs) logprobs[row] = rounded;
    }
    const RowGradient of_row = row_gradient(
        softmax.max, static_cast<float>(softmax.sum), static_cast<float>(softmax.log_sum), entropy,
        static_cast<float>(term.by_logprob + term.by_log_ratio), -entropy_weight, scale);
    return {of_row, of_row.at_token(logit), id};
  }

  /// Writes this worker's slices of a row: give(slice, x) says what.
  template <class Give>
  __device__ void write(std::int64_t row, const Part& part, const Give& give) const {
    Gradient* const to = gradient + row * vocab;
    const bool aligned = is_aligned(gradient, vocab);
    part.for_slices([&](int s) {
      float x[kSliceVectors][kVector] = {};
      give(s, x);
      store_slice(to + std::int64_t{s} * kSlice, part.count(s), aligned, x);
    });
  }

  /// The gradient of a row.
  ///
  /// @param load  load(slice, x) reads this lane's logits
  template <class Load>
  __device__ void differentiate(std::int64_t row, const Part& part, const Found& found,
                                const Load& load) const {
    if (!gradient) return;
    const RowGradient of_row = found.of_row;
    write(row, part, [&](int s, float (&x)[kSliceVectors][kVector]) {
      load(s, x);
      of_row.apply(x);
    });
    // The token's own, by the lane that wrote its vector, so it is stored after that.
    const std::int64_t token = found.token, own = token / kSlice;
    if (token < 0 || token >= vocab || own < part.first || own >= part.end) return;
    const int worker = static_cast<int>(own - part.first) % part.workers;
    if (warp_of_thread() == worker && lane_of_thread() == lane_of(token))
      gradient[row * vocab + token] = from_float<Gradient>(found.at_token);
  }

  /// The gradient of a row that does not count.
  __device__ void clear(std::int64_t row, const Part& part) const {
    if (gradient) write(row, part, [](int, float (&)[kSliceVectors][kVector]) {});
  }
};

/// Rows whose part of a block lies in its shared memory, [rows, most, kSlice]. Every lane reads
/// back only the vectors that it copied itself, so copies need no barrier.
template <class Element>
struct HeldRows {
  const Part part;
  Element* const elements;

  __device__ HeldRows(const Part& part, unsigned char* memory)
      : part(part), elements(reinterpret_cast<Element*>(memory)) {}

  __device__ Element* slice(int place, int s) const {
    return elements + (place * part.most + s - part.first) * kSlice;
  }

  /// Starts this lane's copies of a row, -inf beyond its end, as one group; of a row that does not
  /// count an empty one.
  template <class Gradient>
  __device__ void fetch(const Call<Element, Gradient>& call, std::int64_t row, bool counts,
                        int place) const {
    constexpr int kPerCopy = 16 / sizeof(Element);
    const bool aligned = is_aligned(call.logits, call.vocab);
    if (counts) {
      part.for_slices([&](int s) {
        const Element* const from = call.logits + row * call.vocab + std::int64_t{s} * kSlice;
        Element* const to = slice(place, s);
        for_vectors(part.count(s), aligned, [&](int, int at, int left, bool fits) {
          if (fits && left >= kVector) {
#pragma unroll
            for (int i = 0; i < kVector; i += kPerCopy)
              __pipeline_memcpy_async(to + at + i, from + at + i, 16);
          } else {
            float x[kVector];
            load_vector(from + at, left, false, -kInfinity, x);
            store_whole(to + at, x);
          }
        });
      });
    }
    __pipeline_commit();
  }

  template <class Gradient>
  __device__ void differentiate(const Call<Element, Gradient>& call, std::int64_t row,
                                const Found& found, int place) const {
    call.differentiate(row, part, found, [&](int s, float (&x)[kSliceVectors][kVector]) {
      load_slice(slice(place, s), kSlice, true, x);
    });
  }
};

}  // namespace r1::kernels
