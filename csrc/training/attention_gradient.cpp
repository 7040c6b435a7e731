#include <algorithm>
#include <cmath>

#include "csrc/engine/lanes.h"
#include "csrc/training/backward.h"
#include "kernels/attention.h"

namespace r1::training {
namespace {

/// A part's keys of one head by position, and the gradients that the backward pass adds to.
class KvGradient {
 public:
  KvGradient(std::int64_t positions, std::int64_t head_dim)
      : head_dim_(head_dim),
        stride_((head_dim + kLanes - 1) / kLanes * kLanes),
        key_rows_(positions * head_dim),
        key_gradients_(positions * stride_),
        value_gradients_(key_gradients_.size()) {}

  /// Begins with the part whose keys and values are `span`, [0, end).
  void begin(const kernels::KvSpan& span) {
    std::fill_n(key_gradients_.data(), span.end * stride_, 0.f);
    std::fill_n(value_gradients_.data(), span.end * stride_, 0.f);
    for (std::int64_t t = 0; t < span.end; ++t)
      for (std::int64_t k = 0; k < head_dim_; ++k)
        key_rows_.data()[t * head_dim_ + k] =
            span.keys[(t / kLanes * head_dim_ + k) * kLanes + t % kLanes];
    values_ = span.values;
  }
  kernels::KvGradients view() {
    return {key_rows_.data(), values_, key_gradients_.data(), value_gradients_.data()};
  }
  const float* key(std::int64_t t) const { return key_gradients_.data() + t * stride_; }
  const float* value(std::int64_t t) const { return value_gradients_.data() + t * stride_; }

 private:
  std::int64_t head_dim_, stride_;
  Buffer key_rows_, key_gradients_, value_gradients_;
  const float* values_ = nullptr;
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
  const std::int64_t width = spec_.head_dim, kv = spec_.kv_heads * width;
  std::int64_t longest = 1;
  for (std::size_t p = group.first + 1; p < group.last; ++p)
    longest = std::max(longest, packing.parts[p].count());
  KvGradient prompt(packing.parts[group.first].count(), width), own(longest, width);
  const auto whole = [&](std::size_t p) {
    return forward_.caches_[p]->span(forward_.slot(layer), head, {0, packing.parts[p].count()});
  };
  const auto move = [&](const float* row, std::int64_t r, float* panels) {
    float* const to = panels + (r / kLanes * kv + head * width) * kLanes + r % kLanes;
    for (std::int64_t k = 0; k < width; ++k) to[k * kLanes] = row[k];
  };
  prompt.begin(whole(group.first));
  for (std::size_t p = group.first + 1; p <= group.last; ++p) {
    const std::size_t which = p < group.last ? p : group.first;
    const Packing::Part& part = packing.parts[which];
    if (!part.stretch.prompt) own.begin(whole(which));
    const std::int64_t end = part.first + part.count();
    for (std::int64_t first = part.first; first < end; first += kLanes) {
      const Range rows{first, std::min(first + kLanes, end)};
      attend_rows(worker, layer, rows, head, prompt.view(), own.view());
    }
    const KvGradient& mine = part.stretch.prompt ? prompt : own;
    for (std::int64_t t = 0; t < part.count(); ++t) {
      move(mine.key(t), part.first + t, key_.data());
      move(mine.value(t), part.first + t, value_.data());
    }
  }
}

/// Up to 16 rows of one part, of which all see the same two.
void Backward::attend_rows(Worker& worker, std::size_t layer, Range rows, std::int64_t kv_head,
                           const kernels::KvGradients& prefix,
                           const kernels::KvGradients& suffix) noexcept {
  const std::int64_t width = spec_.head_dim, size = width * kLanes;
  const std::int64_t heads = spec_.heads / spec_.kv_heads;
  const float scale = 1.f / std::sqrt(static_cast<float>(width));
  float* const query = worker.queries.data();
  float* const dout = query + size;
  float* const dquery = dout + size;
  kernels::VisibleSpans visible[kLanes];
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const std::int64_t r = std::min(rows.begin + lane, rows.end - 1);
    const auto [shared, own] = forward_.visible(layer, kv_head, r);
    visible[lane] = {shared, own};
  }
  std::fill_n(query, 2 * size, 0.f);
  for (std::int64_t head = kv_head * heads; head < (kv_head + 1) * heads; ++head) {
    // Where a row's head begins in panels of all rows.
    const auto at = [&](std::int64_t lane) {
      const std::int64_t r = rows.begin + lane;
      return (r / kLanes * spec_.heads + head) * size + r % kLanes;
    };
    for (std::int64_t lane = 0; lane < rows.count(); ++lane)
      for (std::int64_t k = 0; k < width; ++k) {
        query[k * kLanes + lane] = forward_.tape(layer).query.data()[at(lane) + k * kLanes];
        dout[k * kLanes + lane] = attention_.data()[at(lane) + k * kLanes];
      }
    R1_CPU(attention_backward_cpu)
    (query, dout, visible, prefix, suffix, width, scale, worker.weights.data(), dquery);
    for (std::int64_t lane = 0; lane < rows.count(); ++lane)
      for (std::int64_t k = 0; k < width; ++k)
        query_.data()[at(lane) + k * kLanes] = dquery[k * kLanes + lane];
  }
}

}  // namespace r1::training
