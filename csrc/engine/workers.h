#pragma once
#include <atomic>
#include <functional>

namespace r1::engine {

/// Runs `work` on `threads` threads and waits. Meanwhile the calling thread runs `poll` about every
/// 100 ms, and once at the end. The first exception, of `work` or of `poll`, raises `stop`, which
/// `work` must watch, and is thrown again here once every thread has returned.
void run_workers(int threads, std::atomic<bool>& stop, const std::function<void()>& work,
                 const std::function<void()>& poll);

}  // namespace r1::engine
