#include "csrc/engine/decoder.h"

#include <algorithm>
#include <cmath>

#include "csrc/engine/lanes.h"
#include "kernels/geglu.h"
#include "kernels/lanes.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace r1::engine {
namespace {

constexpr std::int64_t kGrain = 8;  // channels that the linear kernel computes together

}  // namespace

RotaryTable::RotaryTable(const DecoderSpec& spec, std::int64_t positions)
    : half_(spec.head_dim / 2),
      cos_(static_cast<std::size_t>(positions * half_)),
      sin_(cos_.size()) {
  const float* const frequencies = data(spec.inverse_frequencies);
  for (std::int64_t p = 0; p < positions; ++p)
    for (std::int64_t k = 0; k < half_; ++k) {
      const float angle = static_cast<float>(p) * frequencies[k];  // in float, as the modules do
      cos_[static_cast<std::size_t>(p * half_ + k)] =
          static_cast<float>(std::cos(static_cast<double>(angle)));
      sin_[static_cast<std::size_t>(p * half_ + k)] =
          static_cast<float>(std::sin(static_cast<double>(angle)));
    }
}

Member::Member(const DecoderSpec& spec, std::int64_t max_prompt, std::int64_t max_own)
    : normed(Decoder::kMaxRows * spec.hidden()),
      low(Decoder::kMaxRows * spec.max_rank()),
      key(kLanes * spec.kv_heads * spec.head_dim),
      value(key.size()),
      query(kLanes * (spec.heads / spec.kv_heads) * spec.head_dim),
      output(query.size()),
      scores(kernels::attention_workspace(max_prompt, max_own)),
      hidden(kLanes * spec.hidden()),
      logits(kLanes * spec.vocab()) {}

Decoder::Decoder(const DecoderSpec& spec, const RotaryTable& rotary, Trace* trace)
    : spec_(spec), rotary_(rotary), trace_(trace) {
  std::int64_t wide = 0;
  for (const LayerSpec& layer : spec.layers) wide = std::max(wide, layer.gate.weight.size(0));
  hidden_ = Buffer(kMaxRows * spec.hidden());
  query_ = Buffer(kMaxRows * spec.heads * spec.head_dim);
  key_ = Buffer(kMaxRows * spec.kv_heads * spec.head_dim);
  value_ = Buffer(kMaxRows * spec.kv_heads * spec.head_dim);
  gate_ = Buffer(kMaxRows * wide);
  up_ = Buffer(kMaxRows * wide);
  cos_ = Buffer(kMaxRows * spec.head_dim / 2);
  sin_ = Buffer(kMaxRows * spec.head_dim / 2);
  head_out_ = Buffer(kMaxRows * spec.vocab());
}

void Decoder::normalize(const Buffer& x, const at::Tensor& weight, Buffer& y) noexcept {
  R1_CPU(rms_norm_cpu)
  (x.data(), panels_, 1, weight.size(0), data(weight), static_cast<float>(spec_.norm_eps),
   y.data());
}

void Decoder::forward(Member& member, std::span<const Row> rows) noexcept {
  const Crew& crew = member.crew;
  if (crew.rank == 0) panels_ = panels_of(rows.size());
  embed(crew, rows);
  crew.meet();
  for (std::size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    project_heads(member, layer, rows);
    crew.meet();
    attend(member, layer, rows);
    crew.meet();
    project(spec_.layers[layer].output, query_.data(), panels_, crew.share(spec_.hidden(), kGrain),
            member.low.data(), hidden_.data(), hidden_.data());
    crew.meet();
    feed_forward(member, spec_.layers[layer]);
    if (trace_) keep_output(member, layer, rows);
    crew.meet();
  }
}

/// Embeddings and rotary angles into panels, a member its channels. Lanes without a row hold zeros:
/// whatever a lane holds stays in it, but stale infinities would slow the arithmetic down.
void Decoder::embed(const Crew& crew, std::span<const Row> rows) noexcept {
  const std::int64_t hidden = spec_.hidden(), half = spec_.head_dim / 2;
  const auto count = static_cast<std::int64_t>(rows.size());
  const Range channels = crew.share(hidden), angles = crew.share(half);
  for (std::int64_t r = 0; r < panels_of(rows.size()) * kLanes; ++r) {
    const std::int64_t panel = r / kLanes, lane = r % kLanes;
    float* const to = hidden_.data() + panel * hidden * kLanes;
    if (r >= count) {
      for (std::int64_t k = channels.begin; k < channels.end; ++k) to[k * kLanes + lane] = 0;
      continue;
    }
    const Row& row = rows[static_cast<std::size_t>(r)];
    embed_lane(spec_, row.token, channels, lane, to);
    write_lane(rotary_.cos(row.position()), angles, lane, cos_.data() + panel * half * kLanes);
    write_lane(rotary_.sin(row.position()), angles, lane, sin_.data() + panel * half * kLanes);
  }
}

/// Query, key and value heads, a member its own: from the projection to the cache.
void Decoder::project_heads(Member& member, std::size_t index, std::span<const Row> rows) noexcept {
  const LayerSpec& layer = spec_.layers[index];
  const std::int64_t heads = spec_.heads, kv_heads = spec_.kv_heads, width = spec_.head_dim;
  Buffer& normed = member.normed;
  normalize(hidden_, layer.input_norm, normed);
  // Keys and values of a head go to one member; queries even the work out.
  const Range units = member.crew.share(heads + 2 * kv_heads);
  const auto part = [&](std::int64_t first, std::int64_t size, std::int64_t count) {
    return Range{std::clamp((units.begin - first + size - 1) / size, std::int64_t{0}, count),
                 std::clamp((units.end - first + size - 1) / size, std::int64_t{0}, count)};
  };
  const Range mine = part(2 * kv_heads, 1, heads), pairs = part(0, 2, kv_heads);
  const auto channels = [&](Range of) { return Range{of.begin * width, of.end * width}; };
  project(layer.query, normed.data(), panels_, channels(mine), member.low.data(), nullptr,
          query_.data());
  project(layer.key, normed.data(), panels_, channels(pairs), member.low.data(), nullptr,
          key_.data());
  project(layer.value, normed.data(), panels_, channels(pairs), member.low.data(), nullptr,
          value_.data());
  rotate(layer.query_norm, heads, mine, query_);
  rotate(layer.key_norm, kv_heads, pairs, key_);
  const std::int64_t size = pairs.count() * width;
  for (std::int64_t first = 0, count; first < std::ssize(rows); first += count) {
    count = std::min(kLanes, std::ssize(rows) - first);
    const std::int64_t start = (first / kLanes * kv_heads + pairs.begin) * width * kLanes;
    R1_CPU(lanes_to_rows_cpu)(key_.data() + start, count, size, member.key.data(), size);
    R1_CPU(lanes_to_rows_cpu)(value_.data() + start, count, size, member.value.data(), size);
    for (std::int64_t i = 0; i < count; ++i) {
      const Row& row = rows[static_cast<std::size_t>(first + i)];
      KvCache& cache = row.own ? *row.own : *row.prompt;
      cache.write(index, pairs, (row.own ? row.own_length : row.prompt_length) - 1,
                  member.key.data() + i * size, member.value.data() + i * size);
    }
  }
}

/// Norm (Qwen3's, where there is one) and rotary embedding of `heads` out of `count`, in place.
void Decoder::rotate(const std::optional<at::Tensor>& norm, std::int64_t count, Range heads,
                     Buffer& x) noexcept {
  const std::int64_t size = spec_.head_dim * kLanes, half = size / 2;
  for (std::int64_t panel = 0; panel < panels_; ++panel) {
    float* const mine = x.data() + (panel * count + heads.begin) * size;
    if (norm) R1_CPU(rms_norm_cpu)
    (mine, 1, heads.count(), spec_.head_dim, data(*norm), static_cast<float>(spec_.norm_eps), mine);
    R1_CPU(rope_cpu)
    (mine, 1, heads.count(), spec_.head_dim, cos_.data() + panel * half,
     sin_.data() + panel * half);
  }
}

/// The keys and values that a row sees: its prompt's, then its completion's.
std::pair<kernels::KvSpan, kernels::KvSpan> Decoder::visible(std::size_t index, std::int64_t head,
                                                             const Row& row) const noexcept {
  const std::int64_t window = spec_.layers[index].window;
  const std::int64_t oldest = window ? std::max<std::int64_t>(0, row.position() + 1 - window) : 0;
  const kernels::KvSpan prompt =
      row.prompt->span(index, head, {std::min(oldest, row.prompt_length), row.prompt_length});
  if (!row.own) return {prompt, {nullptr, nullptr, 0, 0}};
  return {prompt,
          row.own->span(index, head,
                        {std::max<std::int64_t>(0, oldest - row.prompt_length), row.own_length})};
}

/// Attention in place of the queries: a panel's rows head by head, for rows of one prompt find its
/// keys and values of the head in the L1 cache. The last panel may hold fewer rows.
void Decoder::attend(Member& member, std::size_t index, std::span<const Row> rows) noexcept {
  const std::int64_t heads = spec_.kv_heads, count = std::ssize(rows);
  const std::int64_t full = count / kLanes, in_full = full * heads * kLanes;
  const Range mine = member.crew.share(heads * count);
  for (std::int64_t at = mine.begin, end; at < mine.end; at = end) {
    const bool last = at >= in_full;
    const std::int64_t lanes = last ? count % kLanes : kLanes, from = last ? at - in_full : at;
    const std::int64_t panel = last ? full : from / (heads * kLanes);
    const std::int64_t first = panel * kLanes + from % lanes;
    end = std::min(mine.end, at + lanes - from % lanes);
    attend_panel(member, index, rows, {first, first + end - at}, from / lanes % heads);
  }
}

/// The query heads of some rows of a panel that read one head of the keys and values.
void Decoder::attend_panel(Member& member, std::size_t index, std::span<const Row> rows, Range some,
                           std::int64_t head) noexcept {
  const std::int64_t width = spec_.head_dim, group = spec_.heads / spec_.kv_heads;
  const std::int64_t size = group * width, count = some.count(), lane = some.begin % kLanes;
  float* const panel =
      query_.data() + (some.begin / kLanes * spec_.heads + head * group) * width * kLanes;
  R1_CPU(lanes_to_rows_cpu)(panel + lane, count, size, member.query.data(), size);
  kernels::QueryHeads items[kLanes];
  for (std::int64_t i = 0; i < count; ++i) {
    const auto [prompt, own] = visible(index, head, rows[static_cast<std::size_t>(some.begin + i)]);
    items[i] = {member.query.data() + i * size, prompt, own, member.output.data() + i * size};
  }
  R1_CPU(attention_cpu)
  (items, count, group, width, 1.f / std::sqrt(static_cast<float>(width)), member.scores.data());
  for (std::int64_t i = 0; trace_ && i < count; ++i) {
    const Row& row = rows[static_cast<std::size_t>(some.begin + i)];
    std::copy_n(items[i].out, size, trace_->attention(index, row.traced) + head * size);
  }
  if (count == kLanes)
    return R1_CPU(rows_to_lanes_cpu)(member.output.data(), size, count, size, panel);
  for (std::int64_t i = 0; i < count; ++i) write_lane(items[i].out, {0, size}, lane + i, panel);
}

void Decoder::feed_forward(Member& member, const LayerSpec& layer) noexcept {
  Buffer& normed = member.normed;
  normalize(hidden_, layer.feed_forward_norm, normed);
  const std::int64_t wide = layer.gate.weight.size(0);
  const Range mine = member.crew.share(wide, kGrain);
  project(layer.gate, normed.data(), panels_, mine, member.low.data(), nullptr, gate_.data());
  project(layer.up, normed.data(), panels_, mine, member.low.data(), nullptr, up_.data());
  for (std::int64_t panel = 0; panel < panels_; ++panel) {
    const std::int64_t start = (panel * wide + mine.begin) * kLanes;
    (spec_.activation == Activation::silu ? R1_CPU(swiglu_cpu) : R1_CPU(geglu_cpu))(
        gate_.data() + start, up_.data() + start, mine.count() * kLanes, gate_.data() + start);
  }
  member.crew.meet();
  project(layer.down, gate_.data(), panels_, member.crew.share(spec_.hidden(), kGrain),
          member.low.data(), hidden_.data(), hidden_.data());
}

/// This member's channels of the layer's output, to the trace.
void Decoder::keep_output(Member& member, std::size_t layer, std::span<const Row> rows) noexcept {
  const Range mine = member.crew.share(spec_.hidden(), kGrain);
  float* const lanes = member.hidden.data();
  for (std::int64_t r = 0; r < std::ssize(rows); ++r) {
    const std::int64_t panel = (r / kLanes * spec_.hidden() + mine.begin) * kLanes;
    if (r % kLanes == 0) R1_CPU(lanes_to_rows_cpu)
    (hidden_.data() + panel, std::min(kLanes, std::ssize(rows) - r), mine.count(), lanes,
     mine.count());
    std::copy_n(lanes + r % kLanes * mine.count(), mine.count(),
                trace_->output(layer, rows[static_cast<std::size_t>(r)].traced) + mine.begin);
  }
}

void Decoder::head(Member& member, std::span<const std::int64_t> wanted) noexcept {
  const std::int64_t hidden = spec_.hidden(), panels = panels_of(wanted.size());
  Buffer& normed = member.normed;
  member.logits_panel = -1;
  // Every member gathers and normalises for itself: cheaper than another meeting.
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto from = wanted[i], to = static_cast<std::int64_t>(i);
    const float* const source = hidden_.data() + from / kLanes * hidden * kLanes + from % kLanes;
    float* const lane = normed.data() + to / kLanes * hidden * kLanes + to % kLanes;
    for (std::int64_t k = 0; k < hidden; ++k) lane[k * kLanes] = source[k * kLanes];
  }
  R1_CPU(rms_norm_cpu)
  (normed.data(), panels, 1, hidden, data(spec_.final_norm), static_cast<float>(spec_.norm_eps),
   normed.data());
  project(spec_.head, normed.data(), panels, member.crew.share(spec_.vocab(), kGrain),
          member.low.data(), nullptr, head_out_.data());
  member.crew.meet();
}

const float* Decoder::logits(Member& member, std::int64_t i) const noexcept {
  const std::int64_t vocab = spec_.vocab(), panel = i / kLanes;
  if (member.logits_panel != panel) R1_CPU(lanes_to_rows_cpu)
  (head_out_.data() + panel * vocab * kLanes, kLanes, vocab, member.logits.data(), vocab);
  member.logits_panel = panel;
  return member.logits.data() + i % kLanes * vocab;
}

}  // namespace r1::engine
