#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "csrc/engine/buffer.h"
#include "csrc/engine/kv_cache.h"
#include "csrc/engine/spec.h"
#include "csrc/engine/team.h"
#include "csrc/engine/trace.h"

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
  std::int64_t traced;         // its row of the trace, where there is one

  std::int64_t position() const { return prompt_length + own_length - 1; }
};

/// What one thread keeps to itself, and its place in the crew that runs a block.
struct Member {
  /// @param max_prompt, max_own  longest stretches that any row will see
  Member(const DecoderSpec& spec, std::int64_t max_prompt, std::int64_t max_own);

  Crew crew{};
  Buffer normed;                   // panels [panel][hidden][16]
  Buffer low;                      // panels [panel][rank][16]
  Buffer key, value;               // of a panel, by rows: [16][kv_heads * head_dim]
  Buffer query, output, scores;    // of a panel's query heads that read one head, by rows
  Buffer hidden;                   // of a panel, by rows
  Buffer logits;                   // of a panel, by rows: [16][vocab]
  std::int64_t logits_panel = -1;  // which; -1: none since the last head
};

/// Runs blocks of rows through the model, each thread of a crew its part of every layer. 16 rows
/// share a panel, one per SIMD lane, and nothing a row computes depends on the rows beside it.
class Decoder {
 public:
  /// Rows of a block: enough that reading the weights costs less than using them, few enough that
  /// their activations stay in the L2 cache.
  static constexpr std::int64_t kMaxRows = 64;

  /// @param trace  what it makes of each row goes there, too; or null
  Decoder(const DecoderSpec& spec, const RotaryTable& rotary, Trace* trace);

  /// Writes the keys and values of `rows` (at most kMaxRows), then computes their hidden states.
  /// Rows of one sequence may share a block, in order. Every member calls it with the same rows.
  void forward(Member& member, std::span<const Row> rows) noexcept;

  /// Then the logits of some of these rows, by index. Every member calls it.
  void head(Member& member, std::span<const std::int64_t> wanted) noexcept;

  /// Logits of the i-th wanted row, [vocab], in the member's memory: until its next call.
  const float* logits(Member& member, std::int64_t i) const noexcept;

 private:
  void embed(const Crew& crew, std::span<const Row> rows) noexcept;
  void project_heads(Member& member, std::size_t layer, std::span<const Row> rows) noexcept;
  std::pair<kernels::KvSpan, kernels::KvSpan> visible(std::size_t layer, std::int64_t head,
                                                      const Row& row) const noexcept;
  void attend(Member& member, std::size_t layer, std::span<const Row> rows) noexcept;
  void attend_panel(Member& member, std::size_t layer, std::span<const Row> rows, Range some,
                    std::int64_t head) noexcept;
  void feed_forward(Member& member, const LayerSpec& layer) noexcept;
  void keep_output(Member& member, std::size_t layer, std::span<const Row> rows) noexcept;
  void normalize(const Buffer& x, const at::Tensor& weight, Buffer& y) noexcept;
  void rotate(const std::optional<at::Tensor>& norm, std::int64_t count, Range heads,
              Buffer& x) noexcept;

  const DecoderSpec& spec_;
  const RotaryTable& rotary_;
  Trace* const trace_;
  // Panels [panel][width][16] that the crew shares:
  Buffer hidden_, query_, key_, value_, gate_, up_, cos_, sin_, head_out_;
  std::int64_t panels_ = 0;  // of the last forward
};

}  // namespace r1::engine
