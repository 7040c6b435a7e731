#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "csrc/training/stretches.h"

namespace r1::training {

/// Tokens of some sequences, side by side without padding: of each group its prompt once, then its
/// completions. The order depends on the sequences alone.
struct Packing {
  struct Part {
    Stretch stretch;
    std::size_t prompt;  // the part that holds its prompt; itself, if it is one
    std::int64_t first;  // its first row
    std::int64_t count() const { return stretch.end - stretch.begin; }
  };
  struct Row {
    std::int64_t token;
    std::size_t part;
    std::int64_t index;  // in the part
  };
  /// A prompt and its completions: parts [first, last), the prompt's first.
  struct Group {
    std::size_t first, last;
  };

  Packing(const std::vector<at::Tensor>& sequences,
          const std::vector<std::int64_t>& prompt_lengths);

  std::vector<Part> parts;
  std::vector<Group> groups;
  std::vector<Row> rows;
  /// Of every completion token, sequence by sequence, the row that predicts it.
  std::vector<std::int64_t> targets;

  std::int64_t position(const Row& row) const { return parts[row.part].stretch.begin + row.index; }
  std::int64_t longest(bool prompt) const;
};

}  // namespace r1::training
