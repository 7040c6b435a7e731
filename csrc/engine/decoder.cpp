#include "csrc/engine/decoder.h"

#include <algorithm>
#include <cmath>

#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace r1::engine {
namespace {

constexpr std::int64_t kLanes = 16;

const float* data(const at::Tensor& tensor) { return tensor.const_data_ptr<float>(); }

void read_lane(const float* panel, std::int64_t width, std::int64_t lane, float* row) {
  for (std::int64_t k = 0; k < width; ++k) row[k] = panel[k * kLanes + lane];
}

void write_lane(const float* row, std::int64_t width, std::int64_t lane, float* panel) {
  for (std::int64_t k = 0; k < width; ++k) panel[k * kLanes + lane] = row[k];
}

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

Decoder::Decoder(const DecoderSpec& spec, const RotaryTable& rotary, std::int64_t max_prompt,
                 std::int64_t max_own)
    : spec_(spec), rotary_(rotary) {
  std::int64_t wide = 0;
  for (const LayerSpec& layer : spec.layers) wide = std::max(wide, layer.gate.weight.size(0));
  const std::int64_t query = spec.heads * spec.head_dim;
  hidden_ = Buffer(kMaxRows * spec.hidden());
  normed_ = Buffer(kMaxRows * spec.hidden());
  query_ = Buffer(kMaxRows * query);
  key_ = Buffer(kMaxRows * spec.kv_heads * spec.head_dim);
  value_ = Buffer(kMaxRows * spec.kv_heads * spec.head_dim);
  gate_ = Buffer(kMaxRows * wide);
  up_ = Buffer(kMaxRows * wide);
  cos_ = Buffer(kMaxRows * spec.head_dim / 2);
  sin_ = Buffer(kMaxRows * spec.head_dim / 2);
  query_row_ = Buffer(query);
  output_row_ = Buffer(query);
  scores_ = Buffer(kernels::attention_workspace(max_prompt, max_own));
}

void Decoder::project(const Linear& linear, const Buffer& x, Buffer& y, bool add) {
  R1_CPU(linear_cpu)
  (x.data(), panels_, linear.weight.size(1), data(linear.weight),
   linear.bias ? data(*linear.bias) : nullptr, linear.weight.size(0), y.data(), add);
}

void Decoder::normalize(const Buffer& x, const at::Tensor& weight, std::int64_t groups, Buffer& y) {
  R1_CPU(rms_norm_cpu)
  (x.data(), panels_, groups, weight.size(0), data(weight), static_cast<float>(spec_.norm_eps),
   y.data());
}

void Decoder::forward(std::span<const Row> rows) {
  panels_ = (static_cast<std::int64_t>(rows.size()) + kLanes - 1) / kLanes;
  embed(rows);
  for (std::size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    attend(layer, rows);
    feed_forward(spec_.layers[layer]);
  }
  normalize(hidden_, spec_.final_norm, 1, normed_);
}

/// Embeddings and rotary angles into panels. Lanes without a row hold zeros: whatever a lane holds
/// stays in it, but stale infinities would slow the arithmetic down.
void Decoder::embed(std::span<const Row> rows) {
  const std::int64_t hidden = spec_.hidden(), half = spec_.head_dim / 2;
  if (rows.size() % kLanes != 0) {
    const std::int64_t last = panels_ - 1;
    std::fill_n(hidden_.data() + last * hidden * kLanes, hidden * kLanes, 0.f);
  }
  for (std::int64_t r = 0; r < static_cast<std::int64_t>(rows.size()); ++r) {
    const Row& row = rows[static_cast<std::size_t>(r)];
    const std::int64_t panel = r / kLanes, lane = r % kLanes;
    write_lane(data(spec_.embedding) + row.token * hidden, hidden, lane,
               hidden_.data() + panel * hidden * kLanes);
    write_lane(rotary_.cos(row.position()), half, lane, cos_.data() + panel * half * kLanes);
    write_lane(rotary_.sin(row.position()), half, lane, sin_.data() + panel * half * kLanes);
  }
}

void Decoder::attend(std::size_t index, std::span<const Row> rows) {
  const LayerSpec& layer = spec_.layers[index];
  const std::int64_t query_width = spec_.heads * spec_.head_dim;
  const std::int64_t key_width = spec_.kv_heads * spec_.head_dim;
  normalize(hidden_, layer.input_norm, 1, normed_);
  project(layer.query, normed_, query_, false);
  project(layer.key, normed_, key_, false);
  project(layer.value, normed_, value_, false);
  if (layer.query_norm) normalize(query_, *layer.query_norm, spec_.heads, query_);
  if (layer.key_norm) normalize(key_, *layer.key_norm, spec_.kv_heads, key_);
  R1_CPU(rope_cpu)
  (query_.data(), panels_, spec_.heads, spec_.head_dim, cos_.data(), sin_.data());
  R1_CPU(rope_cpu)
  (key_.data(), panels_, spec_.kv_heads, spec_.head_dim, cos_.data(), sin_.data());

  // All keys first: rows of one sequence see each other.
  for (std::int64_t r = 0; r < static_cast<std::int64_t>(rows.size()); ++r) {
    const Row& row = rows[static_cast<std::size_t>(r)];
    const std::int64_t start = r / kLanes * key_width * kLanes;
    KvCache& cache = row.own ? *row.own : *row.prompt;
    const std::int64_t position = (row.own ? row.own_length : row.prompt_length) - 1;
    cache.write(index, position, key_.data() + start, value_.data() + start,
                static_cast<int>(r % kLanes));
  }

  const kernels::AttentionShape shape{spec_.heads, spec_.kv_heads, spec_.head_dim};
  const float scale = 1.f / std::sqrt(static_cast<float>(spec_.head_dim));
  for (std::int64_t r = 0; r < static_cast<std::int64_t>(rows.size()); ++r) {
    const Row& row = rows[static_cast<std::size_t>(r)];
    float* const panel = query_.data() + r / kLanes * query_width * kLanes;
    const std::int64_t oldest =
        layer.window ? std::max<std::int64_t>(0, row.position() + 1 - layer.window) : 0;
    const kernels::KvSpan prompt =
        row.prompt->span(index, std::min(oldest, row.prompt_length), row.prompt_length);
    const kernels::KvSpan own =
        row.own ? row.own->span(index, std::max<std::int64_t>(0, oldest - row.prompt_length),
                                row.own_length)
                : kernels::KvSpan{nullptr, nullptr, 0, 0, 0};
    read_lane(panel, query_width, r % kLanes, query_row_.data());
    R1_CPU(attention_cpu)
    (query_row_.data(), prompt, own, shape, scale, scores_.data(), output_row_.data());
    write_lane(output_row_.data(), query_width, r % kLanes, panel);  // in place of the query
  }
  project(layer.output, query_, hidden_, true);
}

void Decoder::feed_forward(const LayerSpec& layer) {
  normalize(hidden_, layer.feed_forward_norm, 1, normed_);
  project(layer.gate, normed_, gate_, false);
  project(layer.up, normed_, up_, false);
  R1_CPU(swiglu_cpu)
  (gate_.data(), up_.data(), panels_ * layer.gate.weight.size(0) * kLanes, gate_.data());
  project(layer.down, gate_, hidden_, true);
}

const float* Decoder::logits(std::int64_t begin, std::int64_t end) {
  const std::int64_t hidden = spec_.hidden(), vocab = spec_.vocab();
  const std::int64_t first = begin / kLanes, panels = (end + kLanes - 1) / kLanes - first;
  const std::int64_t size = panels * kLanes * vocab;
  if (logits_.size() < size) {
    head_out_ = Buffer(size);
    logits_ = Buffer(size);
  }
  const Linear& head = spec_.head;
  R1_CPU(linear_cpu)
  (normed_.data() + first * hidden * kLanes, panels, hidden, data(head.weight),
   head.bias ? data(*head.bias) : nullptr, vocab, head_out_.data(), false);
  for (std::int64_t r = begin; r < end; ++r)
    read_lane(head_out_.data() + (r / kLanes - first) * vocab * kLanes, vocab, r % kLanes,
              logits_.data() + (r - begin) * vocab);
  return logits_.data();
}

}  // namespace r1::engine
