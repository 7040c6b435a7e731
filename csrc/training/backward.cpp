#include "csrc/training/backward.h"

#include <algorithm>

#include "csrc/check.h"
#include "csrc/engine/lanes.h"
#include "kernels/geglu.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace r1::training {
namespace {

using engine::data;

}  // namespace

void Backward::run(int rank, Team& team) noexcept {
  Worker worker;
  forward_.prepare(worker, rank, team);
  const Crew& crew = worker.crew;
  if (embedding_) engine::fill_zero(crew, gradients_[0]);  // tokens that do not occur
  from_targets(worker);
  for (std::size_t layer = spec_.layers.size(); layer-- > first_layer_;) {
    if (forward_.keep_ == Keep::layers) {
      LayerTape& tape = forward_.tape(layer);
      forward_.project_heads(worker, layer, tape);
      crew.meet();
      forward_.attend(worker, layer, tape);
      forward_.feed_forward(worker, layer, tape);
    }
    feed_forward(worker, layer);
    if (crew.rank == 0) next_unit_ = 0;
    crew.meet();
    feed_forward_parameters(worker, layer);
    attention(worker, layer);
    crew.meet();
    heads(worker, layer);
    crew.meet();
    heads_parameters(worker, layer);  // what it reads, the layer below does not write at once
  }
  if (first_layer_ == 0) embedding(worker);
}

/// From the hidden states before the targets, through the final norm, to the last layer's output.
void Backward::from_targets(Worker& worker) noexcept {
  const Packing& packing = forward_.packing_;
  const std::int64_t hidden = spec_.hidden(), panels = forward_.target_panels();
  const auto targets = static_cast<std::int64_t>(packing.targets.size());
  const Range mine = worker.crew.share(panels);
  for (std::int64_t panel = mine.begin; panel < mine.end; ++panel) {
    float* const gradient = target_gradient_.data() + panel * hidden * kLanes;
    forward_.gather(panel, target_x_.data() + panel * hidden * kLanes);
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const std::int64_t i = panel * kLanes + lane;
      for (std::int64_t k = 0; k < hidden; ++k)
        gradient[k * kLanes + lane] = i < targets ? grad_hidden_[i * hidden + k] : 0.f;
    }
  }
  const std::int64_t start = mine.begin * hidden * kLanes;
  float* const gradients = target_gradient_.data() + start;
  R1_CPU(rms_norm_backward_cpu)
  (target_x_.data() + start, gradients, mine.count(), 1, hidden, data(spec_.final_norm),
   static_cast<float>(spec_.norm_eps), nullptr, gradients,
   final_norm_ ? norm_sums_.data() + mine.begin * hidden : nullptr);
  worker.crew.meet();
  norm_parameter(worker.crew, norm_sums_, panels, hidden, final_norm_);
  // A prompt's last row precedes the first token of every completion: targets in order.
  const Range channels = worker.crew.share(hidden);
  for (std::int64_t panel = 0; panel < panels_; ++panel)
    std::fill(out_.data() + (panel * hidden + channels.begin) * kLanes,
              out_.data() + (panel * hidden + channels.end) * kLanes, 0.f);
  for (std::int64_t i = 0; i < targets; ++i) {
    const std::int64_t r = packing.targets[static_cast<std::size_t>(i)];
    const float* const from = target_gradient_.data() + i / kLanes * hidden * kLanes + i % kLanes;
    float* const to = out_.data() + r / kLanes * hidden * kLanes + r % kLanes;
    for (std::int64_t k = channels.begin; k < channels.end; ++k) to[k * kLanes] += from[k * kLanes];
  }
  worker.crew.meet();
}

/// What the gradient of a weight reads of a block of panels.
void Backward::by_rows(const float* x, Range block, std::int64_t width,
                       Buffer& rows) const noexcept {
  R1_CPU(linear_rows_cpu)
  (x - block.begin * width * kLanes, block.begin, block.end, panels_, width, rows.data());
}

/// This thread's channels of a norm's gradient, from the panels' sums.
void Backward::norm_parameter(const Crew& crew, const Buffer& sums, std::int64_t panels,
                              std::int64_t width, float* to) const noexcept {
  if (!to) return;
  const Range mine = crew.share(width);
  R1_CPU(rms_norm_weight_gradient_cpu)(sums.data(), panels, width, mine.begin, mine.end, to);
}

/// From a layer's output, `out_`, to its middle, `middle_`, and on through the projection of the
/// attention to `attention_`.
void Backward::feed_forward(Worker& worker, std::size_t index) noexcept {
  const LayerSpec& layer = spec_.layers[index];
  const LayerTape& tape = forward_.tape(index);
  const std::int64_t hidden = spec_.hidden(), wide = layer.gate.weight.size(0);
  const std::int64_t query = spec_.heads * spec_.head_dim;
  float* const strip = worker.strip.data();
  for (std::int64_t begin = worker.panels.begin; begin < worker.panels.end;
       begin += forward_.block_) {
    const Range block{begin, std::min(begin + forward_.block_, worker.panels.end)};
    const std::int64_t count = block.count(), narrow = begin * hidden * kLanes;
    const std::int64_t broad = begin * wide * kLanes;
    float* const normed = worker.normed.data();
    float* const mix = worker.mix.data();
    float* const gradient = worker.normed_gradient.data();
    forward_.normalize(tape.middle.data() + narrow, count, layer.feed_forward_norm, normed);
    if (layer.down.low_rank)  // s a x needs x, which the next kernel would only give afterwards
      (spec_.activation == engine::Activation::silu ? R1_CPU(swiglu_cpu) : R1_CPU(geglu_cpu))(
          tape.gate.data() + broad, tape.up.data() + broad, count * wide * kLanes,
          gate_.data() + broad);
    input_gradient(layer.down, out_.data() + narrow, gate_.data() + broad, block, panels_, low_[6],
                   strip, mix, false);
    (spec_.activation == engine::Activation::silu ? R1_CPU(swiglu_backward_cpu)
                                                  : R1_CPU(geglu_backward_cpu))(
        tape.gate.data() + broad, tape.up.data() + broad, mix, count * wide * kLanes,
        gate_.data() + broad, up_.data() + broad, mix);
    by_rows(normed, block, hidden, normed_rows_);
    by_rows(mix, block, wide, mix_rows_);
    by_rows(tape.attention.data() + begin * query * kLanes, block, query, attention_rows_);
    input_gradient(layer.gate, gate_.data() + broad, normed, block, panels_, low_[4], strip,
                   gradient, false);
    input_gradient(layer.up, up_.data() + broad, normed, block, panels_, low_[5], strip, gradient,
                   true);
    R1_CPU(rms_norm_backward_cpu)
    (tape.middle.data() + narrow, gradient, count, 1, hidden, data(layer.feed_forward_norm),
     static_cast<float>(spec_.norm_eps), out_.data() + narrow, middle_.data() + narrow,
     layers_[index].feed_forward_norm ? norm_sums_.data() + begin * hidden : nullptr);
    input_gradient(layer.output, middle_.data() + narrow,
                   tape.attention.data() + begin * query * kLanes, block, panels_, low_[3], strip,
                   attention_.data() + begin * query * kLanes, false);
  }
}

void Backward::feed_forward_parameters(Worker& worker, std::size_t index) noexcept {
  const LayerSpec& layer = spec_.layers[index];
  const LayerGradient& to = layers_[index];
  const Crew& crew = worker.crew;
  parameter_gradient(layer.down, to.down, out_.data(), mix_rows_.data(), panels_, low_[6], crew,
                     false);
  parameter_gradient(layer.gate, to.gate, gate_.data(), normed_rows_.data(), panels_, low_[4], crew,
                     false);
  parameter_gradient(layer.up, to.up, up_.data(), normed_rows_.data(), panels_, low_[5], crew,
                     false);
  parameter_gradient(layer.output, to.output, middle_.data(), attention_rows_.data(), panels_,
                     low_[3], crew, false);
  norm_parameter(crew, norm_sums_, panels_, spec_.hidden(), to.feed_forward_norm);
}

/// Through the heads of queries and keys to the layer's input: `out_` of the layer below.
void Backward::heads(Worker& worker, std::size_t index) noexcept {
  const LayerSpec& layer = spec_.layers[index];
  const LayerTape& tape = forward_.tape(index);
  const std::int64_t hidden = spec_.hidden(), width = spec_.head_dim;
  const std::int64_t query = spec_.heads * width, kv = spec_.kv_heads * width;
  float* const strip = worker.strip.data();
  const Buffer& input = forward_.input(index);
  for (std::int64_t begin = worker.panels.begin; begin < worker.panels.end;
       begin += forward_.block_) {
    const Range block{begin, std::min(begin + forward_.block_, worker.panels.end)};
    const std::int64_t count = block.count(), narrow = begin * hidden * kLanes;
    for (std::int64_t panel = block.begin; panel < block.end; ++panel) {
      unrotate(layer.query_norm, spec_.heads, panel, tape.query_raw, query_, query_norm_sums_);
      unrotate(layer.key_norm, spec_.kv_heads, panel, tape.key_raw, key_, key_norm_sums_);
    }
    float* const normed = worker.normed.data();
    float* const gradient = worker.normed_gradient.data();
    forward_.normalize(input.data() + narrow, count, layer.input_norm, normed);
    by_rows(normed, block, hidden, input_rows_);
    input_gradient(layer.query, query_.data() + begin * query * kLanes, normed, block, panels_,
                   low_[0], strip, gradient, false);
    input_gradient(layer.key, key_.data() + begin * kv * kLanes, normed, block, panels_, low_[1],
                   strip, gradient, true);
    input_gradient(layer.value, value_.data() + begin * kv * kLanes, normed, block, panels_,
                   low_[2], strip, gradient, true);
    R1_CPU(rms_norm_backward_cpu)
    (input.data() + narrow, gradient, count, 1, hidden, data(layer.input_norm),
     static_cast<float>(spec_.norm_eps), middle_.data() + narrow, out_.data() + narrow,
     layers_[index].input_norm ? input_sums_.data() + begin * hidden : nullptr);
  }
}

/// A panel's heads back through the rotary embedding and, where there is one, their norm.
void Backward::unrotate(const std::optional<at::Tensor>& norm, std::int64_t heads,
                        std::int64_t panel, const Buffer& raw, Buffer& gradient,
                        Buffer& sums) noexcept {
  const std::int64_t width = spec_.head_dim, start = panel * heads * width * kLanes;
  const std::int64_t angles = panel * width / 2 * kLanes;
  float* const mine = gradient.data() + start;
  R1_CPU(rope_backward_cpu)
  (mine, 1, heads, width, forward_.cos_.data() + angles, forward_.sin_.data() + angles);
  if (norm) R1_CPU(rms_norm_backward_cpu)
  (raw.data() + start, mine, 1, heads, width, data(*norm), static_cast<float>(spec_.norm_eps),
   nullptr, mine, sums.data() + panel * width);
}

void Backward::heads_parameters(Worker& worker, std::size_t index) noexcept {
  const LayerSpec& layer = spec_.layers[index];
  const LayerGradient& to = layers_[index];
  const Crew& crew = worker.crew;
  parameter_gradient(layer.query, to.query, query_.data(), input_rows_.data(), panels_, low_[0],
                     crew, false);
  parameter_gradient(layer.key, to.key, key_.data(), input_rows_.data(), panels_, low_[1], crew,
                     false);
  parameter_gradient(layer.value, to.value, value_.data(), input_rows_.data(), panels_, low_[2],
                     crew, false);
  norm_parameter(crew, input_sums_, panels_, spec_.hidden(), to.input_norm);
  norm_parameter(crew, query_norm_sums_, panels_, spec_.head_dim, to.query_norm);
  norm_parameter(crew, key_norm_sums_, panels_, spec_.head_dim, to.key_norm);
}

/// Rows in order, each thread its channels.
void Backward::embedding(Worker& worker) noexcept {
  if (!embedding_) return;
  const std::int64_t hidden = spec_.hidden();
  const Range channels = worker.crew.share(hidden);
  const auto scale = static_cast<float>(spec_.embedding_scale);
  for (std::size_t i = 0; i < forward_.packing_.rows.size(); ++i) {
    const auto r = static_cast<std::int64_t>(i);
    const float* const from = out_.data() + r / kLanes * hidden * kLanes + r % kLanes;
    float* const to = embedding_ + forward_.packing_.rows[i].token * hidden;
    for (std::int64_t k = channels.begin; k < channels.end; ++k) to[k] += from[k * kLanes] * scale;
  }
}

Gradients Forward::backward(const at::Tensor& grad_hidden, const std::vector<bool>& wanted,
                            const std::function<void()>& poll) {
  const auto targets = static_cast<std::int64_t>(packing_.targets.size());
  if (keep_ == Keep::nothing) reject(__func__, "the forward pass must have kept its activations");
  if (grad_hidden.scalar_type() != at::kFloat || !grad_hidden.is_contiguous() ||
      grad_hidden.sizes() != at::IntArrayRef{targets, spec_.hidden()})
    reject(__func__, "grad_hidden must be contiguous float32 [", targets, ", ", spec_.hidden(),
           "]; got ", grad_hidden.toString(), " ", grad_hidden.sizes());
  if (const std::size_t count = parameters_of(spec_).size(); wanted.size() != count)
    reject(__func__, "wanted must have one per parameter, ", count, "; got ", wanted.size());
  Backward backward(*this, grad_hidden.const_data_ptr<float>(), wanted);
  Team team(threads_);
  team.run([&](int rank) { backward.run(rank, team); }, poll);
  return backward.take();
}

}  // namespace r1::training
