#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace r1::training {

/// Tokens to run: the prompt that sequences [first, last) share, or one sequence's completion.
struct Stretch {
  bool prompt;
  std::size_t first, last;
  std::int64_t begin, end;  // positions; a sequence's last token predicts nothing and does not run
};

/// Consecutive sequences with the same prompt run it once.
std::vector<Stretch> stretches_of(const std::vector<at::Tensor>& sequences,
                                  const std::vector<std::int64_t>& prompt_lengths);

}  // namespace r1::training
