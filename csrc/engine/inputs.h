#pragma once
#include <algorithm>
#include <vector>

#include "csrc/check.h"
#include "csrc/engine/spec.h"

namespace r1::engine {

/// Rejects prompts that the model cannot read; `extra` tokens follow each of them.
inline void check_tokens(const char* function, const char* what, const DecoderSpec& spec,
                         const std::vector<at::Tensor>& sequences, std::int64_t extra) {
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const at::Tensor& tokens = sequences[i];
    if (tokens.dim() != 1 || tokens.scalar_type() != at::kLong || !tokens.is_cpu() ||
        !tokens.is_contiguous() || tokens.size(0) == 0)
      reject(function, what, " must be contiguous int64 CPU tensors of at least one id; ", what,
             "[", i, "] is ", tokens.toString(), " ", tokens.sizes());
    if (tokens.size(0) + extra > spec.max_positions)
      reject(function, what, " plus new tokens must fit the context of ", spec.max_positions,
             " tokens; ", what, "[", i, "] has ", tokens.size(0), " and ", extra, " follow");
    const std::int64_t* const ids = tokens.const_data_ptr<std::int64_t>();
    const std::int64_t* const bad = std::find_if(
        ids, ids + tokens.size(0), [&](std::int64_t id) { return id < 0 || id >= spec.vocab(); });
    if (bad != ids + tokens.size(0))
      reject(function, what, " must hold ids in [0, ", spec.vocab(), "); ", what, "[", i, "] has ",
             *bad);
  }
}

/// Rejects sequences to score that the model cannot read, or whose prompts are not theirs.
inline void check_sequences(const char* function, const DecoderSpec& spec,
                            const std::vector<at::Tensor>& sequences,
                            const std::vector<std::int64_t>& prompt_lengths, int threads) {
  check_tokens(function, "sequences", spec, sequences, 0);
  if (prompt_lengths.size() != sequences.size())
    reject(function, "prompt_lengths must have one per sequence, ", sequences.size(), "; got ",
           prompt_lengths.size());
  if (threads < 1) reject(function, "threads must be >= 1; got ", threads);
  for (std::size_t i = 0; i < sequences.size(); ++i)
    if (prompt_lengths[i] < 1 || prompt_lengths[i] > sequences[i].size(0))
      reject(function, "prompt_lengths[", i, "] must be in [1, ", sequences[i].size(0), "]; got ",
             prompt_lengths[i]);
}

inline std::int64_t longest(const std::vector<at::Tensor>& sequences) {
  std::int64_t length = 0;
  for (const at::Tensor& tokens : sequences) length = std::max(length, tokens.size(0));
  return length;
}

}  // namespace r1::engine
