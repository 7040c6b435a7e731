#include "kernels/common/isa.h"

#include <atomic>

namespace r1::kernels {
namespace {

// __builtin_cpu_supports also asks the operating system (XGETBV), so a level it grants is usable.
Isa detect() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::portable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? Isa::avx512 : Isa::avx2;
#else
  return Isa::portable;
#endif
}

std::atomic<Isa>& active() noexcept {
  static std::atomic<Isa> level{best_isa()};
  return level;
}

}  // namespace

Isa best_isa() noexcept {
  static const Isa level = detect();
  return level;
}

Isa active_isa() noexcept { return active().load(std::memory_order_relaxed); }

bool force_isa(Isa level) noexcept {
  if (level > best_isa()) return false;
  active().store(level, std::memory_order_relaxed);
  return true;
}

const char* isa_name(Isa level) noexcept {
  constexpr const char* names[] = {"portable", "avx2", "avx512"};
  return names[static_cast<int>(level)];
}

}  // namespace r1::kernels
