// Every allocation fails in turn, of the heap and of the device, in every call that makes or brings
// back a session: an error, nothing kept, nobody else harmed.
#include <errno.h>
#include <stdlib.h>

#include <atomic>
#include <functional>
#include <new>
#include <optional>

#include "sdk/snapshot.h"
#include "tests/sdk/referee.h"
#include "tests/support/counting_alloc.h"
#include "tests/support/memory_fs.h"

namespace {

constexpr int64_t kNever = -1;
std::atomic<int64_t> device_failure{kNever};  // so many allocations from now on
std::atomic<bool> device_failed{false};

}  // namespace

// What a host device asks the system for memory with, up to a megabyte. A model opens its device
// itself, so it is here that a device's allocation is made to fail.
extern "C" int posix_memalign(void** data, size_t alignment, size_t bytes) noexcept {
  if (device_failure.load() != kNever && device_failure.fetch_sub(1) == 0) {
    device_failed = true;
    return ENOMEM;
  }
  *data = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  return *data == nullptr ? ENOMEM : 0;
}

namespace rill::test {
namespace {

const std::string kPath = "/chat.rillstate";

SessionShape Shape() {
  SessionShape shape;
  shape.max_tokens = 200;
  shape.prefill_chunk = 16;
  shape.rewind_window = 8;
  shape.ladder_slots = 8;
  return shape;
}

// While it lives, the n-th allocation fails: of the device, or of the heap.
class Failure {
 public:
  Failure(bool on_device, int64_t n) : on_device_(on_device) {
    device_failed = false;
    if (on_device) {
      device_failure = n;
    } else {
      heap_.emplace(static_cast<uint64_t>(n), false);
    }
  }
  ~Failure() { device_failure = kNever; }
  bool happened() const { return on_device_ ? device_failed.load() : heap_->happened(); }

 private:
  const bool on_device_;
  std::optional<FailingAllocation> heap_;
};

// The heap's failures are exceptions of the standard library's until the C API turns them into
// codes.
absl::Status StatusOf(const std::function<absl::Status()>& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the heap");
  }
}

class SessionMemoryTest : public ::testing::TestWithParam<std::string> {
 protected:
  SessionMemoryTest() {
    EXPECT_TRUE(session_->Append(absl::MakeConstSpan(ids_).subspan(0, 150)).ok());
    EXPECT_TRUE(session_->Save(files_, kPath).ok());
  }

  // `work` with its n-th allocation failing, for every n. `undo` after each, with memory enough.
  void Sweep(
      const std::function<absl::Status()>& work, int at_least,
      const std::function<void()>& undo = [] {}) {
    for (const bool on_device : {false, true}) {
      int64_t n = 0;
      for (bool failed = true; failed; ++n) {
        SCOPED_TRACE((on_device ? "device allocation " : "heap allocation ") + std::to_string(n));
        const uint64_t before = device().allocated_bytes();
        absl::Status status;
        {
          const Failure failure(on_device, n);
          status = StatusOf(work);
          failed = failure.happened();
        }
        EXPECT_EQ(status.code(),
                  failed ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kOk)
            << status;
        if (failed) {
          EXPECT_EQ(device().allocated_bytes(), before) << "device memory was kept";
        }
        undo();
        ExpectUnharmed();
        if (HasFailure()) return;
      }
      EXPECT_GT(n, on_device ? at_least : 2) << "fewer allocations than this call needs";
    }
  }

  // Stands where it stood, and goes on with the bits of a session that nothing ever happened to.
  void ExpectUnharmed() {
    ASSERT_EQ(session_->length(), 150u);
    ASSERT_TRUE(SameBits(LogitsOf(*session_), rows_[149]));
    ASSERT_TRUE(session_->Append(absl::MakeConstSpan(ids_).subspan(150, 2)).ok());
    ASSERT_TRUE(SameBits(LogitsOf(*session_), rows_[151]));
    ASSERT_TRUE(session_->Rewind(150).ok());
  }

  Device& device() { return model_->device(); }

  Random random_;
  std::shared_ptr<const Model> model_ = MakeModel(GetParam(), random_.Bits(), "bf16", 1);
  const std::vector<int32_t> ids_ = RandomIds(random_, 160);
  const std::vector<Row> rows_ = RowsOf(model_, ids_);
  std::unique_ptr<Session> session_ = NewSession(model_, Shape());
  MemoryFileSystem files_;
};
INSTANTIATE_TEST_SUITE_P(HostDevices, SessionMemoryTest, ::testing::Values("ref", "cpu"),
                         [](const auto& info) { return info.param; });

TEST_P(SessionMemoryTest, Create) {
  Sweep([this] { return Session::Create(model_, Shape()).status(); }, 6);
}

TEST_P(SessionMemoryTest, Fork) {
  Sweep([this] { return session_->Fork().status(); }, 6);
}

TEST_P(SessionMemoryTest, TakeSnapshot) {
  Sweep([this] { return session_->TakeSnapshot().status(); }, 2);
}

TEST_P(SessionMemoryTest, Load) {
  for (const bool lazy : {false, true}) {
    LoadParams params;
    params.lazy = lazy;
    params.attach = lazy;
    Sweep([&] { return Session::Load(model_, files_, kPath, params).status(); }, 6);
  }
}

// A session that could not be woken sleeps on and wakes when there is memory again.
TEST_P(SessionMemoryTest, Wake) {
  const auto sleeper = NewSession(model_, Shape());
  ASSERT_TRUE(sleeper->Append(absl::MakeConstSpan(ids_).subspan(0, 100)).ok());
  ASSERT_TRUE(sleeper->Hibernate(files_, "/sleeper.rillstate").ok());
  const uint64_t asleep = device().allocated_bytes();
  const auto wake = [&] { return sleeper->Wake(); };
  const auto check = [&] {
    EXPECT_EQ(sleeper->asleep(), device().allocated_bytes() == asleep);
    ASSERT_EQ(sleeper->length(), 100u);
    ASSERT_TRUE(SameBits(LogitsOf(*sleeper), rows_[99]));
    ASSERT_FALSE(sleeper->asleep());
    ASSERT_TRUE(sleeper->Hibernate(files_, "/sleeper.rillstate").ok());
  };
  Sweep(wake, 6, check);
}

// Nothing is allocated by what has to work when memory is short.
TEST_P(SessionMemoryTest, RestoreRewindAndCloseNeedNoDeviceMemory) {
  auto snapshot = session_->TakeSnapshot();
  ASSERT_TRUE(snapshot.ok());
  auto fork = session_->Fork();
  ASSERT_TRUE(fork.ok());
  const Failure failure(true, 0);
  ASSERT_TRUE((*fork)->Rewind(60).ok());
  ASSERT_TRUE((*fork)->Append(absl::MakeConstSpan(ids_).subspan(60, 50)).ok());
  ASSERT_TRUE(SameBits(LogitsOf(**fork), rows_[109]));
  ASSERT_TRUE((*fork)->Restore(**snapshot).ok());
  ASSERT_TRUE(SameBits(LogitsOf(**fork), rows_[149]));
  fork->reset();
  snapshot->reset();
  ExpectUnharmed();
  EXPECT_FALSE(failure.happened());
}

}  // namespace
}  // namespace rill::test
