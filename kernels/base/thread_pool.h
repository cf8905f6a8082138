// kernels/base/thread_pool.h — a fixed pool for data-parallel loops.
//
// Work is cut into index ranges that do not depend on the number of threads in any way that could change a sum:
// every index is computed whole by one thread, so results have the same bits for any pool size.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace rill {

class ThreadPool {
 public:
  // `n_threads` counts the calling thread; 1 starts none. Threads that cannot be started are done without.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return n_threads_; }

  // Calls fn(context, begin, end, worker) over a static partition of [0, n) in which every part but the last is a
  // multiple of `grain`; `worker` is in [0, size()). Returns when all parts are done. One loop runs at a time: a
  // second caller waits. Must not be called from inside `fn`. Allocates nothing.
  using RangeFn = void (*)(void* context, int64_t begin, int64_t end, int worker);
  void Run(int64_t n, int64_t grain, RangeFn fn, void* context);

  // The same for a callable: pool.For(n, grain, [&](int64_t begin, int64_t end, int worker) { ... });
  template <typename F>
  void For(int64_t n, int64_t grain, F&& f) {
    Run(n, grain, [](void* c, int64_t begin, int64_t end, int worker) {
      (*static_cast<std::remove_reference_t<F>*>(c))(begin, end, worker);
    }, const_cast<void*>(static_cast<const void*>(&f)));
  }

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
  int n_threads_;
};

}  // namespace rill
