#include "csrc/rewards/math/points.h"

#include <algorithm>
#include <array>

namespace r1::math {
namespace {

constexpr std::size_t kMaxNumbers = 8;

}  // namespace

Points::Points(const Terms& terms, Id a, Id b) {
  point_.symbols = terms.symbols(a);
  for (const Id symbol : terms.symbols(b)) {
    const auto& known = point_.symbols;
    if (std::find(known.begin(), known.end(), symbol) == known.end()) {
      point_.symbols.push_back(symbol);
    }
  }
  examine(terms, a, 0);
  examine(terms, b, 0);
  if (pieces_) beyond_ = numbers_;
}

void Points::examine(const Terms& terms, Id id, int depth) {
  if (depth > 60) return;
  if (terms.is(id, Op::number)) {
    const Rational size = abs(terms.value(id));
    if (size > 1 && bits(size) < 200 && numbers_.size() < kMaxNumbers) numbers_.push_back(size);
  }
  if (terms.is(id, Op::call)) {
    switch (terms.function(id)) {
      case Function::floor:
      case Function::ceil:
      case Function::sign:
        steps_ = true;
        [[fallthrough]];
      case Function::max:
      case Function::min:
      case Function::abs:
        pieces_ = true;
        break;
      case Function::factorial:
      case Function::binomial:
      case Function::gcd:
      case Function::lcm:
      case Function::mod:
        integers_ = true;
        break;
      default:
        break;
    }
  }
  for (const Id child : terms.children(id)) examine(terms, child, depth + 1);
}

const Point& Points::at(int n) {
  point_.values.clear();
  for (std::size_t k = 0; k < point_.symbols.size(); ++k) point_.values.push_back(value(n, k));
  return point_;
}

Rational Points::random_size(int power) {
  const Rational size = Rational(static_cast<std::int64_t>(1024 + draws_.below(9216))) / 1024;
  const Rational ten = mp::pow(Integer(10), static_cast<unsigned>(std::abs(power)));
  return power < 0 ? Rational(size / ten) : Rational(size * ten);
}

Rational Points::value(int n, std::size_t symbol) {
  static constexpr auto kPowers =
      std::to_array<int>({0, 1, 0, 1, -1, 2, 0, 1, 3, -2, 0, 4, 6, -4, 1, 9});
  if (integers_) return Rational(static_cast<std::int64_t>(2 + draws_.below(40)));
  const int beyond = 2 * static_cast<int>(beyond_.size());
  if (n < beyond) {
    const Rational size = beyond_[static_cast<std::size_t>(n / 2)] * (1 + random_size(0));
    return n % 2 == 1 ? Rational(-size) : size;
  }
  if (n < special()) {
    const int step = n - beyond;
    const Rational near =
        Rational(static_cast<std::int64_t>(draws_.below(41)) - 20) / (1 + step % 3);
    const Rational gap = random_size(-1 - step / 3);
    return step % 2 == 0 ? Rational(near + gap) : Rational(near - gap);
  }
  const Rational size =
      random_size(kPowers[(static_cast<std::size_t>(n) + symbol * 5) % kPowers.size()]);
  return (draws_.next() >> 32 & 1) != 0 ? Rational(-size) : size;
}

}  // namespace r1::math
