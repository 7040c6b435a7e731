#pragma once
#include <cstdint>

namespace r1::kernels {

/// bfloat16 as it lies in memory: the upper half of a float's bits. Arithmetic is in float.
struct [[gnu::may_alias]] bf16 {
  std::uint16_t bits;
};

/// Always inlined, so that no instruction-set level keeps another level's copy.
[[gnu::always_inline]] inline float widen(float value) noexcept { return value; }

[[gnu::always_inline]] inline float widen(bf16 value) noexcept {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}

}  // namespace r1::kernels
