#include "csrc/training/packing.h"

#include <algorithm>

namespace r1::training {

Packing::Packing(const std::vector<at::Tensor>& sequences,
                 const std::vector<std::int64_t>& prompt_lengths) {
  // Rows that predict a sequence's tokens: its prompt's last, then those of its completion.
  std::vector<std::int64_t> last_of_prompt(sequences.size()), first_of_own(sequences.size());
  for (const Stretch& stretch : stretches_of(sequences, prompt_lengths)) {
    const auto first = static_cast<std::int64_t>(rows.size());
    const std::size_t part = parts.size();
    if (stretch.prompt) groups.push_back({part, part});
    groups.back().last = part + 1;
    parts.push_back({stretch, groups.back().first, first});
    const auto* const tokens = sequences[stretch.first].const_data_ptr<std::int64_t>();
    for (std::int64_t t = stretch.begin; t < stretch.end; ++t)
      rows.push_back({tokens[t], part, t - stretch.begin});
    for (std::size_t i = stretch.first; i < stretch.last; ++i)
      stretch.prompt ? last_of_prompt[i] = first + parts.back().count() - 1
                     : first_of_own[i] = first;
  }
  for (std::size_t i = 0; i < sequences.size(); ++i)
    for (std::int64_t t = 0; t < sequences[i].size(0) - prompt_lengths[i]; ++t)
      targets.push_back(t == 0 ? last_of_prompt[i] : first_of_own[i] + t - 1);
}

std::int64_t Packing::longest(bool prompt) const {
  std::int64_t length = 1;
  for (const Part& part : parts)
    if (part.stretch.prompt == prompt) length = std::max(length, part.count());
  return length;
}

}  // namespace r1::training
