#pragma once
#include <cstdint>

#include "csrc/engine/buffer.h"
#include "csrc/engine/spec.h"
#include "kernels/attention.h"

namespace r1::engine {

/// Keys and values of one stretch of a sequence (a prompt, or one completion) in every layer.
///
/// The memory is left uninitialised: a long `capacity` costs address space, not memory, until its
/// positions are written.
class KvCache {
 public:
  KvCache(const DecoderSpec& spec, std::int64_t positions)
      : kv_heads_(spec.kv_heads),
        head_dim_(spec.head_dim),
        capacity_((positions + 15) / 16 * 16),
        keys_(layers(spec) * layer_size()),
        values_(layers(spec) * layer_size()) {}

  std::int64_t capacity() const { return capacity_; }

  /// Stores one position of one layer from lane `lane` of panels [kv_heads * head_dim, 16].
  void write(std::size_t layer, std::int64_t position, const float* key_panel,
             const float* value_panel, int lane) {
    for (std::int64_t head = 0; head < kv_heads_; ++head) {
      const std::int64_t block = head * (capacity_ / 16) + position / 16;
      float* key = layer_of(keys_, layer) + block * head_dim_ * 16 + position % 16;
      float* value = layer_of(values_, layer) + (head * capacity_ + position) * head_dim_;
      for (std::int64_t k = 0; k < head_dim_; ++k) {
        key[k * 16] = key_panel[(head * head_dim_ + k) * 16 + lane];
        value[k] = value_panel[(head * head_dim_ + k) * 16 + lane];
      }
    }
  }

  kernels::KvSpan span(std::size_t layer, std::int64_t begin, std::int64_t end) const {
    return {layer_of(keys_, layer), layer_of(values_, layer), capacity_, begin, end};
  }

 private:
  static std::int64_t layers(const DecoderSpec& spec) {
    return static_cast<std::int64_t>(spec.layers.size());
  }
  std::int64_t layer_size() const { return kv_heads_ * capacity_ * head_dim_; }
  float* layer_of(Buffer& buffer, std::size_t layer) const {
    return buffer.data() + static_cast<std::int64_t>(layer) * layer_size();
  }
  const float* layer_of(const Buffer& buffer, std::size_t layer) const {
    return buffer.data() + static_cast<std::int64_t>(layer) * layer_size();
  }

  std::int64_t kv_heads_, head_dim_, capacity_;
  Buffer keys_, values_;
};

}  // namespace r1::engine
