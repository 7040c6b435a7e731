#pragma once
#include <cooperative_groups.h>

#include "kernels/common/cuda.cuh"

/// Messages of 16 bytes, from warps to a warp of their block or of every block of a cluster, which
/// counts what came. A cluster's barrier would do, but for its fence: that waits until all that a
/// block stored before has reached the L2 cache, which takes longer than the messages do.
namespace r1::kernels {

/// What warps of a block wait for, phase by phase: so many arrivals, and of a cluster's so many
/// bytes. Who has waited for a phase sees what arrived in it. PTX's mbarrier.
struct Arrivals {
  std::uint64_t state;

#if defined(R1_EMULATION)
  __device__ void start(int each_phase) { emulation::barrier_start(&state, each_phase); }
  __device__ void arrive() { emulation::barrier_arrive(&state, 0); }
  __device__ void arrive_expecting(int bytes) { emulation::barrier_arrive(&state, bytes); }
  __device__ void wait(int parity) { emulation::barrier_wait(&state, parity); }
  __device__ void wait_for_blocks(int parity) { wait(parity); }
#else
  __device__ unsigned address() const {
    return static_cast<unsigned>(__cvta_generic_to_shared(this));
  }
  /// By one thread, before the block meets.
  __device__ void start(int each_phase) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(address()), "r"(each_phase) : "memory");
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
  }
  __device__ void arrive() {
    asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(address()) : "memory");
  }
#if __CUDA_ARCH__ >= 900
  /// Arrives, and has the phase last until so many bytes came, too.
  __device__ void arrive_expecting(int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address()),
                 "r"(bytes)
                 : "memory");
  }
#endif
  /// @param parity  of the phase's number, from 0 on: whoever waits must wait for each in turn
  __device__ void wait(int parity) {
    while (!is_over(parity)) {
    }
  }
#if __CUDA_ARCH__ >= 900
  __device__ bool is_over(int parity) const {
    unsigned over;
    asm volatile(
        "{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;"
        " selp.u32 %0, 1, 0, p;}"
        : "=r"(over)
        : "r"(address()), "r"(parity)
        : "memory");
    return over != 0;
  }
  /// As `wait`, for what another block of the cluster sent.
  __device__ void wait_for_blocks(int parity) {
    unsigned over;
    do {
      asm volatile(
          "{.reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;"
          " selp.u32 %0, 1, 0, p;}"
          : "=r"(over)
          : "r"(address()), "r"(parity)
          : "memory");
    } while (over == 0);
  }
#else
  __device__ bool is_over(int parity) const {
    unsigned over;
    asm volatile(
        "{.reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2;"
        " selp.u32 %0, 1, 0, p;}"
        : "=r"(over)
        : "r"(address()), "r"(parity)
        : "memory");
    if (over == 0) __nanosleep(32);  // the others are at work
    return over != 0;
  }
#endif
#endif
};

/// The blocks that work together, and their mail. `Arrivals` of messages start with
/// `each_phase(messages)`.
template <bool Clustered>
struct Blocks;

/// One block.
template <>
struct Blocks<false> {
  __device__ static unsigned rank() { return 0; }
  __device__ static void meet() { __syncthreads(); }
  __device__ static int each_phase(int messages) { return messages; }
  /// By a whole warp, whose lanes have the same message.
  __device__ static void send(const float4& message, float4* to, Arrivals* arrivals, int) {
    if (lane_of_thread() != 0) return;
    *to = message;
    arrivals->arrive();
  }
  /// Waits for a phase's messages; by a whole warp.
  __device__ static void receive(Arrivals* arrivals, int, int parity) { arrivals->wait(parity); }
};

#if defined(R1_EMULATION) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
/// The blocks of a cluster, at most as many as a warp has lanes: a message goes to the same place
/// in each.
template <>
struct Blocks<true> {
  __device__ static unsigned rank() { return cooperative_groups::this_cluster().block_rank(); }
  __device__ static void meet() { cooperative_groups::this_cluster().sync(); }
  __device__ static int each_phase(int) { return 1; }
  __device__ static void send(const float4& message, float4* to, Arrivals* arrivals, int blocks) {
    const int block = lane_of_thread();
    if (block >= blocks) return;
#if defined(R1_EMULATION)
    emulation::send(message, to, &arrivals->state, static_cast<unsigned>(block));
#else
    unsigned there, arrivals_there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;"
        : "=r"(there)
        : "r"(static_cast<unsigned>(__cvta_generic_to_shared(to))), "r"(block));
    asm("mapa.shared::cluster.u32 %0, %1, %2;"
        : "=r"(arrivals_there)
        : "r"(arrivals->address()), "r"(block));
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, "
        "[%5];" ::"r"(there),
        "f"(message.x), "f"(message.y), "f"(message.z), "f"(message.w), "r"(arrivals_there)
        : "memory");
#endif
  }
  __device__ static void receive(Arrivals* arrivals, int messages, int parity) {
    constexpr int kBytes = sizeof(float4);
    if (lane_of_thread() == 0) arrivals->arrive_expecting(messages * kBytes);
    arrivals->wait_for_blocks(parity);
  }
};
#else
/// Of code for older GPUs, which no launcher starts in clusters.
template <>
struct Blocks<true> : Blocks<false> {
  __device__ static unsigned rank() {
    __trap();
    return 0;
  }
};
#endif

}  // namespace r1::kernels
