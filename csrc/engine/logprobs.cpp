#include <ATen/ops/empty.h>

#include <atomic>

#include "csrc/engine/decoder.h"
#include "csrc/engine/engine.h"
#include "csrc/engine/inputs.h"
#include "csrc/engine/workers.h"
#include "kernels/logprob.h"

namespace r1::engine {
namespace {

/// Runs one sequence in blocks; its completion has its own keys, as in sampling, so that attention
/// adds in the same order.
void score_sequence(const DecoderSpec& spec, Decoder& decoder, const at::Tensor& sequence,
                    std::int64_t prompt_length, float temperature, Scores& scores) {
  const std::int64_t* const tokens = sequence.const_data_ptr<std::int64_t>();
  const std::int64_t length = sequence.size(0);
  KvCache prompt(spec, prompt_length), own(spec, std::max<std::int64_t>(1, length - prompt_length));
  std::vector<Row> rows;
  for (std::int64_t begin = 0; begin + 1 < length; begin += Decoder::kMaxRows) {
    const std::int64_t end = std::min(begin + Decoder::kMaxRows, length - 1);
    rows.clear();
    for (std::int64_t t = begin; t < end; ++t)
      rows.push_back(t < prompt_length
                         ? Row{tokens[t], &prompt, t + 1, nullptr, 0}
                         : Row{tokens[t], &prompt, prompt_length, &own, t + 1 - prompt_length});
    decoder.forward(rows);
    const std::int64_t first = std::max(begin, prompt_length - 1);
    if (first >= end) continue;
    const std::int64_t at = first + 1 - prompt_length;
    R1_CPU(token_logprobs_cpu)
    (decoder.logits(first - begin, end - begin), tokens + first + 1, end - first, spec.vocab(),
     temperature, scores.logprobs.mutable_data_ptr<float>() + at,
     scores.entropies.mutable_data_ptr<float>() + at);
  }
}

}  // namespace

std::vector<Scores> logprobs(const DecoderSpec& spec, const std::vector<at::Tensor>& sequences,
                             const std::vector<std::int64_t>& prompt_lengths, double temperature,
                             int threads, const OnProgress& on_progress) {
  check_spec(__func__, spec);
  check_tokens(__func__, "sequences", spec, sequences, 0);
  R1_REQUIRE(prompt_lengths.size() == sequences.size(),
             "prompt_lengths must have one per sequence, ", sequences.size(), "; got ",
             prompt_lengths.size());
  R1_REQUIRE(temperature > 0, "temperature must be > 0; got ", temperature);
  R1_REQUIRE(threads >= 1, "threads must be >= 1; got ", threads);
  std::vector<Scores> scores;
  std::int64_t longest_prompt = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::int64_t length = sequences[i].size(0);
    R1_REQUIRE(prompt_lengths[i] >= 1 && prompt_lengths[i] <= length, "prompt_lengths[", i,
               "] must be in [1, ", length, "]; got ", prompt_lengths[i]);
    longest_prompt = std::max(longest_prompt, prompt_lengths[i]);
    scores.push_back({at::empty({length - prompt_lengths[i]}, at::kFloat),
                      at::empty({length - prompt_lengths[i]}, at::kFloat)});
  }
  const RotaryTable rotary(spec, longest(sequences));
  std::atomic<bool> stop = false;
  std::atomic<std::size_t> next = 0;
  std::atomic<std::int64_t> tokens = 0, finished = 0;
  const auto work = [&] {
    Decoder decoder(spec, rotary, longest_prompt, longest(sequences));
    for (std::size_t i; !stop && (i = next++) < sequences.size(); ++finished) {
      score_sequence(spec, decoder, sequences[i], prompt_lengths[i],
                     static_cast<float>(temperature), scores[i]);
      tokens += scores[i].logprobs.size(0);
    }
  };
  run_workers(threads, stop, work, [&] { on_progress(tokens, finished); });
  return scores;
}

}  // namespace r1::engine
