#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "csrc/engine/buffer.h"
#include "csrc/engine/kv_cache.h"
#include "csrc/engine/spec.h"

namespace r1::engine {

/// cos and sin of every position's rotary angles, made once per call.
class RotaryTable {
 public:
  RotaryTable(const DecoderSpec& spec, std::int64_t positions);
  /// [head_dim / 2]
  const float* cos(std::int64_t position) const { return cos_.data() + position * half_; }
  const float* sin(std::int64_t position) const { return sin_.data() + position * half_; }

 private:
  std::int64_t half_;
  std::vector<float> cos_, sin_;
};

/// One token of one sequence. It sees its prompt, then its own stretch up to and including itself.
struct Row {
  std::int64_t token;
  KvCache* prompt;             // the prompt's, read; also written where `own` is null
  std::int64_t prompt_length;  // positions of the prompt it sees, itself included if it is in there
  KvCache* own;                // the completion's; null for a token of the prompt
  std::int64_t own_length;     // positions of the completion, itself included

  std::int64_t position() const { return prompt_length + own_length - 1; }
};

/// Runs blocks of rows through the model; each thread has its own. 16 rows share a panel, one per
/// SIMD lane, and nothing a row computes depends on the rows beside it.
class Decoder {
 public:
  static constexpr std::int64_t kMaxRows = 64;

  /// @param max_prompt, max_own  longest stretches that any row will see
  Decoder(const DecoderSpec& spec, const RotaryTable& rotary, std::int64_t max_prompt,
          std::int64_t max_own);

  /// Writes the keys and values of `rows` (at most kMaxRows), then computes their hidden states.
  /// Rows of one sequence may share a call, in order. Follow with `logits`.
  void forward(std::span<const Row> rows);

  /// Logits of rows [begin, end) of the last `forward`. @return [end - begin, vocab], until next
  /// call
  const float* logits(std::int64_t begin, std::int64_t end);

 private:
  void embed(std::span<const Row> rows);
  void attend(std::size_t layer, std::span<const Row> rows);
  void feed_forward(const LayerSpec& layer);
  void project(const Linear& linear, const Buffer& x, Buffer& y, bool add);
  void normalize(const Buffer& x, const at::Tensor& weight, std::int64_t groups, Buffer& y);

  const DecoderSpec& spec_;
  const RotaryTable& rotary_;
  std::int64_t panels_ = 0;  // of the last forward
  // Panels [panel][width][16]:
  Buffer hidden_, normed_, query_, key_, value_, gate_, up_, cos_, sin_, head_out_;
  Buffer query_row_, output_row_, scores_, logits_;
};

}  // namespace r1::engine
