#include "csrc/training/stretches.h"

#include <algorithm>

namespace r1::training {
namespace {

bool same_prompt(const at::Tensor& a, const at::Tensor& b, std::int64_t length) {
  const auto* const left = a.const_data_ptr<std::int64_t>();
  return std::equal(left, left + length, b.const_data_ptr<std::int64_t>());
}

}  // namespace

std::vector<Stretch> stretches_of(const std::vector<at::Tensor>& sequences,
                                  const std::vector<std::int64_t>& prompt_lengths) {
  std::vector<Stretch> stretches;
  for (std::size_t first = 0, last; first < sequences.size(); first = last) {
    const std::int64_t length = prompt_lengths[first];
    for (last = first + 1; last < sequences.size() && prompt_lengths[last] == length &&
                           same_prompt(sequences[first], sequences[last], length);)
      ++last;
    stretches.push_back({true, first, last, 0, length});
    for (std::size_t i = first; i < last; ++i)
      if (sequences[i].size(0) - 1 > length)
        stretches.push_back({false, i, i + 1, length, sequences[i].size(0) - 1});
  }
  return stretches;
}

}  // namespace r1::training
