#pragma once
#include "kernels/common/copy.cuh"
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

  /// 0 of a row that does not count, and of none. As it was loaded: who compares it waits for it.
  __device__ double weight(std::int64_t row) const { return row < rows ? tokens.weights[row] : 0; }

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

/// Rows whose part of a block lies in its shared memory, [rows, most, kSlice].
template <class Element>
struct HeldRows {
  const Part part;
  Element* const elements;
  int slices = 0;  // of this worker: as many groups of copies a row, though it may not count

  __device__ HeldRows(const Part& part, unsigned char* memory)
      : part(part), elements(reinterpret_cast<Element*>(memory)) {
    part.for_slices([&](int) { ++slices; });
  }

  __device__ Element* slice(int place, int s) const {
    return elements + (place * part.most + s - part.first) * kSlice;
  }

  /// Starts this worker's copies of a row, a group to each slice; of a row that does not count
  /// empty ones.
  template <class Gradient>
  __device__ void fetch(const Call<Element, Gradient>& call, std::int64_t row, bool counts,
                        int place) const {
    const bool aligned = is_aligned(call.logits, call.vocab);
    const Element* const from = call.logits + row * call.vocab;
    __syncwarp();  // all lanes are done with the place
    part.for_slices([&](int s) {
      copy_slice(from + std::int64_t{s} * kSlice, counts ? part.count(s) : 0, aligned,
                 slice(place, s));
    });
  }

  /// Calls body(slice, its sums) for this worker's slices of a row, the last but one fetched.
  template <class Body>
  __device__ void for_sums(int place, float scale, const Body& body) const {
    int waiting = 2 * slices;  // groups, of this row and of the next
    part.for_slices([&](int s) {
      wait_for_slice(--waiting);
      body(s, slice_sums(slice(place, s), kSlice, scale, true));
    });
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
