#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "csrc/engine/buffer.h"
#include "csrc/engine/spec.h"

namespace r1::engine {

/// What the decoder made of the tokens it ran, kept for the update that learns from them: of each
/// layer its attention, before the projection, and its output. With these a forward pass over the
/// same tokens has the same activations without the attention and the down projection.
///
/// Found by the tokens themselves: what a model makes of one depends on those before it, and on
/// where the prompt among them ends, and on nothing else.
class Trace {
 public:
  /// Room for prompts, and n completions each of at most `max_new_tokens`.
  Trace(const DecoderSpec& spec, const std::vector<at::Tensor>& prompts, std::int64_t n,
        std::int64_t max_new_tokens);
  /// Memory that one takes.
  static std::int64_t bytes(const DecoderSpec& spec, const std::vector<at::Tensor>& prompts,
                            std::int64_t n, std::int64_t max_new_tokens);

  /// The row of a prompt's first token, or of a completion's; the others follow.
  std::int64_t prompt(std::int64_t p) const { return starts_[static_cast<std::size_t>(p)]; }
  std::int64_t completion(std::int64_t row) const { return starts_.back() + row * longest_; }

  /// [heads * head_dim] and [hidden]
  float* attention(std::size_t layer, std::int64_t row) { return floats_.data() + at(layer, row); }
  float* output(std::size_t layer, std::int64_t row) { return attention(layer, row) + attention_; }
  const float* attention(std::size_t layer, std::int64_t row) const {
    return floats_.data() + at(layer, row);
  }
  const float* output(std::size_t layer, std::int64_t row) const {
    return attention(layer, row) + attention_;
  }

  /// Takes note of what was drawn, int64 [N, T] and [N]; then it can be found.
  void note(const at::Tensor& tokens, const at::Tensor& lengths);
  /// A completion's number, or none; its prompt's is that over n.
  std::optional<std::int64_t> find(const at::Tensor& sequence, std::int64_t prompt_length) const;
  std::int64_t n() const { return n_; }
  /// Of the weights that made it.
  std::uint64_t fingerprint() const { return fingerprint_; }
  /// Throws std::invalid_argument unless its rows are those of this model's layers.
  void check(const char* function, const DecoderSpec& spec) const;

 private:
  std::int64_t at(std::size_t layer, std::int64_t row) const {
    return (static_cast<std::int64_t>(layer) * rows_ + row) * (attention_ + hidden_);
  }

  const std::uint64_t fingerprint_;
  const std::vector<at::Tensor> prompts_;
  const std::int64_t n_, longest_, attention_, hidden_;
  std::vector<std::int64_t> starts_;  // of each prompt, then of the completions
  std::int64_t rows_;                 // of a layer
  Buffer floats_;                     // [layer][row][attention + hidden]
  std::map<std::vector<std::int64_t>, std::int64_t> found_;  // by prompt length, then tokens
};

}  // namespace r1::engine
