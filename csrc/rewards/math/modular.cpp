#include "csrc/rewards/math/modular.h"

#include <optional>
#include <random>
#include <vector>

namespace r1::math {
namespace {

constexpr int kPrimes = 3, kPoints = 2;

std::uint64_t times(std::uint64_t a, std::uint64_t b, std::uint64_t p) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{a} * b % p);
}

std::uint64_t raised(std::uint64_t base, std::uint64_t exponent, std::uint64_t p) {
  std::uint64_t result = 1;
  for (; exponent != 0; exponent >>= 1, base = times(base, base, p)) {
    if (exponent & 1) result = times(result, base, p);
  }
  return result;
}

bool is_prime(std::uint64_t n) {
  for (const std::uint64_t small : {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37}) {
    if (n % small == 0) return n == small;
  }
  std::uint64_t odd = n - 1;
  int twos = 0;
  for (; odd % 2 == 0; odd /= 2) ++twos;
  // Miller and Rabin; these bases leave no pseudoprime below 3.3e24.
  for (const std::uint64_t base : {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37}) {
    std::uint64_t x = raised(base, odd, n);
    if (x == 1 || x == n - 1) continue;
    bool composite = true;
    for (int k = 1; k < twos && composite; ++k) {
      x = times(x, x, n);
      composite = x != n - 1;
    }
    if (composite) return false;
  }
  return true;
}

std::uint64_t residue(const Integer& value, std::uint64_t p) {
  const Integer rest = abs(value) % p;
  const auto r = static_cast<std::uint64_t>(rest);
  return value < 0 && r != 0 ? p - r : r;
}

/// A rational function at a point modulo p; nothing where it divides by zero there.
class Modular {
 public:
  Modular(Terms& terms, std::uint64_t prime, std::uint64_t key)
      : terms_(terms), p_(prime), key_(key) {}

  std::optional<std::uint64_t> at(Id id) {
    if (static_cast<std::size_t>(id) >= known_.size())
      known_.resize(static_cast<std::size_t>(id) + 64);
    auto& known = known_[static_cast<std::size_t>(id)];
    if (!known.done) {
      const auto value = evaluate(id);  // may move known_
      known_[static_cast<std::size_t>(id)] = {true, value};
      return value;
    }
    return known.value;
  }

 private:
  struct Known {
    bool done = false;
    std::optional<std::uint64_t> value;
  };

  std::optional<std::uint64_t> evaluate(Id id) {
    const Node& node = terms_[id];
    if (!terms_.budget.spend(30)) return std::nullopt;
    switch (node.op) {
      case Op::number:
        return number(terms_.value(id));
      case Op::symbol:
        return 1 + Draws(key_ ^ node.hash).below(p_ - 1);
      case Op::power: {
        const auto base = at(terms_.child(id, 0));
        return base ? raise(*base, terms_.value(terms_.child(id, 1))) : std::nullopt;
      }
      default: {
        std::uint64_t total = node.op == Op::sum ? 0 : 1;
        for (const Id child : terms_.children(id)) {
          const auto value = at(child);
          if (!value) return std::nullopt;
          total = node.op == Op::sum ? (total + *value) % p_ : times(total, *value, p_);
        }
        return total;
      }
    }
  }

  std::optional<std::uint64_t> number(const Rational& value) {
    terms_.budget.spend(static_cast<std::int64_t>(bits(value) / 8));
    const std::uint64_t top = residue(Integer(mp::numerator(value)), p_);
    const std::uint64_t bottom = residue(Integer(mp::denominator(value)), p_);
    if (bottom == 0) return std::nullopt;
    return times(top, raised(bottom, p_ - 2, p_), p_);
  }

  std::optional<std::uint64_t> raise(std::uint64_t base, const Rational& exponent) {
    if (base == 0) return exponent > 0 ? std::optional<std::uint64_t>(0) : std::nullopt;
    terms_.budget.spend(300);
    return raised(base, residue(Integer(mp::numerator(exponent)), p_ - 1), p_);  // Fermat
  }

  Terms& terms_;
  std::uint64_t p_, key_;
  std::vector<Known> known_;
};

}  // namespace

std::uint64_t Draws::process_key() {
  static const std::uint64_t key = [] {
    std::random_device device;
    return (static_cast<std::uint64_t>(device()) << 32) ^ device();
  }();
  return key;
}

std::uint64_t Draws::next() {  // splitmix64
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

std::uint64_t Draws::prime() {
  for (;;) {
    const std::uint64_t candidate = (next() >> 4) | (std::uint64_t{1} << 60) | 1;
    if (is_prime(candidate & ((std::uint64_t{1} << 61) - 1)))
      return candidate & ((std::uint64_t{1} << 61) - 1);
  }
}

bool is_rational_function(const Terms& terms, Id id) {
  if (id == kNone) return false;
  std::vector<Id> open = {id};
  std::vector<bool> seen;
  while (!open.empty()) {
    const Id at = open.back();
    open.pop_back();
    if (static_cast<std::size_t>(at) >= seen.size()) seen.resize(static_cast<std::size_t>(at) + 1);
    if (seen[static_cast<std::size_t>(at)]) continue;
    seen[static_cast<std::size_t>(at)] = true;
    const Op op = terms[at].op;
    if (op == Op::power) {
      const Id exponent = terms.child(at, 1);
      if (!terms.is(exponent, Op::number) || !is_integer(terms.value(exponent))) return false;
      open.push_back(terms.child(at, 0));
    } else if (op == Op::sum || op == Op::product) {
      open.insert(open.end(), terms.children(at).begin(), terms.children(at).end());
    } else if (op != Op::number && op != Op::symbol) {
      return false;
    }
  }
  return true;
}

Truth same_rational_function(Terms& terms, Id a, Id b) {
  static const std::vector<std::uint64_t> primes = [] {
    Draws draws;
    std::vector<std::uint64_t> found;
    for (int k = 0; k < kPrimes; ++k) found.push_back(draws.prime());
    return found;
  }();
  int agreed = 0;
  for (int n = 0; n < kPrimes * kPoints * 2 && agreed < kPrimes * kPoints; ++n) {
    Modular modular(terms, primes[static_cast<std::size_t>(n % kPrimes)],
                    Draws::process_key() + static_cast<std::uint64_t>(n) * 0x632BE59BD9B4E019u);
    const auto left = modular.at(a), right = modular.at(b);
    if (terms.budget.is_over()) return Truth::unknown;
    if (!left || !right) continue;
    if (*left != *right) return Truth::no;
    ++agreed;
  }
  return agreed == kPrimes * kPoints ? Truth::yes : Truth::unknown;
}

}  // namespace r1::math
