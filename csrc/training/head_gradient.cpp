#include "csrc/training/head_gradient.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "csrc/engine/lanes.h"
#include "kernels/lanes.h"

namespace r1::training {
namespace {

/// Bytes of logits that may exist at a time; at least a panel per thread.
constexpr std::int64_t kBudget = 64 << 20;
/// Panels that go through the head together: it reads the weights once for them.
constexpr std::int64_t kGroup = 16;

}  // namespace

HeadGradient::HeadGradient(const Linear& head, const at::Tensor& hidden,
                           std::vector<std::int64_t> rows, const std::vector<bool>& wanted,
                           int threads)
    : head_(head),
      hidden_(engine::data(hidden)),
      threads_(threads),
      width_(hidden.size(1)),
      vocab_(head.weight.size(0)),
      rows_(std::move(rows)) {
  const std::int64_t fit = kBudget / (vocab_ * kLanes * static_cast<std::int64_t>(sizeof(float)));
  chunk_ = std::clamp<std::int64_t>(engine::panels_of(rows_.size()), 1,
                                    std::max<std::int64_t>(fit, threads));
  x_ = Buffer(chunk_ * width_ * kLanes);
  x_rows_ = Buffer(kernels::rows_size(chunk_, width_));
  logits_ = Buffer(chunk_ * vocab_ * kLanes);
  low_ = LowRankTape(head, chunk_);
  allocate(hidden, wanted);
}

void HeadGradient::allocate(const at::Tensor& hidden, const std::vector<bool>& wanted) {
  const auto next = [&](const at::Tensor& like) -> float* {
    const bool want = wanted[gradients_.size()];
    gradients_.push_back(want ? at::empty(like.sizes(), at::kFloat) : at::Tensor());
    return want ? gradients_.back().mutable_data_ptr<float>() : nullptr;
  };
  grad_hidden_ = next(hidden);
  to_.weight = next(head_.weight);
  if (head_.bias) to_.bias = next(*head_.bias);
  if (!head_.low_rank) return;
  to_.a = next(head_.low_rank->a);
  to_.b = next(head_.low_rank->b);
}

std::vector<at::Tensor> HeadGradient::run(const Differentiate& differentiate,
                                          const std::function<void()>& poll) {
  engine::Team team(threads_);
  team.run([&](int rank) { run_chunks(team.crew(rank), differentiate); }, poll);
  return std::move(gradients_);
}

void HeadGradient::run_chunks(const Crew& crew, const Differentiate& differentiate) noexcept {
  Worker worker{Buffer(kLanes * vocab_), Buffer(kernels::input_gradient_workspace(width_)),
                Buffer(kGroup * width_ * kLanes),
                Buffer(head_.low_rank ? kGroup * head_.low_rank->rank() * kLanes : 0)};
  const std::int64_t panels = engine::panels_of(rows_.size());
  // Rows without a gradient; and without any row the sums below do not begin.
  for (std::size_t i = 0; i < (panels > 0 ? 1 : gradients_.size()); ++i)
    engine::fill_zero(crew, gradients_[i]);
  crew.meet();
  for (std::int64_t first = 0; first < panels; first += chunk_) {
    const std::int64_t count = std::min(chunk_, panels - first);
    const Range mine = crew.share(count);
    for (std::int64_t p = mine.begin; p < mine.end; p += kGroup) {
      const Range group{p, std::min(p + kGroup, mine.end)};
      differentiate_panels(first, group, worker, differentiate);
      R1_CPU(linear_rows_cpu)
      (x_.data(), group.begin, group.end, count, width_, x_rows_.data());
      reach_hidden(first, group, count, worker);
    }
    crew.meet();
    parameter_gradient(head_, to_, logits_.data(), x_rows_.data(), count, low_, crew, first > 0);
    crew.meet();
  }
}

/// The gradient of the logits in some of the chunk's panels, in their place.
void HeadGradient::differentiate_panels(std::int64_t first, Range group, Worker& worker,
                                        const Differentiate& differentiate) noexcept {
  float* const x = x_.data() + group.begin * width_ * kLanes;
  float* const logits = logits_.data() + group.begin * vocab_ * kLanes;
  for (std::int64_t p = 0; p < group.count(); ++p) {
    const std::int64_t panel = first + group.begin + p;
    gather_rows(hidden_, width_, rows_.data() + panel * kLanes, rows_in(panel),
                x + p * width_ * kLanes);
  }
  engine::project(head_, x, group.count(), {0, vocab_}, worker.low.data(), nullptr, logits);
  float* const rows = worker.rows.data();
  for (std::int64_t p = 0; p < group.count(); ++p) {
    const std::int64_t panel = first + group.begin + p, count = rows_in(panel);
    float* const lanes = logits + p * vocab_ * kLanes;
    R1_CPU(lanes_to_rows_cpu)(lanes, kLanes, vocab_, rows, vocab_);
    for (std::int64_t lane = 0; lane < count; ++lane)
      differentiate(rows_[static_cast<std::size_t>(panel * kLanes + lane)], rows + lane * vocab_);
    R1_CPU(rows_to_lanes_cpu)(rows, vocab_, count, vocab_, lanes);
  }
}

/// The gradient of the hidden states in some of the chunk's panels.
void HeadGradient::reach_hidden(std::int64_t first, Range group, std::int64_t count,
                                Worker& worker) noexcept {
  if (!grad_hidden_ && !head_.low_rank) return;
  float* const dx = worker.dx.data();
  input_gradient(head_, logits_.data() + group.begin * vocab_ * kLanes,
                 x_.data() + group.begin * width_ * kLanes, group, count, low_, worker.strip.data(),
                 dx, false);
  if (!grad_hidden_) return;
  const auto rows = static_cast<std::int64_t>(rows_.size());
  const std::int64_t begin = (first + group.begin) * kLanes;
  const std::int64_t end = std::min((first + group.end) * kLanes, rows);
  for (std::int64_t i = begin; i < end; ++i)
    engine::read_lane(dx + (i - begin) / kLanes * width_ * kLanes, width_, i % kLanes,
                      grad_hidden_ + rows_[static_cast<std::size_t>(i)] * width_);
}

std::int64_t HeadGradient::rows_in(std::int64_t panel) const {
  return std::min(kLanes, static_cast<std::int64_t>(rows_.size()) - panel * kLanes);
}

void gather_rows(const float* hidden, std::int64_t width, const std::int64_t* rows,
                 std::int64_t count, float* panel) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane)
    for (std::int64_t k = 0; k < width; ++k)
      panel[k * kLanes + lane] = lane < count ? hidden[rows[lane] * width + k] : 0.f;
}

}  // namespace r1::training
