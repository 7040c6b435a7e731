#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "csrc/rewards/math/rational.h"

namespace r1::math {

/// A unit of measurement, by what it measures and how much of it: km/h is length^1 time^-1 times
/// 5/18 in metres and seconds.
struct Unit {
  std::string dimension;  // "" where the words name no known unit, as "apples" does
  Rational factor = 1;
  std::string words;  // as written, folded
};

/// Reads the words or symbols behind a number: "cm", "square feet", "miles per hour", "m/s^2",
/// "cm^3", "dollars". Words that are no known unit make a unit without a dimension.
/// @param single_letters  whether "m", "s", "g" and so on are units: in \text{ m} they are, in
///                        mathematics they are variables
/// @return nothing where the text is not made of words at all
std::optional<Unit> parse_unit(std::string_view text, bool single_letters);

}  // namespace r1::math
