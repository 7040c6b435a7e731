#pragma once
#include <cstdint>

namespace r1 {

/// Where conventions about answers differ, the one to follow. The defaults accept what data sets
/// accept; every choice holds for gold and answer alike.
struct MathPolicy {
  enum class Percent : std::uint8_t {
    either,     // 45% is 0.45, and is 45 where only one side has the sign
    hundredth,  // 45% is 0.45
    ignore,     // 45% is 45
  };
  enum class Units : std::uint8_t {
    optional,  // may be missing on one side; two known units must agree: 100 cm is 1 m, not 1 s
    required,  // on both sides or on none
    ignore,    // 5 cm is 5 m
  };
  enum class Base : std::uint8_t {
    value,   // 204_5 is 54
    digits,  // 204_5 is 54, and is 204 where only one side names a base
  };

  int precision = 6;  // decimal places to which a decimal must match; in [0, 100]
  Percent percent = Percent::either;
  Units units = Units::optional;
  Base base = Base::value;
  bool ordered_lists = false;   // "1, 2" is not "2, 1"
  bool open_intervals = true;   // "(1, 2)" may be an interval as well as a pair
  bool case_sensitive = false;  // of answers in words
  bool last_number = true;  // a completion that marks no answer gives its last line's last number
};

}  // namespace r1
