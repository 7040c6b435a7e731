#include "csrc/engine/fingerprint.h"

#include <algorithm>
#include <cstring>

namespace r1::engine {
namespace {

/// Eight chains side by side, since a multiplication takes longer than the eight bytes it waits
/// for. Each step is one to one, so two inputs that differ in one place never agree.
class Digest {
 public:
  void add(const void* data, std::size_t bytes) {
    const auto* const from = static_cast<const unsigned char*>(data);
    for (std::size_t at = 0; at < bytes; at += sizeof(Block)) {
      Block block{};
      std::memcpy(block.words, from + at, std::min(sizeof(Block), bytes - at));
      for (int i = 0; i < kChains; ++i) chains_[i] = (chains_[i] ^ block.words[i]) * kFactor;
    }
  }
  template <class Value>
  void add(const Value& value) {
    add(&value, sizeof value);
  }
  void add(const at::Tensor& tensor) {
    add(static_cast<int>(tensor.scalar_type()));
    for (const std::int64_t size : tensor.sizes()) add(size);
    add(tensor.const_data_ptr(), tensor.nbytes());
  }
  void add(const std::optional<at::Tensor>& tensor) {
    add(tensor.has_value());
    if (tensor) add(*tensor);
  }
  void add(const Linear& linear) {
    add(linear.weight);
    add(linear.bias);
    add(linear.low_rank.has_value());
    if (!linear.low_rank) return;
    add(linear.low_rank->a);
    add(linear.low_rank->b);
    add(linear.low_rank->scale);
  }
  std::uint64_t value() const {
    std::uint64_t mixed = 0;
    for (const std::uint64_t chain : chains_) {
      mixed = (mixed ^ chain) * kFactor;
      mixed ^= mixed >> 32;
    }
    return mixed;
  }

 private:
  static constexpr int kChains = 8;
  static constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15;  // odd
  struct Block {
    std::uint64_t words[kChains];
  };
  std::uint64_t chains_[kChains] = {1, 2, 3, 4, 5, 6, 7, 8};
};

}  // namespace

std::uint64_t fingerprint(const DecoderSpec& spec) {
  Digest digest;
  for (const std::int64_t size : {spec.heads, spec.kv_heads, spec.head_dim}) digest.add(size);
  digest.add(spec.norm_eps);
  digest.add(spec.embedding_scale);
  digest.add(spec.activation);
  digest.add(spec.inverse_frequencies);
  digest.add(spec.embedding);
  for (const LayerSpec& layer : spec.layers) {
    for (const at::Tensor* norm : {&layer.input_norm, &layer.feed_forward_norm}) digest.add(*norm);
    digest.add(layer.query_norm);
    digest.add(layer.key_norm);
    for (const Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate,
                                 &layer.up, &layer.down})
      digest.add(*linear);
    digest.add(layer.window);
  }
  digest.add(spec.final_norm);
  return digest.value();
}

}  // namespace r1::engine
