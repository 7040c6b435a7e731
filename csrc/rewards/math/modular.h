#pragma once
#include <cstdint>

#include "csrc/rewards/math/terms.h"

namespace r1::math {

/// Numbers drawn from a key of this process, so that no answer can be aimed at the primes and
/// points at which it will be tried.
class Draws {
 public:
  Draws() : Draws(process_key()) {}
  explicit Draws(std::uint64_t key) : state_(key) {}
  std::uint64_t next();
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  /// A prime of 61 bits.
  std::uint64_t prime();
  static std::uint64_t process_key();

 private:
  std::uint64_t state_;
};

enum class Truth : std::uint8_t { no, yes, unknown };

/// Whether a term is a quotient of polynomials in its symbols, with rational coefficients.
bool is_rational_function(const Terms& terms, Id id);

/// Whether two rational functions are the same: both at random points modulo random primes
/// (Schwartz and Zippel). A difference is a proof. Agreement at all points errs with a chance below
/// (degree / 2^60)^6.
Truth same_rational_function(Terms& terms, Id a, Id b);

}  // namespace r1::math
