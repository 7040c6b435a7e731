#include <algorithm>
#include <cmath>

#include "csrc/engine/lanes.h"
#include "csrc/training/backward.h"
#include "csrc/training/tile.h"

namespace r1::training {
namespace {

/// The gradients of one head's keys and values in a part, in blocks of 16 positions.
class KvGradient {
 public:
  KvGradient(std::int64_t positions, std::int64_t head_dim)
      : head_dim_(head_dim), size_(in_blocks(positions) * head_dim), gradients_(2 * size_) {}

  /// Begins with another part.
  void begin(std::int64_t positions) {
    for (float* gradient : {gradients_.data(), gradients_.data() + size_})
      std::fill_n(gradient, in_blocks(positions) * head_dim_, 0.f);
  }
  kernels::KvGradients view() { return {gradients_.data(), gradients_.data() + size_}; }
  const float* keys(std::int64_t position) const {
    return gradients_.data() + position * head_dim_;
  }
  const float* values(std::int64_t position) const { return keys(position) + size_; }

 private:
  static std::int64_t in_blocks(std::int64_t positions) {
    return (positions + kLanes - 1) / kLanes * kLanes;
  }

  std::int64_t head_dim_, size_;
  Buffer gradients_;
};

}  // namespace

/// Gradients of queries, keys and values; each thread takes the next group and head.
void Backward::attention(Worker& worker, std::size_t layer) noexcept {
  const std::vector<Packing::Group>& groups = forward_.packing_.groups;
  const auto heads = static_cast<std::size_t>(spec_.kv_heads);
  for (std::size_t unit; (unit = next_unit_++) < groups.size() * heads;)
    attend_group(worker, layer, groups[unit / heads], static_cast<std::int64_t>(unit % heads));
  // Lanes without a row.
  const auto rows = static_cast<std::int64_t>(forward_.packing_.rows.size());
  if (worker.crew.rank != 0) return;
  for (std::int64_t r = rows; r < panels_ * kLanes; ++r)
    for (auto [buffer, width] : {std::pair{&query_, spec_.heads * spec_.head_dim},
                                 std::pair{&key_, spec_.kv_heads * spec_.head_dim},
                                 std::pair{&value_, spec_.kv_heads * spec_.head_dim}})
      for (std::int64_t k = 0; k < width; ++k)
        buffer->data()[(r / kLanes * width + k) * kLanes + r % kLanes] = 0;
}

/// One head of a prompt and its completions: the completions in order, then the prompt.
void Backward::attend_group(Worker& worker, std::size_t layer, const Packing::Group& group,
                            std::int64_t head) noexcept {
  const Packing& packing = forward_.packing_;
  const std::int64_t width = spec_.head_dim, pitch = spec_.kv_heads * width * kLanes;
  std::int64_t longest = 1;
  for (std::size_t p = group.first + 1; p < group.last; ++p)
    longest = std::max(longest, packing.parts[p].count());
  KvGradient prompt(packing.parts[group.first].count(), width), own(longest, width);
  prompt.begin(packing.parts[group.first].count());
  for (std::size_t p = group.first + 1; p <= group.last; ++p) {
    const Packing::Part& part = packing.parts[p < group.last ? p : group.first];
    const Range rows{part.first, part.first + part.count()};
    if (!part.stretch.prompt) own.begin(part.count());
    each_tile(packing, rows, [&](Range tile) {
      attend_tile(worker, layer, tile, head, prompt.view(), own.view());
    });
    const KvGradient& mine = part.stretch.prompt ? prompt : own;
    each_tile(packing, rows, [&](Range tile) {
      const std::int64_t position = tile.begin - part.first, at = head * width * kLanes;
      write_tile(mine.keys(position), tile, width, pitch, key_.data() + at);
      write_tile(mine.values(position), tile, width, pitch, value_.data() + at);
    });
  }
}

/// The query heads of a tile that read one head's keys and values.
void Backward::attend_tile(Worker& worker, std::size_t layer, Range rows, std::int64_t kv_head,
                           const kernels::KvGradients& to_prompt,
                           const kernels::KvGradients& to_own) noexcept {
  const std::int64_t width = spec_.head_dim, size = width * kLanes, pitch = spec_.heads * size;
  const std::int64_t heads = spec_.heads / spec_.kv_heads;
  const Packing::Row& row = forward_.packing_.rows[static_cast<std::size_t>(rows.begin)];
  const TileSpans spans = forward_.spans(layer, rows);
  const kernels::KvLanes prompt =
      forward_.seen(layer, kv_head, forward_.packing_.parts[row.part].prompt, spans, 0);
  const kernels::KvLanes own = forward_.seen(layer, kv_head, row.part, spans, 1);
  float* const query = worker.tile.data();
  float* const dout = query + size;
  float* const dquery = dout + size;
  if (rows.count() < kLanes) std::fill_n(query, 2 * size, 0.f);
  for (std::int64_t head = kv_head * heads; head < (kv_head + 1) * heads; ++head) {
    read_tile(forward_.tape(layer).query.data() + head * size, pitch, rows, width, query);
    read_tile(attention_.data() + head * size, pitch, rows, width, dout);
    R1_CPU(attention_backward_cpu)
    (query, dout, prompt, own, width, 1.f / std::sqrt(static_cast<float>(width)),
     worker.weights.data(), to_prompt, to_own, dquery);
    write_tile(dquery, rows, width, pitch, query_.data() + head * size);
  }
}

}  // namespace r1::training
