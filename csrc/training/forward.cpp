#include "csrc/training/forward.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "csrc/engine/inputs.h"
#include "csrc/engine/lanes.h"
#include "csrc/training/tile.h"
#include "kernels/geglu.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace r1::training {
namespace {

using engine::data;
using engine::project;

/// Calls `body` with consecutive blocks of a range of panels.
template <class Body>
void each_block(Range panels, std::int64_t block, const Body& body) {
  for (std::int64_t begin = panels.begin; begin < panels.end; begin += block)
    body(Range{begin, std::min(begin + block, panels.end)});
}

}  // namespace

Forward::Forward(const DecoderSpec& spec, std::vector<at::Tensor> sequences,
                 std::vector<std::int64_t> prompt_lengths, Keep keep, int threads,
                 std::shared_ptr<const Trace> trace)
    : spec_((engine::check_decoder("logprobs", spec),
             engine::check_sequences("logprobs", spec, sequences, prompt_lengths, threads), spec)),
      sequences_(std::move(sequences)),
      keep_(keep),
      threads_(threads),
      packing_(sequences_, prompt_lengths),
      rotary_(spec_, engine::longest(sequences_)),
      trace_(keep == Keep::all ? std::move(trace) : nullptr) {
  const std::int64_t rows = panels() * kLanes;
  const auto layers = spec_.layers.size();
  for (const LayerSpec& layer : spec_.layers) wide_ = std::max(wide_, layer.gate.weight.size(0));
  const std::int64_t widest = std::max({spec_.hidden(), wide_, spec_.heads * spec_.head_dim});
  const std::int64_t bytes = widest * kLanes * static_cast<std::int64_t>(sizeof(float));
  block_ = std::clamp(kBlockBytes / bytes, kFewestPanels, kMostPanels);
  const auto slots = static_cast<std::int64_t>(keep == Keep::all ? layers : 2);
  for (const Packing::Part& part : packing_.parts)
    caches_.push_back(std::make_unique<KvCache>(spec_, part.count(), slots));
  for (std::size_t i = 0; i < (keep == Keep::nothing ? 1 : layers + 1); ++i)
    inputs_.emplace_back(rows * spec_.hidden());
  tapes_.resize(keep == Keep::all ? layers : 1);
  for (LayerTape& tape : tapes_) {
    tape.query = Buffer(rows * spec_.heads * spec_.head_dim);
    tape.attention = Buffer(tape.query.size());
    tape.middle = Buffer(rows * spec_.hidden());
    tape.gate = Buffer(rows * wide_);
    tape.up = Buffer(rows * wide_);
    if (layers == 0 || !spec_.layers[0].query_norm) continue;
    tape.query_raw = Buffer(tape.query.size());
    tape.key_raw = Buffer(rows * spec_.kv_heads * spec_.head_dim);
  }
  cos_ = Buffer(rows * spec_.head_dim / 2);
  sin_ = Buffer(cos_.size());
  if (trace_) look_up(prompt_lengths);
}

void Forward::prepare(Worker& worker, int rank, Team& team) const {
  const std::int64_t kv = spec_.kv_heads * spec_.head_dim, rows = block_ * kLanes;
  std::int64_t widest = std::max({spec_.hidden(), wide_, spec_.heads * spec_.head_dim});
  worker.crew = team.crew(rank);
  worker.panels = worker.crew.share(panels());
  worker.normed = Buffer(rows * spec_.hidden());
  worker.low = Buffer(rows * spec_.max_rank());
  worker.mix = Buffer(rows * widest);
  worker.key = Buffer(rows * kv);
  worker.value = Buffer(rows * kv);
  worker.rows = Buffer(kLanes * widest);
  worker.tile = Buffer(3 * std::max(kv, spec_.heads * spec_.head_dim) * kLanes);
  const std::int64_t prompt = packing_.longest(true), own = packing_.longest(false);
  worker.scores = Buffer(kernels::attention_lanes_workspace(prompt, own));
  if (keep_ == Keep::nothing) return;
  worker.normed_gradient = Buffer(worker.normed.size());
  worker.weights = Buffer(kernels::attention_gradient_workspace(prompt, own));
  worker.strip = Buffer(kernels::input_gradient_workspace(widest));
}

at::Tensor Forward::run(const std::function<void()>& poll) {
  const auto targets = static_cast<std::int64_t>(packing_.targets.size());
  at::Tensor hidden = at::empty({targets, spec_.hidden()}, at::kFloat);
  auto* const rows = hidden.mutable_data_ptr<float>();
  Team team(threads_);
  team.run(
      [&](int rank) {
        Worker worker;
        prepare(worker, rank, team);
        run_layers(worker);
        finish(worker, rows);
      },
      poll);
  if (keep_ == Keep::nothing) inputs_.clear();
  trace_.reset();
  return hidden;
}

void Forward::run_layers(Worker& worker) noexcept {
  embed(worker);
  for (std::size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    project_heads(worker, layer, tape(layer));
    worker.crew.meet();
    attend(worker, layer, tape(layer));
    feed_forward(worker, layer, tape(layer));
  }
  worker.crew.meet();
}

/// Embeddings and rotary angles into panels. Lanes without a row hold zeros: whatever a lane holds
/// stays in it, but stale infinities would slow the arithmetic down.
void Forward::embed(Worker& worker) noexcept {
  const std::int64_t hidden = spec_.hidden(), half = spec_.head_dim / 2;
  const auto count = static_cast<std::int64_t>(packing_.rows.size());
  for (std::int64_t r = worker.panels.begin * kLanes; r < worker.panels.end * kLanes; ++r) {
    const std::int64_t panel = r / kLanes, lane = r % kLanes;
    float* const to = input(0).data() + panel * hidden * kLanes;
    float* const cos = cos_.data() + panel * half * kLanes;
    float* const sin = sin_.data() + panel * half * kLanes;
    if (r >= count) {
      for (std::int64_t k = 0; k < hidden; ++k) to[k * kLanes + lane] = 0;
      for (std::int64_t k = 0; k < half; ++k) cos[k * kLanes + lane] = sin[k * kLanes + lane] = 0;
      continue;
    }
    const Packing::Row& row = packing_.rows[static_cast<std::size_t>(r)];
    engine::embed_lane(spec_, row.token, {0, hidden}, lane, to);
    engine::write_lane(rotary_.cos(packing_.position(row)), {0, half}, lane, cos);
    engine::write_lane(rotary_.sin(packing_.position(row)), {0, half}, lane, sin);
  }
}

void Forward::normalize(const float* x, std::int64_t count, const at::Tensor& weight,
                        float* y) const noexcept {
  R1_CPU(rms_norm_cpu)
  (x, count, 1, weight.size(0), data(weight), static_cast<float>(spec_.norm_eps), y);
}

/// Query, key and value heads: from the projection to the cache.
void Forward::project_heads(Worker& worker, std::size_t index, LayerTape& tape) noexcept {
  const LayerSpec& layer = spec_.layers[index];
  const std::int64_t kv_heads = spec_.kv_heads, width = spec_.head_dim, kv = kv_heads * width;
  const std::int64_t query = spec_.heads * width, hidden = spec_.hidden();
  each_block(worker.panels, block_, [&](Range block) {
    float* const queries = tape.query.data() + block.begin * query * kLanes;
    // Before their norm, which the backward pass reads.
    const bool raw = keep_ != Keep::nothing && layer.query_norm;
    float* const raw_queries = raw ? tape.query_raw.data() + block.begin * query * kLanes : queries;
    float* const raw_keys =
        raw ? tape.key_raw.data() + block.begin * kv * kLanes : worker.key.data();
    normalize(input(index).data() + block.begin * hidden * kLanes, block.count(), layer.input_norm,
              worker.normed.data());
    const auto run = [&](const Linear& linear, float* y) {
      project(linear, worker.normed.data(), block.count(), {0, linear.weight.size(0)},
              worker.low.data(), nullptr, y);
    };
    run(layer.query, raw_queries);
    run(layer.key, raw_keys);
    run(layer.value, worker.value.data());
    for (std::int64_t panel = block.begin; panel < block.end; ++panel) {
      const std::int64_t at = panel - block.begin;
      rotate(layer.query_norm, spec_.heads, panel, raw_queries + at * query * kLanes,
             queries + at * query * kLanes);
      rotate(layer.key_norm, kv_heads, panel, raw_keys + at * kv * kLanes,
             worker.key.data() + at * kv * kLanes);
    }
    float* const key = worker.tile.data();
    float* const value = key + kv * kLanes;
    each_tile(packing_, rows_of(block), [&](Range rows) {
      const Packing::Row& row = packing_.rows[static_cast<std::size_t>(rows.begin)];
      const std::int64_t first = block.begin * kLanes;
      const Range local{rows.begin - first, rows.end - first};
      read_tile(worker.key.data(), kv * kLanes, local, kv, key);
      read_tile(worker.value.data(), kv * kLanes, local, kv, value);
      caches_[row.part]->write_tile(slot(index), row.index, rows.count(), key, value);
    });
  });
}

/// The rows in some panels; the last panel may hold fewer.
Range Forward::rows_of(Range panels) const {
  return {panels.begin * kLanes, std::min(panels.end * kLanes, rows())};
}

/// Norm (Qwen3's, where there is one) and rotary embedding of a panel's heads.
///
/// @param x  y itself where there is no norm
void Forward::rotate(const std::optional<at::Tensor>& norm, std::int64_t heads, std::int64_t panel,
                     const float* x, float* y) const noexcept {
  const std::int64_t angles = panel * spec_.head_dim / 2 * kLanes;
  if (norm) R1_CPU(rms_norm_cpu)
  (x, 1, heads, spec_.head_dim, data(*norm), static_cast<float>(spec_.norm_eps), y);
  R1_CPU(rope_cpu)(y, 1, heads, spec_.head_dim, cos_.data() + angles, sin_.data() + angles);
}

/// What a tile's rows see: of their prompt, then of their own stretch.
TileSpans Forward::spans(std::size_t layer, Range rows) const noexcept {
  const std::int64_t window = spec_.layers[layer].window;
  TileSpans spans;
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const auto r = static_cast<std::size_t>(std::min(rows.begin + lane, rows.end - 1));
    const Packing::Row& row = packing_.rows[r];
    const Packing::Part& part = packing_.parts[row.part];
    const std::int64_t oldest =
        window ? std::max<std::int64_t>(0, packing_.position(row) + 1 - window) : 0;
    const std::int64_t prompt = part.stretch.prompt ? row.index + 1 : part.stretch.begin;
    const std::int64_t own = part.stretch.prompt ? 0 : row.index + 1;
    spans.begins[0][lane] = std::min(oldest, prompt);
    spans.ends[0][lane] = prompt;
    spans.begins[1][lane] = std::min(own, std::max<std::int64_t>(0, oldest - prompt));
    spans.ends[1][lane] = own;
  }
  return spans;
}

/// One head of a part's keys and values, as rows with these spans see it.
kernels::KvLanes Forward::seen(std::size_t layer, std::int64_t head, std::size_t part,
                               const TileSpans& spans, int which) const noexcept {
  const kernels::KvSpan kv = caches_[part]->span(slot(layer), head, {0, 0});
  return {kv.keys, kv.values, spans.begins[which], spans.ends[which]};
}

/// Attention of a tile.
void Forward::attend_tile(Worker& worker, std::size_t index, LayerTape& tape, Range rows) noexcept {
  const std::int64_t width = spec_.head_dim, group = spec_.heads / spec_.kv_heads;
  const std::int64_t channels = spec_.heads * width, pitch = channels * kLanes;
  const Packing::Row& row = packing_.rows[static_cast<std::size_t>(rows.begin)];
  const std::size_t prompt = packing_.parts[row.part].prompt;
  const TileSpans spans = this->spans(index, rows);
  const float scale = 1.f / std::sqrt(static_cast<float>(width));
  float* const query = worker.tile.data();
  float* const output = query + pitch;
  if (rows.count() < kLanes) std::fill_n(query, pitch, 0.f);
  read_tile(tape.query.data(), pitch, rows, channels, query);
  for (std::int64_t head = 0; head < spec_.heads; ++head) R1_CPU(attention_lanes_cpu)
  (query + head * width * kLanes, seen(index, head / group, prompt, spans, 0),
   seen(index, head / group, row.part, spans, 1), width, scale, worker.scores.data(),
   output + head * width * kLanes);
  write_tile(output, rows, channels, pitch, tape.attention.data());
}

void Forward::attend_block(Worker& worker, std::size_t layer, Range block,
                           LayerTape& tape) noexcept {
  const std::int64_t size = spec_.heads * spec_.head_dim * kLanes;
  if (rows_of(block).end < block.end * kLanes)  // lanes without a row
    std::fill_n(tape.attention.data() + (block.end - 1) * size, size, 0.f);
  each_tile(packing_, rows_of(block), [&](Range rows) { attend_tile(worker, layer, tape, rows); });
}

/// Attention, its projection and the residual.
void Forward::attend(Worker& worker, std::size_t index, LayerTape& tape) noexcept {
  const std::int64_t size = spec_.heads * spec_.head_dim * kLanes, hidden = spec_.hidden();
  each_block(worker.panels, block_, [&](Range block) {
    if (trace_)
      recall_attention(worker, index, block, tape);
    else
      attend_block(worker, index, block, tape);
    const std::int64_t start = block.begin * hidden * kLanes;
    project(spec_.layers[index].output, tape.attention.data() + block.begin * size, block.count(),
            {0, hidden}, worker.low.data(), input(index).data() + start,
            tape.middle.data() + start);
  });
}

void Forward::feed_forward(Worker& worker, std::size_t index, LayerTape& tape) noexcept {
  const LayerSpec& layer = spec_.layers[index];
  const std::int64_t hidden = spec_.hidden(), wide = layer.gate.weight.size(0);
  Buffer& to = keep_ == Keep::nothing ? inputs_[0] : inputs_[index + 1];
  each_block(worker.panels, block_, [&](Range block) {
    const std::int64_t start = block.begin * hidden * kLanes, count = block.count();
    float* const gate = tape.gate.data() + block.begin * wide * kLanes;
    float* const up = tape.up.data() + block.begin * wide * kLanes;
    normalize(tape.middle.data() + start, count, layer.feed_forward_norm, worker.normed.data());
    project(layer.gate, worker.normed.data(), count, {0, wide}, worker.low.data(), nullptr, gate);
    project(layer.up, worker.normed.data(), count, {0, wide}, worker.low.data(), nullptr, up);
    if (trace_) return recall_output(worker, index, block, to);
    (spec_.activation == engine::Activation::silu ? R1_CPU(swiglu_cpu) : R1_CPU(geglu_cpu))(
        gate, up, count * wide * kLanes, worker.mix.data());
    project(layer.down, worker.mix.data(), count, {0, hidden}, worker.low.data(),
            tape.middle.data() + start, to.data() + start);
  });
}

/// The rows before 16 completion tokens, into a panel.
void Forward::gather(std::int64_t target_panel, float* x) const noexcept {
  const auto targets = static_cast<std::int64_t>(packing_.targets.size());
  const std::int64_t hidden = spec_.hidden();
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const std::int64_t i = target_panel * kLanes + lane;
    const std::int64_t r = i < targets ? packing_.targets[static_cast<std::size_t>(i)] : -1;
    const float* const from = output().data() + r / kLanes * hidden * kLanes + r % kLanes;
    for (std::int64_t k = 0; k < hidden; ++k) x[k * kLanes + lane] = r < 0 ? 0.f : from[k * kLanes];
  }
}

/// The final norm of this thread's part of the targets.
void Forward::finish(Worker& worker, float* rows) noexcept {
  const auto targets = static_cast<std::int64_t>(packing_.targets.size());
  const std::int64_t hidden = spec_.hidden();
  const Range mine = worker.crew.share(target_panels());
  for (std::int64_t panel = mine.begin; panel < mine.end; ++panel) {
    gather(panel, worker.normed.data());
    normalize(worker.normed.data(), 1, spec_.final_norm, worker.normed.data());
    const std::int64_t first = panel * kLanes;
    R1_CPU(lanes_to_rows_cpu)
    (worker.normed.data(), std::min(kLanes, targets - first), hidden, rows + first * hidden,
     hidden);
  }
}

}  // namespace r1::training
