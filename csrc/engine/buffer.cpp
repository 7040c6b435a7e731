#include "csrc/engine/buffer.h"

#include <sys/mman.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>

namespace r1::engine {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kPage = std::size_t{1} << 16;  // whole pages of any system
constexpr std::size_t kHugePage = std::size_t{1} << 21;
/// Smaller ones the allocator keeps for itself.
constexpr std::size_t kSmallest = std::size_t{1} << 16;
/// Bytes that the pool holds at most.
constexpr std::size_t kMost = std::size_t{1} << 30;

/// Before every buffer: how large its block is, 0 where that is nothing to the pool; and how much
/// of it was mapped, 0 where it is the allocator's.
struct alignas(kAlignment) Header {
  std::size_t bytes, mapped;
};

Header* allocate(std::size_t bytes, std::size_t pooled) {
  return new (::operator new(bytes, std::align_val_t{kAlignment})) Header{pooled, 0};
}

/// On huge pages, where the system has some: a large buffer is read and written whole, and takes a
/// core fewer translations of addresses. Mapped, since an allocator asked for so large an alignment
/// leaves holes.
Header* map_huge(std::size_t bytes) {
  const std::size_t mapped = (bytes + kPage - 1) / kPage * kPage, reserved = mapped + kHugePage;
  void* const memory =
      mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<char*>(memory);
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(begin) % kHugePage;
  char* const block = begin + before;
  if (before > 0) munmap(begin, before);
  munmap(block + mapped, kHugePage - before);
#ifdef MADV_HUGEPAGE
  madvise(block, mapped, MADV_HUGEPAGE);  // advice: where it fails, nothing is lost
#endif
  return new (block) Header{bytes, mapped};
}

void deallocate(Header* block) noexcept {
  if (block->mapped > 0)
    munmap(block, block->mapped);
  else
    ::operator delete(block, std::align_val_t{kAlignment});
}

/// The next of eight sizes between powers of two, so that about equal buffers fit each other.
std::size_t rounded(std::size_t bytes) {
  const std::size_t step = std::bit_floor(bytes) / 8;
  return bytes < kSmallest ? bytes : (bytes + step - 1) / step * step;
}

class Pool {
 public:
  Header* take(std::size_t bytes) {
    if (bytes >= kSmallest) {
      const std::lock_guard lock(mutex_);
      const auto found = free_.lower_bound(bytes);
      if (found != free_.end() && found->first <= bytes + bytes / 4) {
        Header* const block = found->second;
        held_ -= found->first;
        free_.erase(found);
        return block;
      }
    }
    return bytes < kHugePage ? allocate(bytes, bytes) : map_huge(bytes);
  }
  void give_back(Header* block) noexcept {
    const std::size_t bytes = block->bytes;
    if (bytes >= kSmallest) {
      const std::lock_guard lock(mutex_);
      if (held_ + bytes <= kMost) {
        try {
          free_.emplace(bytes, block);
          held_ += bytes;
          return;
        } catch (const std::bad_alloc&) {
        }
      }
    }
    deallocate(block);
  }
  std::size_t release() {
    const std::lock_guard lock(mutex_);
    for (const auto& [bytes, block] : free_) deallocate(block);
    free_.clear();
    const std::size_t bytes = held_;
    held_ = 0;
    return bytes;
  }

 private:
  std::mutex mutex_;
  std::multimap<std::size_t, Header*> free_;
  std::size_t held_ = 0;
};

/// Never destroyed: buffers may outlive every static object.
Pool& pool() {
  static Pool& the_pool = *new Pool;
  return the_pool;
}

}  // namespace

float* Buffer::take(std::int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float) + sizeof(Header);
  return reinterpret_cast<float*>(pool().take(rounded(bytes)) + 1);
}

float* Buffer::take_unpooled(std::int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float) + sizeof(Header);
  return reinterpret_cast<float*>(allocate(bytes, 0) + 1);
}

void Buffer::GiveBack::operator()(float* floats) const noexcept {
  pool().give_back(reinterpret_cast<Header*>(floats) - 1);
}

std::int64_t release_buffers() { return static_cast<std::int64_t>(pool().release()); }

}  // namespace r1::engine
