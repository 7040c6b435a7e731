#pragma once
#include <cstdint>
#include <memory>

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
        keys_(new float[spec.layers.size() * layer_size()]),
        values_(new float[spec.layers.size() * layer_size()]) {}

  std::int64_t capacity() const { return capacity_; }

  /// Stores one position of one layer from lane `lane` of panels [kv_heads * head_dim, 16].
  void write(std::size_t layer, std::int64_t position, const float* key_panel,
             const float* value_panel, int lane) {
    for (std::int64_t head = 0; head < kv_heads_; ++head) {
      const std::int64_t block = head * (capacity_ / 16) + position / 16;
      float* key = keys_.get() + layer * layer_size() + block * head_dim_ * 16 + position % 16;
      float* value =
          values_.get() + layer * layer_size() + (head * capacity_ + position) * head_dim_;
      for (std::int64_t k = 0; k < head_dim_; ++k) {
        key[k * 16] = key_panel[(head * head_dim_ + k) * 16 + lane];
        value[k] = value_panel[(head * head_dim_ + k) * 16 + lane];
      }
    }
  }

  kernels::KvSpan span(std::size_t layer, std::int64_t begin, std::int64_t end) const {
    return {keys_.get() + layer * layer_size(), values_.get() + layer * layer_size(), capacity_,
            begin, end};
  }

 private:
  std::size_t layer_size() const {
    return static_cast<std::size_t>(kv_heads_ * capacity_ * head_dim_);
  }

  std::int64_t kv_heads_, head_dim_, capacity_;
  std::unique_ptr<float[]> keys_, values_;
};

}  // namespace r1::engine
