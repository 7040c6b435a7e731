#include "kernels/sampling.h"

#include "kernels/common/softmax.h"

namespace r1::kernels::R1_ISA {
namespace {

/// Unnormalised probabilities of [begin, begin + count) of a row.
R1_INLINE void slice_weights(const float* logits, std::int64_t count, float scale, float max,
                             float* weights) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const std::int64_t left = count - i;
    if (left >= kLanes) {
      store(weights + i, exp((load(logits + i) - max) * scale));
    } else {
      const f32x16 tail = load_partial(logits + i, left, -__builtin_inff());
      store_partial(weights + i, exp((tail - max) * scale), left);
    }
  }
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

std::int64_t draw(const float* logits, std::int64_t vocab, float scale, const SoftmaxRow& row,
                  double uniform, const float* slice_sums, float* weights) {
  const double target = uniform * row.sum;
  double below = 0;
  std::int64_t slice = 0, last = 0;
  const std::int64_t slices = (vocab + kSlice - 1) / kSlice;
  for (; slice < slices; ++slice) {
    if (!(slice_sums[slice] > 0)) continue;
    last = slice;
    const double through = below + static_cast<double>(slice_sums[slice]);
    if (through > target) break;
    below = through;
  }
  if (slice == slices) below = 0;  // rounding only: take the last id of the last slice with weight
  const std::int64_t begin = last * kSlice;
  const std::int64_t count = vocab - begin < kSlice ? vocab - begin : kSlice;
  slice_weights(logits + begin, count, scale, row.max, weights);
  return begin + walk(weights, count, slice == slices ? row.sum : target - below);
}

/// Order-preserving bits: a < b as floats exactly if key(a) < key(b); -0 and 0 are equal.
R1_INLINE std::uint32_t key_of(float value) {
  std::uint32_t bits;
  const float positive_zero = value + 0.f;
  __builtin_memcpy(&bits, &positive_zero, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// The tokens kept: every key above `key`, and the first `ties` ids (in id order) that equal it.
struct Threshold {
  std::uint32_t key;
  std::int64_t ties;
};

/// The smallest set of largest logits whose measure reaches `needed`; each surviving token measures
/// 1 (top-k) or its weight (top-p). Radix selection, eight bits at a time from the top.
template <class Measure>
Threshold select_top(const float* logits, const float* weights, std::int64_t vocab, double needed,
                     Measure measure) {
  std::uint32_t prefix = 0;
  double above = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    double histogram[256] = {};
    for (std::int64_t i = 0; i < vocab; ++i) {
      if (!(weights[i] > 0)) continue;
      const std::uint32_t key = key_of(logits[i]);
      if (shift == 24 || (key >> (shift + 8)) == (prefix >> (shift + 8)))
        histogram[key >> shift & 255] += measure(weights[i]);
    }
    int bucket = 255, lowest = 255;
    for (; bucket >= 0; --bucket) {
      if (histogram[bucket] == 0) continue;
      lowest = bucket;
      if (above + histogram[bucket] >= needed) break;
      above += histogram[bucket];
    }
    if (bucket < 0) above -= histogram[lowest];  // everything is needed: end at the smallest key
    prefix |= static_cast<std::uint32_t>(lowest) << shift;
  }
  for (std::int64_t i = 0; i < vocab; ++i) {  // tokens of one key have one weight
    if (!(weights[i] > 0) || key_of(logits[i]) != prefix) continue;
    const double ties = ::ceil((needed - above) / measure(weights[i]));
    return {prefix, ties < 1 ? 1 : static_cast<std::int64_t>(ties < 1e15 ? ties : 1e15)};
  }
  return {prefix, 1};
}

void keep_top(const float* logits, float* weights, std::int64_t vocab, Threshold threshold) {
  for (std::int64_t i = 0; i < vocab; ++i) {
    const std::uint32_t key = key_of(logits[i]);
    const bool kept =
        key > threshold.key || (key == threshold.key && weights[i] > 0 && threshold.ties-- > 0);
    if (!kept) weights[i] = 0;
  }
}

double total(const float* weights, std::int64_t vocab) {
  double sum = 0;
  for (std::int64_t i = 0; i < vocab; ++i) sum += static_cast<double>(weights[i]);
  return sum;
}

/// Zeroes the weights of the tokens that the filter drops; returns the mass that is left.
double apply_filter(const float* logits, float* weights, std::int64_t vocab,
                    const SamplingFilter& filter) {
  if (filter.top_k > 0 && filter.top_k < vocab)
    keep_top(logits, weights, vocab,
             select_top(logits, weights, vocab, static_cast<double>(filter.top_k),
                        [](float) { return 1.; }));
  if (filter.top_p < 1.f)
    keep_top(logits, weights, vocab,
             select_top(logits, weights, vocab,
                        static_cast<double>(filter.top_p) * total(weights, vocab),
                        [](float weight) { return static_cast<double>(weight); }));
  if (filter.min_p > 0.f)  // the largest weight is 1
    for (std::int64_t i = 0; i < vocab; ++i)
      if (weights[i] < filter.min_p) weights[i] = 0;
  return total(weights, vocab);
}

}  // namespace

void sample_cpu(const float* logits, std::int64_t rows, std::int64_t vocab, SamplingFilter filter,
                const double* uniforms, float* workspace, std::int64_t* tokens, float* logprobs,
                float* truncated_logprobs, float* entropies) noexcept {
  const float scale = 1.f / filter.temperature;
  const bool filtered =
      (filter.top_k > 0 && filter.top_k < vocab) || filter.top_p < 1.f || filter.min_p > 0.f;
  float* const weights = workspace;
  float* const slice_sums = workspace + vocab;
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = logits + n * vocab;
    const SoftmaxRow softmax = softmax_row(row, vocab, scale, slice_sums);
    if (filtered) {
      slice_weights(row, vocab, scale, softmax.max, weights);
      const double mass = apply_filter(row, weights, vocab, filter);
      tokens[n] = walk(weights, vocab, uniforms[n] * mass);
      truncated_logprobs[n] = static_cast<float>(
          static_cast<double>((row[tokens[n]] - softmax.max) * scale) - ::log(mass));
    } else {
      tokens[n] = draw(row, vocab, scale, softmax, uniforms[n], slice_sums, weights);
    }
    logprobs[n] = logprob_of(softmax, row[tokens[n]], scale);
    if (!filtered) truncated_logprobs[n] = logprobs[n];
    entropies[n] = entropy_of(softmax);
  }
}

}  // namespace r1::kernels::R1_ISA
