#include "csrc/training/head.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "csrc/check.h"
#include "csrc/engine/lanes.h"
#include "csrc/training/head_gradient.h"
#include "kernels/lanes.h"
#include "kernels/logprob.h"

namespace r1::training {
namespace {

using engine::Team;
using kernels::SoftmaxStatistics;
static_assert(sizeof(SoftmaxStatistics) == 3 * sizeof(double));

}  // namespace

void check_head(const char* function, const Linear& head, const at::Tensor& hidden,
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

HeadScores head_logprobs(const Linear& head, const at::Tensor& hidden, const at::Tensor& tokens,
                         double temperature, int threads, const std::function<void()>& poll) {
  check_head(__func__, head, hidden, tokens, temperature, threads);
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
    Buffer x(kBlock * width * kLanes), logits(kBlock * vocab * kLanes), by_row(kLanes * vocab);
    Buffer low(head.low_rank ? kBlock * head.low_rank->rank() * kLanes : 0);
    const Range mine = crew.share(count, kLanes);
    for (std::int64_t first = mine.begin; first < mine.end; first += kBlock * kLanes) {
      const std::int64_t rows = std::min(kBlock * kLanes, mine.end - first);
      const std::int64_t panels = (rows + kLanes - 1) / kLanes;
      std::int64_t index[kBlock * kLanes];
      for (std::int64_t i = 0; i < rows; ++i) index[i] = first + i;
      for (std::int64_t p = 0; p < panels; ++p)
        gather_rows(engine::data(hidden), width, index + p * kLanes,
                    std::min(kLanes, rows - p * kLanes), x.data() + p * width * kLanes);
      engine::project(head, x.data(), panels, {0, vocab}, low.data(), nullptr, logits.data());
      for (std::int64_t begin = first; begin < first + rows; begin += kLanes) {
        const std::int64_t in_panel = std::min(kLanes, first + rows - begin);
        R1_CPU(lanes_to_rows_cpu)
        (logits.data() + (begin - first) * vocab, kLanes, vocab, by_row.data(), vocab);
        R1_CPU(token_logprobs_cpu)
        (by_row.data(), ids + begin, in_panel, vocab, static_cast<float>(temperature),
         logprobs + begin, entropies + begin, statistics + begin, nullptr);
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
  const auto* const ids = tokens.const_data_ptr<std::int64_t>();
  const auto* const softmaxes =
      reinterpret_cast<const SoftmaxStatistics*>(statistics.const_data_ptr<double>());
  const float* const dlogprobs = engine::data(grad_logprobs);
  const float* const dentropies = engine::data(grad_entropies);
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < hidden.size(0); ++i)
    if (dlogprobs[i] != 0 || dentropies[i] != 0) rows.push_back(i);
  HeadGradient gradient(head, hidden, std::move(rows), wanted, threads);
  const std::int64_t vocab = head.weight.size(0);
  return gradient.run(
      [&](std::int64_t i, float* row) {
        R1_CPU(token_logprobs_backward_cpu)
        (row, ids + i, softmaxes + i, dlogprobs + i, dentropies + i, 1, vocab,
         static_cast<float>(temperature), row);
      },
      poll);
}

}  // namespace r1::training
