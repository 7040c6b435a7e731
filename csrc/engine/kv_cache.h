#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "csrc/engine/buffer.h"
#include "csrc/engine/spec.h"
#include "csrc/engine/team.h"
#include "kernels/attention.h"
#include "kernels/lanes.h"

namespace r1::engine {

/// Keys and values of one stretch of a sequence (a prompt, or one completion) in every layer.
///
/// The memory is left uninitialised: a long `capacity` costs address space, not memory, until its
/// positions are written.
class KvCache {
 public:
  KvCache(const DecoderSpec& spec, std::int64_t positions)
      : KvCache(spec, positions, static_cast<std::int64_t>(spec.layers.size())) {}
  /// @param layers  that it has room for, where a caller needs a few at a time
  KvCache(const DecoderSpec& spec, std::int64_t positions, std::int64_t layers)
      : kv_heads_(spec.kv_heads),
        head_dim_(spec.head_dim),
        capacity_((positions + 15) / 16 * 16),
        keys_(Buffer::unpooled(layers * kv_heads_ * head_size())),
        values_(Buffer::unpooled(keys_.size())) {}

  /// Stores one position of the heads in `heads`.
  ///
  /// @param key, value  [heads.count() * head_dim]
  void write(std::size_t layer, Range heads, std::int64_t position, const float* key,
             const float* value) {
    for (std::int64_t head = heads.begin; head < heads.end; ++head) {
      float* const to =
          keys_.data() + offset(layer, head) + position / 16 * head_dim_ * 16 + position % 16;
      for (std::int64_t k = 0; k < head_dim_; ++k) to[k * 16] = key[k];
      key += head_dim_;
      std::copy_n(value, head_dim_, values_.data() + offset(layer, head) + position * head_dim_);
      value += head_dim_;
    }
  }

  /// Stores `count` positions of every head, of one block of 16, from a tile's first lanes.
  ///
  /// @param key, value  [kv_heads * head_dim, 16]
  void write_tile(std::size_t layer, std::int64_t position, std::int64_t count, const float* key,
                  const float* value) {
    for (std::int64_t head = 0; head < kv_heads_; ++head) {
      const std::int64_t start = head * head_dim_ * 16, to = offset(layer, head);
      R1_CPU(copy_lanes_cpu)
      (key + start, count, head_dim_,
       keys_.data() + to + position / 16 * head_dim_ * 16 + position % 16);
      R1_CPU(lanes_to_rows_cpu)
      (value + start, count, head_dim_, values_.data() + to + position * head_dim_, head_dim_);
    }
  }

  kernels::KvSpan span(std::size_t layer, std::int64_t head, Range visible) const {
    return {keys_.data() + offset(layer, head), values_.data() + offset(layer, head), visible.begin,
            visible.end};
  }

 private:
  std::int64_t head_size() const { return capacity_ * head_dim_; }
  std::int64_t offset(std::size_t layer, std::int64_t head) const {
    return (static_cast<std::int64_t>(layer) * kv_heads_ + head) * head_size();
  }

  std::int64_t kv_heads_, head_dim_, capacity_;
  Buffer keys_, values_;
};

/// Caches of one capacity that take turns: memory is allocated until the most that are in use at
/// once exist.
class KvPool {
 public:
  KvPool(const DecoderSpec& spec, std::int64_t positions) : spec_(spec), positions_(positions) {}

  std::unique_ptr<KvCache> take() {
    if (spare_.empty()) return std::make_unique<KvCache>(spec_, positions_);
    std::unique_ptr<KvCache> cache = std::move(spare_.back());
    spare_.pop_back();
    return cache;
  }
  void give_back(std::unique_ptr<KvCache> cache) { spare_.push_back(std::move(cache)); }

 private:
  const DecoderSpec& spec_;
  std::int64_t positions_;
  std::vector<std::unique_ptr<KvCache>> spare_;
};

}  // namespace r1::engine
