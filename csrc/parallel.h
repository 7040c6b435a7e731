#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace r1 {

/// Calls `body(begin, end)` on disjoint ranges of rows from torch's threads. Rows are independent,
/// so their number never changes a bit; a range holds at least 1 Mi items (about 0.3 ms), below
/// which waking a second thread on a busy machine costs more than it brings.
template <class Body>
void parallel_rows(std::int64_t rows, std::int64_t items_per_row, const Body& body) {
  constexpr std::int64_t kItems = std::int64_t{1} << 20;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kItems / std::max<std::int64_t>(1, items_per_row));
  at::parallel_for(0, rows, grain, body);
}

}  // namespace r1
