#include "csrc/engine/buffer.h"

#include <sys/mman.h>

#include <bit>
#include <cstddef>
#include <map>
#include <mutex>
#include <new>

namespace r1::engine {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{1} << 21;
/// Smaller ones the allocator keeps for itself.
constexpr std::size_t kSmallest = std::size_t{1} << 16;
/// Bytes that the pool holds at most.
constexpr std::size_t kMost = std::size_t{1} << 30;

/// Before every buffer: how large its block is, 0 where that is nothing to the pool; and how it was
/// allocated.
struct alignas(kAlignment) Header {
  std::size_t bytes;
  std::align_val_t alignment;
};

Header* allocate(std::size_t bytes, std::size_t pooled, std::size_t alignment) {
  const std::align_val_t aligned{alignment};
  return new (::operator new(bytes, aligned)) Header{pooled, aligned};
}

void deallocate(Header* block) noexcept { ::operator delete(block, block->alignment); }

/// On huge pages, where the system has some: a large buffer is read and written whole, and takes a
/// core fewer translations of addresses.
Header* allocate_pooled(std::size_t bytes) {
  if (bytes < kHugePage) return allocate(bytes, bytes, kAlignment);
  Header* const block = allocate(bytes, bytes, kHugePage);
#ifdef MADV_HUGEPAGE
  madvise(block, bytes, MADV_HUGEPAGE);  // advice: where it fails, nothing is lost
#endif
  return block;
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
    return allocate_pooled(bytes);
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
  return reinterpret_cast<float*>(allocate(bytes, 0, kAlignment) + 1);
}

void Buffer::GiveBack::operator()(float* floats) const noexcept {
  pool().give_back(reinterpret_cast<Header*>(floats) - 1);
}

std::int64_t release_buffers() { return static_cast<std::int64_t>(pool().release()); }

}  // namespace r1::engine
