#pragma once
#include <cstdint>
#include <memory>

namespace r1::engine {

/// Floats on a cache-line boundary, so that no lane of a panel straddles two lines; uninitialised.
///
/// Large ones come from a pool of those given back: a training step asks for the same memory again
/// and again, and fresh pages cost as much time as a third of its arithmetic.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t count) : size_(count), floats_(take(count)) {}
  /// One that the pool does not keep: little time beside what fills it, and none of one phase's
  /// memory left in the next.
  static Buffer unpooled(std::int64_t count) {
    Buffer buffer;
    buffer.size_ = count;
    buffer.floats_.reset(take_unpooled(count));
    return buffer;
  }

  float* data() { return floats_.get(); }
  const float* data() const { return floats_.get(); }
  std::int64_t size() const { return size_; }

 private:
  struct GiveBack {
    void operator()(float* floats) const noexcept;
  };
  static float* take(std::int64_t count);
  static float* take_unpooled(std::int64_t count);

  std::int64_t size_ = 0;
  std::unique_ptr<float, GiveBack> floats_;
};

/// Frees what the pool holds. @return bytes
std::int64_t release_buffers();

}  // namespace r1::engine
