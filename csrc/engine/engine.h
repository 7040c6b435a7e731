#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "csrc/engine/spec.h"
#include "csrc/engine/trace.h"

namespace r1::engine {

/// How completions are drawn; the Python side has checked the ranges.
struct GenerateOptions {
  std::int64_t n = 1;  // completions per prompt, G
  double temperature = 1;
  std::int64_t top_k = 0;
  double top_p = 1, min_p = 0;
  std::int64_t max_new_tokens = 1;
  std::vector<std::int64_t> stop_token_ids;
  std::int64_t slots = 64;  // completions decoded together
  int threads = 1;
  std::int64_t trace_bytes = 0;  // a trace is kept if it takes no more; 0: none
};

/// P prompts and the counters and keys of their random numbers.
struct Prompts {
  std::vector<at::Tensor> tokens;  // int64, each of at least one id in [0, vocab)
  std::vector<std::int64_t> uids;  // in [0, 2^32)
  std::vector<std::uint64_t> seeds;
};

/// Ends a completion by its text, which only the caller can read.
struct StopCheck {
  at::Tensor may_end;  // bool [vocab], the ids after which `ends` is asked; undefined: none
  /// Called with the completion so far, int64, from a thread of the engine; may throw.
  std::function<bool(const at::Tensor&)> ends;
};

/// N = P * G completions, row n = p * G + g; T = max_new_tokens. Zero beyond each length.
struct Completions {
  at::Tensor tokens;                                   // int64 [N, T]
  at::Tensor logprobs, truncated_logprobs, entropies;  // float32 [N, T]
  at::Tensor lengths;                                  // int64 [N]
  at::Tensor stopped;                                  // bool [N], ended by a stop
  std::shared_ptr<Trace> trace;                        // of all that ran; or null
};

/// Called on the calling thread with (tokens drawn, completions finished); may throw.
using OnProgress = std::function<void(std::int64_t, std::int64_t)>;

/// Draws G completions of each prompt. A prompt runs through the model once: its keys and values
/// are shared by its completions, and all first tokens are drawn from its one row of logits. A
/// finished slot takes the next completion at once.
///
/// A token's random number depends on (seed, prompt uid, sample, position) alone and its logits on
/// the tokens before it alone, so the results do not depend on threads, slots, or other prompts.
///
/// @throws std::invalid_argument  a prompt that is empty, out of range or beyond the context
Completions generate(const DecoderSpec& spec, const Prompts& prompts,
                     const GenerateOptions& options, const StopCheck& stop_check,
                     const OnProgress& on_progress);

}  // namespace r1::engine
