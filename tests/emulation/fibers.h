#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

/// Blocks of threads as fibers; see README.md.
namespace emulation {

struct Index {
  unsigned x = 1, y = 1, z = 1;
};

/// Where the running fiber stands.
extern thread_local Index threadIdx, blockIdx, blockDim, gridDim;

enum class Scope { warp, block, cluster };
/// Returns once every thread of the scope that has not ended has called it.
void meet(Scope scope);

int lane();
/// The lanes of this warp that have not ended, as bits.
unsigned lanes();

/// 16 bytes for each lane of this warp.
unsigned char* slot(int lane);

/// What another lane of the warp gives; all of them must call it.
template <class T>
T exchange(T value, int from) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  std::memcpy(slot(lane()), &value, sizeof(T));
  meet(Scope::warp);
  std::memcpy(&value, slot(from), sizeof(T));
  meet(Scope::warp);
  return value;
}

/// What CUDA grants a block at most; filled with NaN before each block.
constexpr std::size_t kMostShared = 227 * 1024;
unsigned char* dynamic_shared();

unsigned block_rank();
/// The address in another block of the cluster of what lies here in this one's shared memory.
void* in_block(void* shared, unsigned rank);

/// Asynchronous copies of the running thread, in the groups that it commits. One happens as late as
/// it may, when the thread waits for its group; with `reverse` as early, at once.
void copy_later(void* to, const void* from, std::size_t bytes);
void commit_copies();
/// Waits for all but the `later` latest groups.
void wait_for_copies(std::size_t later);

/// PTX's mbarrier, in shared memory: a phase is over after so many arrivals and all the bytes that
/// they expect. With `reverse` who waits for it goes on before who arrives.
void barrier_start(std::uint64_t* barrier, int arrivals);
void barrier_arrive(std::uint64_t* barrier, int bytes);
/// Lets other threads run until the phase of this parity is over; a launch fails whose threads do
/// not wait for each phase in turn, before the next one is over, too.
void barrier_wait(std::uint64_t* barrier, int parity);
void barrier_receive(std::uint64_t* barrier, int bytes);

/// Stores in a block of the cluster, where the same barrier receives it: st.async.
template <class T>
void send(const T& message, T* to, std::uint64_t* barrier, unsigned rank) {
  std::memcpy(in_block(to, rank), &message, sizeof message);
  barrier_receive(static_cast<std::uint64_t*>(in_block(barrier, rank)), sizeof message);
}

/// Runs the kernel on a grid. @return a cudaError_t
int run(Index grid, Index block, unsigned cluster, std::size_t shared,
        const std::function<void()>& kernel);

/// The order in which a block's fibers run; what depends on it lacks a barrier or waits too little.
extern bool reverse;
/// A warp of each block that runs only where no other can: what others must wait for it, or must
/// not overtake it by, shows.
constexpr std::size_t kNobody = ~std::size_t{0};
extern std::size_t starved;
/// A block of each cluster that is far slower than the others.
extern std::size_t late_block;
/// For which GPU the kernels were compiled, as the launchers see it; none before 90 run in
/// clusters.
extern int ptx_version;

}  // namespace emulation
