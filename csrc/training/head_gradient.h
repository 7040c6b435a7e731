#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "csrc/engine/team.h"
#include "csrc/training/linear_gradient.h"

namespace r1::training {

/// The head's products over some rows of hidden states, a chunk of rows at a time: their logits,
/// the gradient in place of each, and then the gradients of their factors:
///
///     d hidden = d logits weight,   d weight = sum over rows of d logits^T hidden
///
/// Each sum runs over the rows in order, so that its bits depend on neither threads nor chunks.
class HeadGradient {
 public:
  /// Turns the logits of row i, [vocab], into their gradient; called from any thread.
  using Differentiate = std::function<void(std::int64_t i, float* logits)>;

  /// @param hidden  float32 [M, hidden], contiguous
  /// @param rows    of them, ascending; the others have no gradient and cost nothing
  /// @param wanted  whether hidden, then the head's weight, bias, a and b as far as it has them,
  ///                want a gradient
  HeadGradient(const Linear& head, const at::Tensor& hidden, std::vector<std::int64_t> rows,
               const std::vector<bool>& wanted, int threads);

  /// @param poll  called on the calling thread about every 100 ms; may throw
  /// @return the gradients in the order of `wanted`, float32; undefined where not wanted
  std::vector<at::Tensor> run(const Differentiate& differentiate,
                              const std::function<void()>& poll);

 private:
  /// What one thread keeps to itself.
  struct Worker {
    Buffer rows, strip, dx, low;
  };

  void allocate(const at::Tensor& hidden, const std::vector<bool>& wanted);
  void run_chunks(const Crew& crew, const Differentiate& differentiate) noexcept;
  void differentiate_panels(std::int64_t first, Range group, Worker& worker,
                            const Differentiate& differentiate) noexcept;
  void reach_hidden(std::int64_t first, Range group, std::int64_t count, Worker& worker) noexcept;
  std::int64_t rows_in(std::int64_t panel) const;

  const Linear& head_;
  const float* const hidden_;
  const int threads_;
  const std::int64_t width_, vocab_;
  const std::vector<std::int64_t> rows_;
  std::int64_t chunk_;  // panels at a time
  Buffer x_, x_rows_, logits_;
  LowRankTape low_;
  std::vector<at::Tensor> gradients_;
  float* grad_hidden_ = nullptr;
  LinearGradient to_;
};

/// Some rows of `hidden`, at most 16 of them, into a panel; lanes without one hold zeros.
void gather_rows(const float* hidden, std::int64_t width, const std::int64_t* rows,
                 std::int64_t count, float* panel);

}  // namespace r1::training
