#include <algorithm>

#include "csrc/engine/lanes.h"
#include "csrc/training/forward.h"
#include "kernels/lanes.h"

/// What a forward pass takes from a trace of the sampler in place of computing it.
namespace r1::training {

/// Where the trace has the parts; it is not used unless it has them all.
void Forward::look_up(const std::vector<std::int64_t>& prompt_lengths) {
  trace_->check("logprobs", spec_);
  for (const Packing::Part& part : packing_.parts) {
    const std::size_t i = part.stretch.first;
    const std::optional<std::int64_t> row = trace_->find(sequences_[i], prompt_lengths[i]);
    if (!row) return trace_.reset();
    traced_.push_back(part.stretch.prompt ? trace_->prompt(*row / trace_->n())
                                          : trace_->completion(*row));
  }
}

void Forward::recall_attention(Worker& worker, std::size_t layer, Range block,
                               LayerTape& tape) noexcept {
  recall(worker, block, spec_.heads * spec_.head_dim, tape.attention,
         [&](std::int64_t row) { return trace_->attention(layer, row); });
}

void Forward::recall_output(Worker& worker, std::size_t layer, Range block, Buffer& to) noexcept {
  recall(worker, block, spec_.hidden(), to,
         [&](std::int64_t row) { return trace_->output(layer, row); });
}

/// A block's panels from rows of the trace, which `find` has by number; zeros in lanes without one.
template <class Find>
void Forward::recall(Worker& worker, Range block, std::int64_t width, Buffer& to,
                     const Find& find) noexcept {
  for (std::int64_t panel = block.begin; panel < block.end; ++panel) {
    const std::int64_t first = panel * kLanes, count = std::min(kLanes, rows() - first);
    for (std::int64_t lane = 0; lane < count; ++lane) {
      const Packing::Row& row = packing_.rows[static_cast<std::size_t>(first + lane)];
      std::copy_n(find(traced_[row.part] + row.index), width, worker.rows.data() + lane * width);
    }
    R1_CPU(rows_to_lanes_cpu)
    (worker.rows.data(), width, count, width, to.data() + first * width);
  }
}

}  // namespace r1::training
