#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "csrc/engine/decoder.h"
#include "csrc/engine/kv_cache.h"
#include "csrc/engine/spec.h"
#include "csrc/engine/team.h"
#include "csrc/engine/trace.h"
#include "csrc/training/linear_gradient.h"
#include "csrc/training/packing.h"

namespace r1::training {

using engine::DecoderSpec;
using engine::KvCache;
using engine::LayerSpec;
using engine::Team;
using engine::Trace;

/// Panels that go through a layer together: enough to be worth reading its weights for, few enough
/// that their widest activations stay in the cache.
constexpr std::int64_t kMostPanels = 16, kFewestPanels = 4, kBlockBytes = 3 << 19;

/// What a forward pass keeps for the backward pass.
enum class Keep {
  nothing,  // scoring
  layers,   // each layer's input: the rest is computed again (gradient checkpointing)
  all,
};

/// One layer's activations, panels [panel][width][16] of all rows.
struct LayerTape {
  Buffer query_raw, key_raw;  // before their norm, where the layer has one
  Buffer query;               // rotated
  Buffer attention;
  Buffer middle;  // after attention and its residual
  Buffer gate, up;
};

/// What one thread keeps to itself.
struct Worker {
  Crew crew{};
  Range panels{};  // its part of the rows
  Buffer normed, low, mix, key, value, scores;
  Buffer rows;  // of a panel
  Buffer tile;  // queries and outputs, or keys and values
  // Of the backward pass; weights of attention, and packed ones of a projection.
  Buffer normed_gradient, weights, strip;
};

/// What a tile's lanes see: of the prompt, then of their own stretch, the positions [begin, end).
/// Lanes without a row see what the last one does.
struct TileSpans {
  std::int64_t begins[2][engine::kLanes], ends[2][engine::kLanes];
};

/// Gradients of a model's parameters, like `parameters_of(spec)`; undefined where not wanted.
using Gradients = std::vector<at::Tensor>;

/// The decoder as one differentiable function: packed sequences in, the final hidden state before
/// each completion token out. The kernels are those that sample, so a token's hidden state has the
/// bits that it had when it was drawn, whatever is packed beside it, for any number of threads. The
/// gradients do not depend on the number of threads either.
class Forward {
 public:
  /// @param trace  of the same weights, or null; used where it holds all of the sequences and the
  ///               activations are kept
  /// @throws std::invalid_argument  a sequence that is empty, out of range or beyond the context
  Forward(const DecoderSpec& spec, std::vector<at::Tensor> sequences,
          std::vector<std::int64_t> prompt_lengths, Keep keep, int threads,
          std::shared_ptr<const Trace> trace = nullptr);

  /// @param poll  called on the calling thread about every 100 ms; may throw
  /// @return float32 [M, hidden], a row per completion token
  at::Tensor run(const std::function<void()>& poll);

  /// The backward pass, after `run`.
  ///
  /// @param grad_hidden  float32 [M, hidden]
  /// @param wanted       which of `parameters_of(spec)` want a gradient
  Gradients backward(const at::Tensor& grad_hidden, const std::vector<bool>& wanted,
                     const std::function<void()>& poll);

  /// Whether a trace spares part of `run`; before it.
  bool traced() const { return trace_ != nullptr; }

  /// Tokens that run through the layers: of each group its prompt once, and no padding.
  std::int64_t rows() const { return static_cast<std::int64_t>(packing_.rows.size()); }

 private:
  friend class Backward;

  void prepare(Worker& worker, int rank, Team& team) const;
  void run_layers(Worker& worker) noexcept;
  void embed(Worker& worker) noexcept;
  void project_heads(Worker& worker, std::size_t layer, LayerTape& tape) noexcept;
  void attend_tile(Worker& worker, std::size_t layer, LayerTape& tape, Range rows) noexcept;
  void attend(Worker& worker, std::size_t layer, LayerTape& tape) noexcept;
  void feed_forward(Worker& worker, std::size_t layer, LayerTape& tape) noexcept;
  void finish(Worker& worker, float* hidden) noexcept;
  void normalize(const float* x, std::int64_t panels, const at::Tensor& weight,
                 float* y) const noexcept;
  void rotate(const std::optional<at::Tensor>& norm, std::int64_t heads, std::int64_t panel,
              const float* x, float* y) const noexcept;
  TileSpans spans(std::size_t layer, Range rows) const noexcept;
  kernels::KvLanes seen(std::size_t layer, std::int64_t head, std::size_t part,
                        const TileSpans& spans, int which) const noexcept;
  Range rows_of(Range panels) const;
  void gather(std::int64_t target_panel, float* x) const noexcept;
  void attend_block(Worker& worker, std::size_t layer, Range block, LayerTape& tape) noexcept;
  void look_up(const std::vector<std::int64_t>& prompt_lengths);
  void recall_attention(Worker& worker, std::size_t layer, Range block, LayerTape& tape) noexcept;
  void recall_output(Worker& worker, std::size_t layer, Range block, Buffer& to) noexcept;
  template <class Find>
  void recall(Worker& worker, Range block, std::int64_t width, Buffer& to,
              const Find& find) noexcept;

  std::size_t slot(std::size_t layer) const { return keep_ == Keep::all ? layer : layer % 2; }
  Buffer& input(std::size_t layer) { return inputs_[keep_ == Keep::nothing ? 0 : layer]; }
  const Buffer& output() const { return inputs_.back(); }
  LayerTape& tape(std::size_t layer) { return tapes_[keep_ == Keep::all ? layer : 0]; }
  std::int64_t panels() const { return engine::panels_of(packing_.rows.size()); }
  std::int64_t target_panels() const { return engine::panels_of(packing_.targets.size()); }

  const DecoderSpec spec_;
  const std::vector<at::Tensor> sequences_;
  const Keep keep_;
  const int threads_;
  const Packing packing_;
  const engine::RotaryTable rotary_;
  std::int64_t wide_ = 0;                         // of the widest feed-forward layer
  std::int64_t block_;                            // panels that go through a layer together
  std::vector<std::unique_ptr<KvCache>> caches_;  // of each part
  std::vector<Buffer> inputs_;                    // of each layer, then the last one's output
  std::vector<LayerTape> tapes_;
  std::shared_ptr<const Trace> trace_;  // null where it is not used
  std::vector<std::int64_t> traced_;    // of each part, its first row there
  Buffer cos_, sin_;
};

/// The model's parameters in the order of `Gradients`: embedding; of each layer input_norm, query,
/// key, value, output, query_norm, key_norm, feed_forward_norm, gate, up, down; final_norm. A
/// projection counts as weight, bias, a, b, of which it may lack all but the first. Not the head.
std::vector<at::Tensor> parameters_of(const DecoderSpec& spec);

}  // namespace r1::training
