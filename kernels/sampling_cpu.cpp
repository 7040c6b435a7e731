#include "kernels/sampling.h"

#include "kernels/common/select.h"

namespace r1::kernels::R1_ISA {
namespace {

/// Memory for one row.
struct Workspace {
  float* weights;       // [padded]
  float* slice_sums;    // [slices]
  std::int32_t* ids;    // [padded]
  std::int64_t padded;  // the vocabulary in whole vectors

  Workspace(float* memory, std::int64_t vocab)
      : weights(memory), padded((vocab + kLanes - 1) / kLanes * kLanes) {
    slice_sums = weights + padded;
    ids = reinterpret_cast<std::int32_t*>(slice_sums + vocab / kSlice + 1);
  }
};

/// Unnormalised probabilities of some logits; whole vectors, 0 in the lanes beyond `count`.
template <class Element>
void weigh_all(const Element* logits, std::int64_t count, float scale, float max, float* weights) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store(weights + i, weigh(load(logits + i), scale, max).weight);
  if (i == count) return;
  const f32x16 tail = load_partial(logits + i, count - i, -__builtin_inff());
  store(weights + i, weigh(tail, scale, max).weight);
}

/// Weights of the tokens that a threshold and min-p keep, one vector of them.
template <class Element>
R1_INLINE f32x16 kept(const Element* logits, const float* weights, std::int64_t i,
                      std::int64_t vocab, Threshold threshold, float min_p) {
  const f32x16 logit = i + kLanes <= vocab ? load(logits + i)
                                           : load_partial(logits + i, vocab - i, -__builtin_inff());
  const f32x16 weight = load(weights + i), nothing{};
  f32x16 tied = select(logit == splat(threshold.logit), weight, nothing);
  if (i > threshold.last_tie) tied = nothing;
  if (i <= threshold.last_tie && threshold.last_tie < i + kLanes - 1) {
    float lanes[kLanes];
    store(lanes, tied);
    for (std::int64_t lane = threshold.last_tie - i + 1; lane < kLanes; ++lane) lanes[lane] = 0;
    tied = load(lanes);
  }
  const f32x16 result = select(logit > splat(threshold.logit), weight, tied);
  return select(result < splat(min_p), nothing, result);
}

/// Zeroes the weights of the tokens that are not kept, and sums the others by slices.
/// @return their mass
template <class Element>
double keep(const Element* logits, std::int64_t vocab, Threshold threshold, float min_p,
            const Workspace& space) {
  double mass = 0;
  for (std::int64_t begin = 0; begin < space.padded; begin += kSlice) {
    const std::int64_t end = space.padded < begin + kSlice ? space.padded : begin + kSlice;
    f32x16 sums{};
    for (std::int64_t i = begin; i < end; i += kLanes) {
      const f32x16 weight = kept(logits, space.weights, i, vocab, threshold, min_p);
      store(space.weights + i, weight);
      sums += weight;
    }
    const float sum = horizontal_sum(sums);
    space.slice_sums[begin / kSlice] = sum;
    mass += static_cast<double>(sum);
  }
  return mass;
}

/// Leaves the weights of the tokens that may be drawn. @return their mass
template <class Element>
double apply_filter(const Element* logits, std::int64_t vocab, const SamplingFilter& filter,
                    double mass, const Workspace& space) {
  constexpr float kLeastWeight = 1.17549435e-38f;  // none is smaller but 0
  Threshold threshold{-__builtin_inff(), vocab};
  const bool by_count = filter.top_k > 0 && filter.top_k < vocab;
  if (by_count) {
    threshold =
        select_top<Measure::one>(logits, space.weights, space.padded,
                                 static_cast<double>(filter.top_k), {kLeastWeight, 1.f}, space.ids);
    if (filter.top_p < 1) mass = keep(logits, vocab, threshold, 0.f, space);
  }
  if (filter.top_p < 1) {
    // Tokens below an even share of what is left out are left out: all together weigh less.
    const double share = (1 - filter.top_p) * mass / static_cast<double>(vocab);
    const float low = share > 1e-37 ? static_cast<float>(share) : kLeastWeight;
    threshold = select_top<Measure::weight>(logits, space.weights, space.padded,
                                            filter.top_p * mass, {low, 1.f}, space.ids);
  }
  return keep(logits, vocab, threshold, filter.min_p, space);
}

/// First id whose cumulative weight exceeds `target`; where rounding leaves none, the last id that
/// has any weight.
std::int64_t walk(const float* weights, std::int64_t count, double target) {
  double cumulative = 0;
  std::int64_t last = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!(weights[i] > 0)) continue;
    last = i;
    cumulative += static_cast<double>(weights[i]);
    if (cumulative > target) break;
  }
  return last;
}

/// The slice where the cumulative mass exceeds a target, and what is left of the target in it.
struct Place {
  std::int64_t begin, count;
  double target;
};

Place find_slice(const float* slice_sums, std::int64_t vocab, double target) {
  double below = 0, start = 0;
  std::int64_t last = 0;
  const std::int64_t slices = (vocab + kSlice - 1) / kSlice;
  bool found = false;
  for (std::int64_t slice = 0; slice < slices && !found; ++slice) {
    if (!(slice_sums[slice] > 0)) continue;
    last = slice;
    start = below;
    below += static_cast<double>(slice_sums[slice]);
    found = below > target;
  }
  const std::int64_t begin = last * kSlice;
  // Rounding only: none exceeds it, and the last id of the last slice with weight is meant.
  return {begin, vocab - begin < kSlice ? vocab - begin : kSlice,
          found ? target - start : __builtin_inf()};
}

template <class Element>
void sample(const Element* logits, std::int64_t rows, std::int64_t vocab,
            const SamplingFilter& filter, const double* uniforms, const Workspace& space,
            std::int64_t* tokens, float* logprobs, float* truncated_logprobs,
            float* entropies) noexcept {
  const float scale = 1.f / filter.temperature;
  const bool filtered =
      (filter.top_k > 0 && filter.top_k < vocab) || filter.top_p < 1 || filter.min_p > 0.f;
  for (std::int64_t n = 0; n < rows; ++n) {
    const Element* const row = logits + n * vocab;
    const SoftmaxRow softmax = softmax_row(row, vocab, scale, space.slice_sums, nullptr);
    if (softmax.sum != softmax.sum) {  // NaN: the row has no distribution
      tokens[n] = 0;
      logprobs[n] = truncated_logprobs[n] = entropies[n] = __builtin_nanf("");
      continue;
    }
    double mass = softmax.sum;
    if (filtered) {
      weigh_all(row, vocab, scale, softmax.max, space.weights);
      mass = apply_filter(row, vocab, filter, softmax.sum, space);
    }
    const Place place = find_slice(space.slice_sums, vocab, uniforms[n] * mass);
    if (!filtered) weigh_all(row + place.begin, place.count, scale, softmax.max, space.weights);
    tokens[n] =
        place.begin + walk(space.weights + (filtered ? place.begin : 0), place.count, place.target);
    const float logit = widen(row[tokens[n]]);
    logprobs[n] = logprob_of(softmax, logit, scale);
    truncated_logprobs[n] =
        filtered
            ? static_cast<float>(static_cast<double>((logit - softmax.max) * scale) - ::log(mass))
            : logprobs[n];
    entropies[n] = entropy_of(softmax);
  }
}

}  // namespace

void sample_cpu(const float* logits, std::int64_t rows, std::int64_t vocab, SamplingFilter filter,
                const double* uniforms, float* workspace, std::int64_t* tokens, float* logprobs,
                float* truncated_logprobs, float* entropies) noexcept {
  sample(logits, rows, vocab, filter, uniforms, Workspace(workspace, vocab), tokens, logprobs,
         truncated_logprobs, entropies);
}

void sample_bf16_cpu(const bf16* logits, std::int64_t rows, std::int64_t vocab,
                     SamplingFilter filter, const double* uniforms, float* workspace,
                     std::int64_t* tokens, float* logprobs, float* truncated_logprobs,
                     float* entropies) noexcept {
  sample(logits, rows, vocab, filter, uniforms, Workspace(workspace, vocab), tokens, logprobs,
         truncated_logprobs, entropies);
}

}  // namespace r1::kernels::R1_ISA
