#pragma once
#include <sstream>
#include <stdexcept>

namespace r1 {

/// Throws std::invalid_argument (ValueError in Python) whose message is the parts in a row.
template <class... Parts>
[[noreturn]] void reject(const char* function, const Parts&... parts) {
  std::ostringstream message;
  message << function << ": ";
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

}  // namespace r1

/// The caller's side of the contract: `R1_REQUIRE(eps > 0, "eps must be > 0; got ", eps);` in a
/// function named f fails with "f: eps must be > 0; got -1".
#define R1_REQUIRE(condition, ...) \
  if (!(condition)) [[unlikely]]   \
  ::r1::reject(__func__, __VA_ARGS__)
