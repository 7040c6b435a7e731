#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace r1::engine {

/// Floats on a cache-line boundary, so that no lane of a panel straddles two lines; uninitialised.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t count)
      : size_(count),
        floats_(static_cast<float*>(
            ::operator new(static_cast<std::size_t>(count) * sizeof(float), kAlignment))) {}

  float* data() { return floats_.get(); }
  const float* data() const { return floats_.get(); }
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* floats) const { ::operator delete(floats, kAlignment); }
  };
  std::int64_t size_ = 0;
  std::unique_ptr<float, Free> floats_;
};

}  // namespace r1::engine
