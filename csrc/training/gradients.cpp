#include <ATen/ops/empty.h>

#include <algorithm>

#include "csrc/training/backward.h"

/// What a backward pass allocates before it begins: its results and its buffers.
namespace r1::training {
namespace {

/// Hands out the gradients in the order of `parameters_of`.
class Sinks {
 public:
  Sinks(const std::vector<bool>& wanted, Gradients& gradients)
      : wanted_(wanted), gradients_(gradients) {}

  /// Null where nobody wants it.
  float* next(const at::Tensor& parameter) {
    const bool wanted = wanted_[gradients_.size()];
    gradients_.push_back(wanted ? at::empty(parameter.sizes(), at::kFloat) : at::Tensor());
    any_ |= wanted;
    return wanted ? gradients_.back().mutable_data_ptr<float>() : nullptr;
  }
  LinearGradient next(const Linear& linear) {
    LinearGradient to;
    to.weight = next(linear.weight);
    if (linear.bias) to.bias = next(*linear.bias);
    if (!linear.low_rank) return to;
    to.a = next(linear.low_rank->a);
    to.b = next(linear.low_rank->b);
    return to;
  }
  bool any() const { return any_; }

 private:
  const std::vector<bool>& wanted_;
  Gradients& gradients_;
  bool any_ = false;
};

}  // namespace

Backward::Backward(Forward& forward, const float* grad_hidden, const std::vector<bool>& wanted)
    : forward_(forward),
      spec_(forward.spec_),
      grad_hidden_(grad_hidden),
      panels_(forward.panels()) {
  allocate_gradients(wanted);
  const std::int64_t rows = panels_ * kLanes, hidden = spec_.hidden();
  const std::int64_t query = spec_.heads * spec_.head_dim, kv = spec_.kv_heads * spec_.head_dim;
  const std::int64_t wide = forward.wide_, targets = forward.target_panels() * kLanes;
  for (Buffer* buffer : {&out_, &middle_}) *buffer = Buffer(rows * hidden);
  attention_ = Buffer(rows * query);
  query_ = Buffer(rows * query);
  key_ = Buffer(rows * kv);
  value_ = Buffer(rows * kv);
  for (Buffer* buffer : {&gate_, &up_}) *buffer = Buffer(rows * wide);
  for (Buffer* buffer : {&input_rows_, &normed_rows_})
    *buffer = Buffer(kernels::rows_size(panels_, hidden));
  mix_rows_ = Buffer(kernels::rows_size(panels_, wide));
  attention_rows_ = Buffer(kernels::rows_size(panels_, query));
  input_sums_ = Buffer(panels_ * hidden);
  norm_sums_ = Buffer(std::max(panels_, forward.target_panels()) * hidden);
  for (Buffer* sums : {&query_norm_sums_, &key_norm_sums_})
    *sums = Buffer(panels_ * spec_.head_dim);
  target_x_ = Buffer(targets * hidden);
  target_gradient_ = Buffer(targets * hidden);
  if (spec_.layers.empty()) return;
  // Layers have pairs of one rank, or none, as a rule; each tape holds the largest.
  for (const LayerSpec& layer : spec_.layers) {
    const Linear* const linears[] = {&layer.query, &layer.key, &layer.value, &layer.output,
                                     &layer.gate,  &layer.up,  &layer.down};
    for (int i = 0; i < 7; ++i) {
      LowRankTape tape(*linears[i], panels_);
      if (tape.low.size() > low_[i].low.size()) low_[i] = std::move(tape);
    }
  }
}

void Backward::allocate_gradients(const std::vector<bool>& wanted) {
  Sinks sinks(wanted, gradients_);
  const std::size_t count = spec_.layers.size();
  embedding_ = sinks.next(spec_.embedding);
  first_layer_ = embedding_ ? 0 : count;
  for (std::size_t i = 0; i < count; ++i) {
    const LayerSpec& layer = spec_.layers[i];
    LayerGradient to;
    to.input_norm = sinks.next(layer.input_norm);
    to.query = sinks.next(layer.query);
    to.key = sinks.next(layer.key);
    to.value = sinks.next(layer.value);
    to.output = sinks.next(layer.output);
    if (layer.query_norm) to.query_norm = sinks.next(*layer.query_norm);
    if (layer.key_norm) to.key_norm = sinks.next(*layer.key_norm);
    to.feed_forward_norm = sinks.next(layer.feed_forward_norm);
    to.gate = sinks.next(layer.gate);
    to.up = sinks.next(layer.up);
    to.down = sinks.next(layer.down);
    layers_.push_back(to);
    if (sinks.any()) first_layer_ = std::min(first_layer_, i);
  }
  final_norm_ = sinks.next(spec_.final_norm);
}

}  // namespace r1::training
