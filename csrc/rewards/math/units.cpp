#include "csrc/rewards/math/units.h"

#include <algorithm>
#include <array>
#include <map>

#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

struct Entry {
  std::string_view name, dimension;
  std::int64_t top, bottom;
};

// A plural is found under its singular. Data sets write few others.
constexpr auto kUnits = std::to_array<Entry>({
    {"nm", "length", 1, 1'000'000'000},
    {"mm", "length", 1, 1000},
    {"millimeter", "length", 1, 1000},
    {"millimetre", "length", 1, 1000},
    {"cm", "length", 1, 100},
    {"centimeter", "length", 1, 100},
    {"centimetre", "length", 1, 100},
    {"dm", "length", 1, 10},
    {"m", "length", 1, 1},
    {"meter", "length", 1, 1},
    {"metre", "length", 1, 1},
    {"km", "length", 1000, 1},
    {"kilometer", "length", 1000, 1},
    {"kilometre", "length", 1000, 1},
    {"in", "length", 254, 10'000},
    {"inch", "length", 254, 10'000},
    {"inche", "length", 254, 10'000},
    {"ft", "length", 3048, 10'000},
    {"foot", "length", 3048, 10'000},
    {"feet", "length", 3048, 10'000},
    {"yd", "length", 9144, 10'000},
    {"yard", "length", 9144, 10'000},
    {"mi", "length", 1'609'344, 1000},
    {"mile", "length", 1'609'344, 1000},
    {"mg", "mass", 1, 1'000'000},
    {"g", "mass", 1, 1000},
    {"gram", "mass", 1, 1000},
    {"kg", "mass", 1, 1},
    {"kilogram", "mass", 1, 1},
    {"ton", "mass", 1000, 1},
    {"tonne", "mass", 1000, 1},
    {"lb", "mass", 45'359'237, 100'000'000},
    {"pound", "mass", 45'359'237, 100'000'000},
    {"oz", "mass", 45'359'237, 1'600'000'000},
    {"ounce", "mass", 45'359'237, 1'600'000'000},
    {"ms", "time", 1, 1000},
    {"s", "time", 1, 1},
    {"sec", "time", 1, 1},
    {"second", "time", 1, 1},
    {"min", "time", 60, 1},
    {"minute", "time", 60, 1},
    {"h", "time", 3600, 1},
    {"hr", "time", 3600, 1},
    {"hour", "time", 3600, 1},
    {"day", "time", 86'400, 1},
    {"week", "time", 604'800, 1},
    {"month", "month", 1, 1},
    {"year", "month", 12, 1},
    {"yr", "month", 12, 1},
    {"ml", "volume", 1, 1000},
    {"mL", "volume", 1, 1000},
    {"milliliter", "volume", 1, 1000},
    {"L", "volume", 1, 1},
    {"l", "volume", 1, 1},
    {"liter", "volume", 1, 1},
    {"litre", "volume", 1, 1},
    {"gallon", "gallon", 1, 1},
    {"gal", "gallon", 1, 1},
    {"quart", "gallon", 1, 4},
    {"pint", "gallon", 1, 8},
    {"degree", "angle", 1, 1},
    {"deg", "angle", 1, 1},
    {"radian", "radian", 1, 1},
    {"rad", "radian", 1, 1},
    {"K", "kelvin", 1, 1},
    {"kelvin", "kelvin", 1, 1},
    {"C", "celsius", 1, 1},
    {"F", "fahrenheit", 1, 1},
    {"dollar", "dollar", 1, 1},
    {"usd", "dollar", 1, 1},
    {"USD", "dollar", 1, 1},
    {"buck", "dollar", 1, 1},
    {"cent", "dollar", 1, 100},
    {"euro", "euro", 1, 1},
    {"EUR", "euro", 1, 1},
    {"yen", "yen", 1, 1},
    {"rupee", "rupee", 1, 1},
    {"yuan", "yuan", 1, 1},
    {"GBP", "sterling", 1, 1},
    {"sterling", "sterling", 1, 1},
    {"N", "force", 1, 1},
    {"newton", "force", 1, 1},
    {"J", "energy", 1, 1},
    {"joule", "energy", 1, 1},
    {"kJ", "energy", 1000, 1},
    {"W", "power", 1, 1},
    {"watt", "power", 1, 1},
    {"kW", "power", 1000, 1},
    {"V", "voltage", 1, 1},
    {"volt", "voltage", 1, 1},
    {"A", "current", 1, 1},
    {"amp", "current", 1, 1},
    {"ampere", "current", 1, 1},
    {"Hz", "frequency", 1, 1},
    {"hertz", "frequency", 1, 1},
    {"kHz", "frequency", 1000, 1},
    {"MHz", "frequency", 1'000'000, 1},
    {"Pa", "pressure", 1, 1},
    {"pascal", "pressure", 1, 1},
    {"kPa", "pressure", 1000, 1},
    {"mol", "mole", 1, 1},
    {"mole", "mole", 1, 1},
    {"mph", "length/time", 1'609'344, 3'600'000},
    {"acre", "acre", 1, 1},
    {"ohm", "ohm", 1, 1},
});

const Entry* find_unit(std::string_view name) {
  for (const bool singular : {false, true}) {
    if (singular && (name.size() < 4 || name.back() != 's')) return nullptr;
    const std::string_view key = singular ? name.substr(0, name.size() - 1) : name;
    for (const Entry& entry : kUnits) {
      const bool spelled_out = entry.name.size() > 2;
      const bool same = entry.name.size() == key.size() &&
                        std::equal(key.begin(), key.end(), entry.name.begin(), [&](char a, char b) {
                          return a == b || (spelled_out && to_lower(a) == b);
                        });
      if (same) return &entry;
    }
  }
  return nullptr;
}

/// Reads a product of units with exponents, one word or sign at a time.
class UnitReader {
 public:
  explicit UnitReader(bool single_letters) : single_letters_(single_letters) {}

  bool read(std::string_view text) {
    while (!text.empty()) {
      const char c = text.front();
      if (is_letter(c)) {
        std::size_t size = 0;
        while (size < text.size() && is_letter(text[size])) ++size;
        if (!word(text.substr(0, size))) return false;
        text.remove_prefix(size);
      } else if (c == '/') {
        sign_ = -1;
        text.remove_prefix(1);
      } else if (c == '^' || is_digit(c) || c == '-') {
        if (!exponent(text)) return false;
      } else if (is_space(c) || c == '.' || c == '*' || c == '{' || c == '}') {
        text.remove_prefix(1);
      } else {
        return false;
      }
    }
    return count_ > 0;
  }

  Unit unit() const {
    Unit unit;
    for (const auto& [dimension, power] : powers_) {
      if (power == 0) continue;
      unit.dimension += dimension + "^" + std::to_string(power) + " ";
    }
    unit.factor = factor_;
    return unit;
  }

 private:
  bool word(std::string_view name) {
    if (name == "per") return sign_ = -1, true;
    if (name == "square" || name == "sq" || name == "squared") return degree(name == "squared", 2);
    if (name == "cubic" || name == "cu" || name == "cubed") return degree(name == "cubed", 3);
    const Entry* entry = find_unit(name);
    if (entry == nullptr || (name.size() == 1 && !single_letters_)) return false;
    add(*entry, sign_ * next_);
    last_ = entry;
    last_power_ = sign_ * next_;
    next_ = 1;
    ++count_;
    return true;
  }

  bool degree(bool behind, int power) {
    if (!behind) return next_ = power, true;
    return last_ != nullptr && raise(power);
  }

  bool raise(int power) {
    add(*last_, last_power_ * (power - 1));
    last_ = nullptr;  // a unit has one exponent
    return true;
  }

  bool exponent(std::string_view& text) {
    while (!text.empty() && (text.front() == '^' || text.front() == '{')) text.remove_prefix(1);
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    if (text.empty() || !is_digit(text.front()) || last_ == nullptr) return false;
    const int power = text.front() - '0';
    text.remove_prefix(1);
    return power >= 1 && power <= 6 && raise(negative ? -power : power);
  }

  void add(const Entry& entry, int power) {
    const Rational factor = Rational(entry.top) / entry.bottom;
    for (int k = 0; k < power; ++k) factor_ *= factor;
    for (int k = 0; k < -power; ++k) factor_ /= factor;
    if (entry.dimension == "length/time") {
      powers_["length"] += power;
      powers_["time"] -= power;
    } else if (entry.dimension == "volume") {  // a litre is a cubic decimetre
      powers_["length"] += 3 * power;
      for (int k = 0; k < power; ++k) factor_ /= 1000;
      for (int k = 0; k < -power; ++k) factor_ *= 1000;
    } else {
      powers_[std::string(entry.dimension)] += power;
    }
  }

  bool single_letters_;
  std::map<std::string, int> powers_;
  Rational factor_ = 1;
  const Entry* last_ = nullptr;
  int last_power_ = 1, next_ = 1, sign_ = 1, count_ = 0;
};

}  // namespace

std::optional<Unit> parse_unit(std::string_view text, bool single_letters) {
  text = trim(text);
  if (text.empty() || text.size() > 80) return std::nullopt;
  UnitReader reader(single_letters);
  if (reader.read(text)) {
    Unit unit = reader.unit();
    unit.words = std::string(text);
    return unit;
  }
  const bool words = std::all_of(text.begin(), text.end(), [](char c) {
    return is_letter(c) || is_space(c) || c == '-' || c == '.' || c == '/' || c == '\'' ||
           c == '(' || c == ')' || (c & 0x80) != 0;
  });
  const bool name = std::count_if(text.begin(), text.end(),
                                  [](char c) { return is_letter(c) || (c & 0x80) != 0; }) >= 3;
  if (!words || !name) return std::nullopt;
  Unit unknown;
  unknown.words = std::string(text);
  return unknown;
}

}  // namespace r1::math
