#include "csrc/training/forward.h"

namespace r1::training {
namespace {

void add(const Linear& linear, std::vector<at::Tensor>& to) {
  to.push_back(linear.weight);
  if (linear.bias) to.push_back(*linear.bias);
  if (!linear.low_rank) return;
  to.push_back(linear.low_rank->a);
  to.push_back(linear.low_rank->b);
}

}  // namespace

std::vector<at::Tensor> parameters_of(const DecoderSpec& spec) {
  std::vector<at::Tensor> all{spec.embedding};
  for (const LayerSpec& layer : spec.layers) {
    all.push_back(layer.input_norm);
    for (const Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.output})
      add(*linear, all);
    if (layer.query_norm) all.push_back(*layer.query_norm);
    if (layer.key_norm) all.push_back(*layer.key_norm);
    all.push_back(layer.feed_forward_norm);
    for (const Linear* linear : {&layer.gate, &layer.up, &layer.down}) add(*linear, all);
  }
  all.push_back(spec.final_norm);
  return all;
}

}  // namespace r1::training
