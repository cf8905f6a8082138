#include "kernels/base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/counting_alloc.h"
#include "tests/support/random.h"

namespace rill::test {
namespace {

struct Part {
  int64_t begin, end;
  int worker;
};

// What one loop handed out, by worker.
std::vector<Part> Parts(ThreadPool& pool, int64_t n, int64_t grain) {
  std::vector<Part> by_worker(pool.size(), {0, 0, -1});
  pool.For(n, grain, [&](int64_t begin, int64_t end, int worker) {
    by_worker[worker] = {begin, end, worker};
  });
  return by_worker;
}

TEST(ThreadPool, CoversEveryIndexOnceInWholeGrains) {
  Random random;
  for (const int n_threads : {1, 2, 3, 8}) {
    ThreadPool pool(n_threads);
    ASSERT_EQ(pool.size(), n_threads);
    for (int run = 0; run < 300; ++run) {
      const int64_t n = random.Int(0, 200), grain = random.Int(1, 40);
      int64_t next = 0;
      for (const Part& part : Parts(pool, n, grain)) {
        if (part.worker < 0) continue;
        EXPECT_EQ(part.begin, next) << n << " by " << grain;
        EXPECT_LT(part.begin, part.end);
        EXPECT_TRUE(part.end == n || part.end % grain == 0)
            << n << " by " << grain << ": " << part.end;
        next = part.end;
      }
      EXPECT_EQ(next, n) << "by " << grain;
    }
  }
}

TEST(ThreadPool, ThePartitionIsTheSameEveryTime) {
  ThreadPool pool(4);
  const std::vector<Part> first = Parts(pool, 1000, 16);
  for (int run = 0; run < 50; ++run) {
    const std::vector<Part> again = Parts(pool, 1000, 16);
    for (int worker = 0; worker < 4; ++worker) {
      EXPECT_EQ(again[worker].begin, first[worker].begin);
      EXPECT_EQ(again[worker].end, first[worker].end);
    }
  }
}

TEST(ThreadPool, PartsRunAtTheSameTime) {
  ThreadPool pool(3);
  std::atomic<int> arrived{0};
  pool.For(3, 1, [&](int64_t, int64_t, int) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();  // returns only if all three got here
  });
  EXPECT_EQ(arrived, 3);
}

TEST(ThreadPool, OneGrainRunsOnTheCaller) {
  ThreadPool pool(4);
  std::thread::id ran;
  int worker = -1;
  pool.For(5, 5, [&](int64_t begin, int64_t end, int w) {
    ran = std::this_thread::get_id();
    worker = w;
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 5);
  });
  EXPECT_EQ(ran, std::this_thread::get_id());
  EXPECT_EQ(worker, 0);
}

TEST(ThreadPool, ManyShortLoopsLoseNothing) {
  for (const int n_threads : {2, 5}) {  // five: more threads than this machine may have processors
    ThreadPool pool(n_threads);
    std::vector<int64_t> sums(n_threads * 16);  // a cache line apart
    constexpr int64_t kLoops = 20000;
    for (int64_t loop = 0; loop < kLoops; ++loop) {
      pool.For(n_threads, 1,
               [&](int64_t begin, int64_t, int worker) { sums[worker * 16] += begin + loop; });
    }
    for (int64_t worker = 0; worker < n_threads; ++worker) {
      EXPECT_EQ(sums[worker * 16], kLoops * worker + kLoops * (kLoops - 1) / 2);
    }
  }
}

TEST(ThreadPool, SleepingWorkersWakeUp) {
  ThreadPool pool(3);
  for (int run = 0; run < 20; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // far longer than they stay awake
    std::atomic<int64_t> sum{0};
    pool.For(30, 1, [&](int64_t begin, int64_t end, int) { sum += end - begin; });
    EXPECT_EQ(sum, 30);
  }
}

TEST(ThreadPool, LoopsOfSeveralCallersTakeTurns) {
  ThreadPool pool(3);
  std::atomic<int> inside{0}, overlaps{0};
  std::vector<std::thread> callers;
  std::vector<int64_t> totals(4);
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int loop = 0; loop < 500; ++loop) {
        std::atomic<int64_t> sum{0};
        pool.For(9, 1, [&](int64_t begin, int64_t end, int worker) {
          if (worker == 0 && inside.exchange(1) != 0) ++overlaps;
          for (int64_t i = begin; i < end; ++i) sum += i;
          if (worker == 0) inside = 0;
        });
        totals[caller] += sum;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(overlaps, 0);
  for (const int64_t total : totals) EXPECT_EQ(total, 500 * 36);
}

TEST(ThreadPool, RunAllocatesNothing) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  const auto work = [&](int64_t begin, int64_t end, int) { sum += end - begin; };
  pool.For(100, 1, work);
  const uint64_t before = AllocationCount();
  for (int loop = 0; loop < 100; ++loop) pool.For(100, 1, work);
  EXPECT_EQ(AllocationCount(), before);
}

TEST(ThreadPool, FewerThanOneThreadIsOne) {
  EXPECT_EQ(ThreadPool(0).size(), 1);
  EXPECT_EQ(ThreadPool(-3).size(), 1);
}

}  // namespace
}  // namespace rill::test
