#include "tests/emulation/fibers.h"

#include <setjmp.h>
#include <ucontext.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <latch>
#include <map>
#include <memory>
#include <thread>
#include <vector>

namespace emulation {
namespace {

constexpr std::size_t kStack = 256 * 1024;
/// After which threads that wait for another block's messages are stuck.
constexpr std::chrono::seconds kPatience{20};

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes, group;
};

struct Fiber {
  ucontext_t context;
  jmp_buf here;
  std::unique_ptr<unsigned char[]> stack;
  bool started = false, ended = false, waits = false;
  Scope scope = Scope::block;
  std::uint64_t* barrier = nullptr;      // which it waits for, in place of a scope
  std::map<std::uint64_t*, int> phases;  // that it has waited for, of each
  std::vector<Copy> copies;              // that have not happened
  std::size_t groups = 0;                // committed
};

/// The blocks of a cluster, each on a thread of its own.
struct Cluster {
  explicit Cluster(unsigned size) : barrier(static_cast<std::ptrdiff_t>(size)), thread_of(size) {}
  std::barrier<> barrier;
  std::vector<char*> thread_of;  // of each block: where its thread_local variables lie
};

/// One block.
struct Block {
  std::vector<Fiber> fibers;
  std::vector<unsigned char> slots;
  ucontext_t scheduler;
  jmp_buf back;
  std::size_t current = 0;
  Index place, size, grid;
  Cluster* cluster = nullptr;
  unsigned rank = 0;
  const std::function<void()>* kernel = nullptr;
};

std::atomic<bool> broken = false;  // some barrier's rules were
thread_local Block* block = nullptr;
thread_local std::vector<std::unique_ptr<unsigned char[]>> stacks;
alignas(128) thread_local unsigned char shared_memory[kMostShared];

void enter() {
  (*block->kernel)();
  block->fibers[block->current].ended = true;
  _longjmp(block->back, 1);
}

void start(Fiber& fiber) {
  fiber.started = true;
  if (stacks.empty()) {
    fiber.stack = std::make_unique_for_overwrite<unsigned char[]>(kStack);
  } else {
    fiber.stack = std::move(stacks.back());
    stacks.pop_back();
  }
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, enter, 0);
  setcontext(&fiber.context);
}

Index place_of(std::size_t thread, Index size) {
  const auto i = static_cast<unsigned>(thread);
  return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

/// Lets a fiber run until it waits or ends.
void resume(std::size_t i) {
  block->current = i;
  threadIdx = place_of(i, block->size);
  Fiber& fiber = block->fibers[i];
  if (_setjmp(block->back)) return;
  if (fiber.started)
    _longjmp(fiber.here, 1);
  else
    start(fiber);
}

/// Whether all threads of [begin, end) that have not ended wait for this scope.
bool all_wait(std::size_t begin, std::size_t end, Scope scope) {
  bool any = false;
  for (std::size_t i = begin; i < end; ++i) {
    const Fiber& fiber = block->fibers[i];
    if (fiber.ended) continue;
    if (!fiber.waits || fiber.barrier || fiber.scope != scope) return false;
    any = true;
  }
  return any;
}

void release(std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; ++i) block->fibers[i].waits = false;
}

/// An mbarrier's state: phases that are over, modulo 256, arrivals of each phase, and the arrivals
/// and bytes that this one still expects.
struct Phase {
  std::uint64_t bits;

  int over() const { return static_cast<int>(bits & 0xFF); }
  int each() const { return static_cast<int>(bits >> 8 & 0xFFF); }
  int arrivals() const { return static_cast<int>(bits >> 20 & 0xFFF); }
  int bytes() const { return static_cast<std::int32_t>(bits >> 32); }
  static Phase of(int over, int each, int arrivals, int bytes) {
    return {static_cast<std::uint64_t>(static_cast<std::uint32_t>(bytes)) << 32 |
            static_cast<std::uint64_t>(arrivals) << 20 | static_cast<std::uint64_t>(each) << 8 |
            static_cast<std::uint64_t>(over)};
  }
};

void change(std::uint64_t* barrier, int expected_bytes, int arrived) {
  const std::atomic_ref<std::uint64_t> state(*barrier);
  Phase now{state.load()}, next{};
  do {
    const int arrivals = now.arrivals() - arrived, bytes = now.bytes() + expected_bytes;
    // More than the phase expects: what belongs to a later one came too early.
    if (arrivals < 0 || (arrivals == 0 && bytes < 0)) broken = true;
    const bool over = arrivals == 0 && bytes == 0;
    next = over ? Phase::of((now.over() + 1) & 0xFF, now.each(), now.each(), 0)
                : Phase::of(now.over(), now.each(), std::max(arrivals, 0), bytes);
  } while (!state.compare_exchange_weak(now.bits, next.bits));
}

/// Whether the phase is over that a thread waits for, its `waited`-th of this barrier. A phase more
/// must not be: the thread would take its parity for that of a phase that goes on.
bool is_over(std::uint64_t* barrier, int waited) {
  const int past = (Phase{std::atomic_ref<std::uint64_t>(*barrier).load()}.over() - waited) & 0xFF;
  if (past > 1) broken = true;
  return past > 0;
}

/// Lets go those whose barrier's phase is over. @return whether there were any
bool settle_barriers() {
  bool any = false;
  for (Fiber& fiber : block->fibers) {
    if (!fiber.waits || !fiber.barrier) continue;
    if (!is_over(fiber.barrier, fiber.phases[fiber.barrier])) continue;
    fiber.waits = false;
    fiber.barrier = nullptr;
    any = true;
  }
  return any;
}

/// Whether some thread waits for a message that another block may send.
bool hopes() {
  if (block->cluster->thread_of.size() == 1) return false;
  for (const Fiber& fiber : block->fibers)
    if (fiber.waits && fiber.barrier) return true;
  return false;
}

/// Lets go those whose meeting is complete.
void settle() {
  const std::size_t threads = block->fibers.size();
  for (std::size_t warp = 0; warp < threads; warp += 32) {
    const std::size_t end = std::min(warp + 32, threads);
    if (all_wait(warp, end, Scope::warp)) release(warp, end);
  }
  if (all_wait(0, threads, Scope::block)) release(0, threads);
  if (all_wait(0, threads, Scope::cluster)) {
    block->cluster->barrier.arrive_and_wait();
    release(0, threads);
  }
  settle_barriers();
}

bool run_those(bool starving) {
  const std::size_t threads = block->fibers.size();
  bool ran = false;
  for (std::size_t n = 0; n < threads; ++n) {
    const std::size_t i = reverse ? threads - 1 - n : n;
    if ((i / 32 == starved) != starving) continue;
    if (block->fibers[i].ended || block->fibers[i].waits) continue;
    resume(i);
    ran = true;
  }
  return ran;
}

bool run_round() { return run_those(false) || run_those(true); }

bool ended() {
  for (const Fiber& fiber : block->fibers)
    if (!fiber.ended) return false;
  return true;
}

/// @return false if its threads wait for each other for ever
bool run_block(Block& it) {
  block = &it;
  blockIdx = it.place;
  blockDim = it.size;
  gridDim = it.grid;
  std::memset(shared_memory, 0xFF, sizeof shared_memory);
  bool stuck = false;
  while (!ended() && !stuck) {
    if (it.rank == late_block) std::this_thread::sleep_for(std::chrono::microseconds(200));
    stuck = !run_round();
    settle();
    for (const Fiber& fiber : it.fibers) stuck &= fiber.ended || fiber.waits;
    if (!stuck || !hopes()) continue;
    const auto since = std::chrono::steady_clock::now();
    while (!settle_barriers() && std::chrono::steady_clock::now() - since < kPatience)
      std::this_thread::yield();
    stuck = false;
    for (const Fiber& fiber : it.fibers) stuck = stuck || (!fiber.ended && !fiber.waits);
    stuck = !stuck;
  }
  for (Fiber& fiber : it.fibers)
    if (fiber.stack) stacks.push_back(std::move(fiber.stack));
  block = nullptr;
  return !stuck;
}

}  // namespace

bool reverse = false;
std::size_t starved = kNobody, late_block = kNobody;
int ptx_version = 90;

thread_local Index threadIdx, blockIdx, blockDim, gridDim;

namespace {

/// Lets others run; and, if the thread waits, until `settle` lets it go.
void stop_here(Fiber& fiber, bool waits) {
  fiber.waits = waits;
  const std::size_t mine = block->current;
  if (!_setjmp(fiber.here)) _longjmp(block->back, 1);
  block->current = mine;
}

}  // namespace

void meet(Scope scope) {
  Fiber& fiber = block->fibers[block->current];
  fiber.scope = scope;
  stop_here(fiber, true);
}

void barrier_start(std::uint64_t* barrier, int arrivals) {
  std::atomic_ref<std::uint64_t>(*barrier).store(Phase::of(0, arrivals, arrivals, 0).bits);
}
void barrier_arrive(std::uint64_t* barrier, int bytes) {
  change(barrier, bytes, 1);
  if (reverse) stop_here(block->fibers[block->current], false);
}
void barrier_receive(std::uint64_t* barrier, int bytes) {
  change(barrier, -bytes, 0);
  if (reverse) stop_here(block->fibers[block->current], false);
}

void barrier_wait(std::uint64_t* barrier, int parity) {
  Fiber& fiber = block->fibers[block->current];
  const int waited = fiber.phases[barrier];
  if (parity != waited % 2) broken = true;  // not each phase in turn
  if (!is_over(barrier, waited)) {
    fiber.barrier = barrier;
    stop_here(fiber, true);
  }
  fiber.phases[barrier] = (waited + 1) & 0xFF;
}

int lane() { return static_cast<int>(block->current % 32); }

unsigned lanes() {
  const std::size_t warp = block->current / 32 * 32;
  unsigned bits = 0;
  for (std::size_t i = warp; i < std::min(warp + 32, block->fibers.size()); ++i)
    bits |= (block->fibers[i].ended ? 0u : 1u) << (i - warp);
  return bits;
}

unsigned char* slot(int lane) {
  return block->slots.data() + (block->current / 32 * 32 + static_cast<std::size_t>(lane)) * 16;
}

void copy_later(void* to, const void* from, std::size_t bytes) {
  Fiber& fiber = block->fibers[block->current];
  if (reverse)
    std::memcpy(to, from, bytes);
  else
    fiber.copies.push_back({to, from, bytes, fiber.groups});
}

void commit_copies() { ++block->fibers[block->current].groups; }

void wait_for_copies(std::size_t later) {
  Fiber& fiber = block->fibers[block->current];
  std::erase_if(fiber.copies, [&](const Copy& copy) {
    if (copy.group + later >= fiber.groups) return false;
    std::memcpy(copy.to, copy.from, copy.bytes);
    return true;
  });
}

unsigned char* dynamic_shared() { return shared_memory; }
unsigned block_rank() { return block->rank; }

void* in_block(void* shared, unsigned rank) {
  const std::vector<char*>& threads = block->cluster->thread_of;
  return static_cast<char*>(shared) - threads[block->rank] + threads[rank];
}

int run(Index grid, Index size, unsigned cluster_size, std::size_t shared,
        const std::function<void()>& kernel) {
  const std::size_t threads = std::size_t{size.x} * size.y * size.z;
  if (threads == 0 || threads > 1024 || shared > kMostShared || grid.x % cluster_size || !grid.x)
    return 1;
  if (cluster_size > 1 && ptx_version < 90) return 719;  // what such a kernel traps with
  const unsigned clusters = grid.x / cluster_size * grid.y * grid.z;
  bool complete = true;
  for (unsigned c = 0; c < clusters && complete; ++c) {
    Cluster cluster(cluster_size);
    std::latch all_ended(cluster_size);  // until then others may write into a block's memory
    std::vector<unsigned char> results(cluster_size, 0);
    const auto body = [&](unsigned rank) {
      Block it;
      it.fibers = std::vector<Fiber>(threads);
      it.slots.resize((threads + 31) / 32 * 32 * 16);
      const unsigned x = grid.x / cluster_size;
      it.place = {c % x * cluster_size + rank, c / x % grid.y, c / x / grid.y};
      it.size = size;
      it.grid = grid;
      it.cluster = &cluster;
      it.rank = rank;
      it.kernel = &kernel;
      cluster.thread_of[rank] = static_cast<char*>(__builtin_thread_pointer());
      cluster.barrier.arrive_and_wait();
      results[rank] = run_block(it);
      if (!results[rank]) cluster.barrier.arrive_and_drop();
      all_ended.arrive_and_wait();
    };
    if (cluster_size == 1) {
      body(0);
    } else {
      std::vector<std::jthread> others;
      for (unsigned rank = 0; rank < cluster_size; ++rank) others.emplace_back(body, rank);
    }
    for (const unsigned char result : results) complete = complete && result;
  }
  return complete && !broken.exchange(false) ? 0 : 719;  // cudaErrorLaunchFailure
}

}  // namespace emulation
