#include "csrc/training/head.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "csrc/check.h"
#include "csrc/engine/lanes.h"
#include "csrc/training/linear_gradient.h"
#include "kernels/logprob.h"

namespace r1::training {
namespace {

using engine::Team;
using kernels::SoftmaxStatistics;
static_assert(sizeof(SoftmaxStatistics) == 3 * sizeof(double));

/// Bytes of logits that may exist at a time; at least a panel per thread.
constexpr std::int64_t kBudget = 64 << 20;
/// Panels whose gradient goes through the head together: it packs the weights once for them.
constexpr std::int64_t kGroup = 16;

void check(const char* function, const Linear& head, const at::Tensor& hidden,
           const at::Tensor& tokens, double temperature, int threads) {
  if (hidden.dim() != 2 || hidden.scalar_type() != at::kFloat || !hidden.is_contiguous() ||
      hidden.size(1) != head.weight.size(1))
    reject(function, "hidden must be contiguous float32 [M, ", head.weight.size(1), "]; got ",
           hidden.toString(), " ", hidden.sizes());
  if (tokens.dim() != 1 || tokens.scalar_type() != at::kLong || !tokens.is_contiguous() ||
      tokens.size(0) != hidden.size(0))
    reject(function, "tokens must be contiguous int64 [", hidden.size(0), "]; got ",
           tokens.toString(), " ", tokens.sizes());
  const auto* const ids = tokens.const_data_ptr<std::int64_t>();
  const std::int64_t vocab = head.weight.size(0);
  for (std::int64_t i = 0; i < tokens.size(0); ++i)
    if (ids[i] < 0 || ids[i] >= vocab)
      reject(function, "tokens must lie in [0, ", vocab, "); tokens[", i, "] is ", ids[i]);
  if (!(temperature > 0)) reject(function, "temperature must be > 0; got ", temperature);
  if (threads < 1) reject(function, "threads must be >= 1; got ", threads);
}

/// Some rows of `hidden`, 16 of them, into a panel; lanes without one hold zeros.
void gather(const float* hidden, std::int64_t width, const std::int64_t* rows, std::int64_t count,
            float* panel) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane)
    for (std::int64_t k = 0; k < width; ++k)
      panel[k * kLanes + lane] = lane < count ? hidden[rows[lane] * width + k] : 0.f;
}

/// The backward pass over chunks of the rows that count.
class HeadBackward {
 public:
  HeadBackward(const Linear& head, const at::Tensor& hidden, const at::Tensor& tokens,
               const at::Tensor& statistics, const at::Tensor& grad_logprobs,
               const at::Tensor& grad_entropies, double temperature,
               const std::vector<bool>& wanted, int threads)
      : head_(head),
        hidden_(engine::data(hidden)),
        tokens_(tokens.const_data_ptr<std::int64_t>()),
        statistics_(
            reinterpret_cast<const SoftmaxStatistics*>(statistics.const_data_ptr<double>())),
        grad_logprobs_(engine::data(grad_logprobs)),
        grad_entropies_(engine::data(grad_entropies)),
        temperature_(static_cast<float>(temperature)),
        width_(hidden.size(1)),
        vocab_(head.weight.size(0)) {
    for (std::int64_t i = 0; i < hidden.size(0); ++i)
      if (grad_logprobs_[i] != 0 || grad_entropies_[i] != 0) rows_.push_back(i);
    const std::int64_t fit = kBudget / (vocab_ * kLanes * static_cast<std::int64_t>(sizeof(float)));
    chunk_ = std::clamp<std::int64_t>(engine::panels_of(rows_.size()), 1,
                                      std::max<std::int64_t>(fit, threads));
    x_ = Buffer(chunk_ * width_ * kLanes);
    x_rows_ = Buffer(kernels::rows_size(chunk_, width_));
    logits_ = Buffer(chunk_ * vocab_ * kLanes);
    low_ = LowRankTape(head, chunk_);
    allocate(hidden, wanted);
  }

  void run(int rank, Team& team) noexcept {
    const Crew crew = team.crew(rank);
    Buffer row(vocab_), strip(kernels::input_gradient_workspace(width_));
    Buffer dx(kGroup * width_ * kLanes);
    Buffer low(head_.low_rank ? head_.low_rank->rank() * kLanes : 0);
    const std::int64_t panels = engine::panels_of(rows_.size());
    for (std::int64_t first = 0; first < panels; first += chunk_) {
      const std::int64_t count = std::min(chunk_, panels - first);
      const Range mine = crew.share(count);
      for (std::int64_t p = mine.begin; p < mine.end; p += kGroup) {
        const Range group{p, std::min(p + kGroup, mine.end)};
        for (std::int64_t at = group.begin; at < group.end; ++at)
          differentiate(first + at, at, row.data(), low.data());
        R1_CPU(linear_rows_cpu)
        (x_.data(), group.begin, group.end, count, width_, x_rows_.data());
        reach_hidden(first, group, count, strip.data(), dx.data());
      }
      crew.meet();
      parameter_gradient(head_, to_, logits_.data(), x_rows_.data(), count, low_, crew, first > 0);
      crew.meet();
    }
  }

  std::vector<at::Tensor> take() { return std::move(gradients_); }

 private:
  void allocate(const at::Tensor& hidden, const std::vector<bool>& wanted) {
    const auto next = [&](const at::Tensor& like) -> float* {
      const bool want = wanted[gradients_.size()];
      gradients_.push_back(want ? at::zeros(like.sizes(), at::kFloat) : at::Tensor());
      return want ? gradients_.back().mutable_data_ptr<float>() : nullptr;
    };
    grad_hidden_ = next(hidden);
    to_.weight = next(head_.weight);
    if (head_.bias) to_.bias = next(*head_.bias);
    if (!head_.low_rank) return;
    to_.a = next(head_.low_rank->a);
    to_.b = next(head_.low_rank->b);
  }

  /// The gradient of one panel's logits, in their place.
  void differentiate(std::int64_t panel, std::int64_t at, float* row, float* low) noexcept {
    const std::int64_t* const rows = rows_.data() + panel * kLanes;
    const std::int64_t count =
        std::min(kLanes, static_cast<std::int64_t>(rows_.size()) - panel * kLanes);
    float* const x = x_.data() + at * width_ * kLanes;
    float* const logits = logits_.data() + at * vocab_ * kLanes;
    gather(hidden_, width_, rows, count, x);
    engine::project(head_, x, 1, {0, vocab_}, low, logits, false);
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      if (lane >= count) {
        std::fill_n(row, vocab_, 0.f);
      } else {
        const std::int64_t i = rows[lane];
        engine::read_lane(logits, vocab_, lane, row);
        R1_CPU(token_logprobs_backward_cpu)
        (row, tokens_ + i, statistics_ + i, grad_logprobs_ + i, grad_entropies_ + i, 1, vocab_,
         temperature_, row);
      }
      engine::write_lane(row, {0, vocab_}, lane, logits);
    }
  }

  /// The gradient of the hidden states in some of the chunk's panels.
  void reach_hidden(std::int64_t first, Range group, std::int64_t count, float* strip,
                    float* dx) noexcept {
    if (!grad_hidden_ && !head_.low_rank) return;
    input_gradient(head_, logits_.data() + group.begin * vocab_ * kLanes,
                   x_.data() + group.begin * width_ * kLanes, group, count, low_, strip, dx, false);
    if (!grad_hidden_) return;
    const auto rows = static_cast<std::int64_t>(rows_.size());
    const std::int64_t begin = (first + group.begin) * kLanes;
    const std::int64_t end = std::min((first + group.end) * kLanes, rows);
    for (std::int64_t i = begin; i < end; ++i)
      engine::read_lane(dx + (i - begin) / kLanes * width_ * kLanes, width_, i % kLanes,
                        grad_hidden_ + rows_[static_cast<std::size_t>(i)] * width_);
  }

  const Linear& head_;
  const float* const hidden_;
  const std::int64_t* const tokens_;
  const SoftmaxStatistics* const statistics_;
  const float *const grad_logprobs_, *const grad_entropies_;
  const float temperature_;
  const std::int64_t width_, vocab_;
  std::vector<std::int64_t> rows_;  // that count
  std::int64_t chunk_;              // panels at a time
  Buffer x_, x_rows_, logits_;
  LowRankTape low_;
  std::vector<at::Tensor> gradients_;
  float* grad_hidden_ = nullptr;
  LinearGradient to_;
};

}  // namespace

HeadScores head_logprobs(const Linear& head, const at::Tensor& hidden, const at::Tensor& tokens,
                         double temperature, int threads, const std::function<void()>& poll) {
  check(__func__, head, hidden, tokens, temperature, threads);
  const std::int64_t count = hidden.size(0), width = hidden.size(1), vocab = head.weight.size(0);
  HeadScores scores{at::empty({count}, at::kFloat), at::empty({count}, at::kFloat),
                    at::empty({count, 3}, at::kDouble)};
  auto* const logprobs = scores.logprobs.mutable_data_ptr<float>();
  auto* const entropies = scores.entropies.mutable_data_ptr<float>();
  auto* const statistics =
      reinterpret_cast<SoftmaxStatistics*>(scores.statistics.mutable_data_ptr<double>());
  const auto* const ids = tokens.const_data_ptr<std::int64_t>();
  constexpr std::int64_t kBlock = 8;  // panels
  const auto body = [&](const Crew& crew) {
    Buffer x(kBlock * width * kLanes), logits(kBlock * vocab * kLanes), row(vocab);
    Buffer low(head.low_rank ? kBlock * head.low_rank->rank() * kLanes : 0);
    const Range mine = crew.share(count, kLanes);
    for (std::int64_t first = mine.begin; first < mine.end; first += kBlock * kLanes) {
      const std::int64_t rows = std::min(kBlock * kLanes, mine.end - first);
      const std::int64_t panels = (rows + kLanes - 1) / kLanes;
      std::int64_t index[kBlock * kLanes];
      for (std::int64_t i = 0; i < rows; ++i) index[i] = first + i;
      for (std::int64_t p = 0; p < panels; ++p)
        gather(engine::data(hidden), width, index + p * kLanes, std::min(kLanes, rows - p * kLanes),
               x.data() + p * width * kLanes);
      engine::project(head, x.data(), panels, {0, vocab}, low.data(), logits.data(), false);
      for (std::int64_t i = first; i < first + rows; ++i) {
        const std::int64_t lane = i - first;
        engine::read_lane(logits.data() + lane / kLanes * vocab * kLanes, vocab, lane % kLanes,
                          row.data());
        R1_CPU(token_logprobs_cpu)
        (row.data(), ids + i, 1, vocab, static_cast<float>(temperature), logprobs + i,
         entropies + i, statistics + i, nullptr);
      }
    }
  };
  Team team(threads);
  team.run([&](int rank) { body(team.crew(rank)); }, poll);
  return scores;
}

std::vector<at::Tensor> head_logprobs_backward(const Linear& head, const at::Tensor& hidden,
                                               const at::Tensor& tokens,
                                               const at::Tensor& statistics,
                                               const at::Tensor& grad_logprobs,
                                               const at::Tensor& grad_entropies, double temperature,
                                               const std::vector<bool>& wanted, int threads,
                                               const std::function<void()>& poll) {
  HeadBackward backward(head, hidden, tokens, statistics, grad_logprobs, grad_entropies,
                        temperature, wanted, threads);
  Team team(threads);
  team.run([&](int rank) { backward.run(rank, team); }, poll);
  return backward.take();
}

}  // namespace r1::training
