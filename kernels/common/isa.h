#pragma once
/// Instruction-set levels. A kernel is written once and compiled once per level; the best level the
/// CPU runs is picked when it is first needed. Two rules keep this sound:
///   - kernel sources use no inline function of the standard library: the linker would keep one
///     level's copy for all of them;
///   - sums run over 16 logical lanes at every level, so AVX2 and AVX-512 give the same bits.
///
///     // kernels/op.h                         // kernels/op_cpu.cpp
///     namespace r1::kernels {                 namespace r1::kernels::R1_ISA {
///     R1_PER_ISA(void op_cpu(int x);)         void op_cpu(int x) { ... }
///     }                                       }
///
///     R1_CPU(op_cpu)(3);                      // at the call site, in namespace r1 or r1::kernels
#ifndef R1_ISA
#define R1_ISA portable
#endif

namespace r1::kernels {

enum class Isa : int { portable = 0, avx2 = 1, avx512 = 2 };

/// The level in use: the best one that this CPU and operating system run, unless forced.
Isa active_isa() noexcept;
/// The best level that this CPU and operating system run.
Isa best_isa() noexcept;
/// Forces a level for the whole process, for tests and comparisons. @return false if the CPU lacks
/// it
bool force_isa(Isa level) noexcept;
const char* isa_name(Isa level) noexcept;

#if defined(__x86_64__)
#define R1_PER_ISA(...) \
  namespace portable {  \
  __VA_ARGS__           \
  }                     \
  namespace avx2 {      \
  __VA_ARGS__           \
  }                     \
  namespace avx512 {    \
  __VA_ARGS__           \
  }
#define R1_CPU(function)                                                                    \
  (*::r1::kernels::pick(&::r1::kernels::portable::function, &::r1::kernels::avx2::function, \
                        &::r1::kernels::avx512::function))

template <class Function>
Function* pick(Function* portable, Function* avx2, Function* avx512) noexcept {
  Function* const by_level[] = {portable, avx2, avx512};
  return by_level[static_cast<int>(active_isa())];
}
#else
#define R1_PER_ISA(...) \
  namespace portable {  \
  __VA_ARGS__           \
  }
#define R1_CPU(function) (*&::r1::kernels::portable::function)
#endif

}  // namespace r1::kernels
