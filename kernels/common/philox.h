#pragma once
#include <cstdint>

#include "kernels/common/cuda.h"

namespace r1::kernels {

/// Who draws: distinct streams never share a number, whatever the other counters say.
enum class PhiloxStream : std::uint32_t { kSampling = 0 };

/// Philox4x32-10 (Salmon et al. 2011): counter -> 128 random bits, no state to carry or to save.
/// Always inlined, so that no instruction-set level keeps another level's copy.
/// A draw depends only on (seed, stream, prompt, sample, position), never on the batch around it.
[[gnu::always_inline]] R1_HOST_DEVICE inline void philox4x32(std::uint64_t seed,
                                                             std::uint32_t counter[4]) noexcept {
  std::uint32_t key0 = static_cast<std::uint32_t>(seed);
  std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    const std::uint32_t next0 = static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key0;
    const std::uint32_t next2 = static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key1;
    counter[1] = static_cast<std::uint32_t>(product1);
    counter[3] = static_cast<std::uint32_t>(product0);
    counter[0] = next0;
    counter[2] = next2;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

/// One uniform number strictly inside (0, 1), from 53 bits: (bits + 0.5) / 2^53.
[[gnu::always_inline]] R1_HOST_DEVICE inline double philox_uniform(std::uint64_t seed,
                                                                   std::uint32_t position,
                                                                   std::uint32_t sample,
                                                                   std::uint32_t prompt_uid,
                                                                   PhiloxStream stream) noexcept {
  std::uint32_t counter[4] = {position, sample, prompt_uid, static_cast<std::uint32_t>(stream)};
  philox4x32(seed, counter);
  const std::uint64_t bits = (std::uint64_t{counter[0]} << 32 | counter[1]) >> 11;
  // 53 bits plus a half need 54: the top value would round up to 1, so it is held just below.
  const double uniform = (static_cast<double>(bits) + 0.5) * 0x1p-53;
  return uniform < 1.0 ? uniform : 0x1.fffffffffffffp-1;
}

}  // namespace r1::kernels
