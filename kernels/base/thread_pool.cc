#include "kernels/base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/base/checked.h"
#include "kernels/base/cpu_features.h"

namespace rill {
namespace {

// Longer than the gap between two operators of a token, shorter than anyone else on the machine
// would notice.
constexpr std::chrono::microseconds kSpin{40};

inline void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `word` differs from `old`: awake for a moment if `spin`, then asleep in the kernel.
void WaitWhile(const std::atomic<uint32_t>& word, uint32_t old, bool spin) {
  if (spin) {
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    do {
      for (int i = 0; i < 32; ++i) {
        if (word.load(std::memory_order_acquire) != old) return;
        Relax();
      }
    } while (std::chrono::steady_clock::now() < deadline);
  }
  word.wait(old, std::memory_order_acquire);
}

struct Loop {
  ThreadPool::RangeFn fn;
  void* context;
  int64_t n, grain;
  int parts;

  void RunPart(int part) const {
    const int64_t blocks = CeilDiv(n, grain);
    const int64_t begin = blocks * part / parts * grain;
    const int64_t end = std::min(blocks * (part + 1) / parts * grain, n);
    if (begin < end) fn(context, begin, end, part);
  }
};

}  // namespace

// A worker has a line of its own, so that a loop wakes only the workers it has parts for and the
// others sleep on.
struct ThreadPool::Shared {
  struct alignas(64) Worker {
    std::atomic<uint32_t> epoch{0};  // a new value: there is a part for you, or the pool closes
    std::thread thread;
  };

  void Work(int index) {
    Worker& self = workers[index - 1];
    for (uint32_t seen = 0;; ++seen) {
      WaitWhile(self.epoch, seen, spin);
      if (closing.load(std::memory_order_relaxed)) return;
      loop.RunPart(index);
      if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished.notify_one();
    }
  }

  std::mutex one_loop_at_a_time;
  Loop loop{};  // written by the caller between loops, read by the workers that have a part
  bool spin = false;
  std::atomic<bool> closing{false};
  alignas(64) std::atomic<uint32_t> unfinished{0};
  std::vector<Worker> workers;
};

ThreadPool::ThreadPool(int n_threads) : shared_(std::make_unique<Shared>()), n_threads_(1) {
  n_threads = std::max(n_threads, 1);
  // A spinning thread that shares its processor with a working one only delays it.
  shared_->spin = n_threads <= UsableProcessors();
  shared_->workers = std::vector<Shared::Worker>(n_threads - 1);
  for (; n_threads_ < n_threads; ++n_threads_) {
    try {
      shared_->workers[n_threads_ - 1].thread =
          std::thread(&Shared::Work, shared_.get(), n_threads_);
    } catch (const std::system_error&) {
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  shared_->closing.store(true, std::memory_order_relaxed);
  for (int i = 0; i < n_threads_ - 1; ++i) {
    Shared::Worker& worker = shared_->workers[i];
    worker.epoch.fetch_add(1, std::memory_order_release);
    worker.epoch.notify_one();
    worker.thread.join();
  }
}

void ThreadPool::Run(int64_t n, int64_t grain, RangeFn fn, void* context) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int parts = static_cast<int>(std::min<int64_t>(n_threads_, CeilDiv(n, grain)));
  // Also for a loop of one part: what operators keep per worker has one user at a time.
  const std::lock_guard<std::mutex> lock(shared_->one_loop_at_a_time);
  shared_->loop = {fn, context, n, grain, parts};
  shared_->unfinished.store(parts - 1, std::memory_order_relaxed);
  for (int i = 0; i < parts - 1; ++i) {
    shared_->workers[i].epoch.fetch_add(1, std::memory_order_release);
    shared_->workers[i].epoch.notify_one();
  }
  shared_->loop.RunPart(0);
  for (uint32_t left; (left = shared_->unfinished.load(std::memory_order_acquire)) != 0;) {
    WaitWhile(shared_->unfinished, left, shared_->spin);
  }
}

}  // namespace rill
