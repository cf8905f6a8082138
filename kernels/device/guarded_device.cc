#include "kernels/device/guarded_device.h"

#include <cstring>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"

namespace rill {
namespace {

constexpr size_t kZone =
    256;  // keeps the alignment of the inner device, and outlasts a zmm store or a row tail
constexpr uint8_t kZoneByte = 0xFF, kFreshByte = 0xFF, kFreedByte = 0xDB;

// All kZone bytes are kZoneByte: the first is, and each is equal to the next.
bool IsIntact(const uint8_t* zone) {
  return zone[0] == kZoneByte && memcmp(zone, zone + 1, kZone - 1) == 0;
}

class GuardedDevice final : public Device {
 public:
  explicit GuardedDevice(std::unique_ptr<Device> inner);

  const DeviceInfo& info() const override { return inner_->info(); }
  const OpTable& ops() const override { return ops_; }
  bool is_host() const override { return true; }

  absl::StatusOr<void*> Allocate(size_t bytes) override;
  void Free(void* data, size_t bytes) override;
  uint64_t allocated_bytes() const override;
  uint64_t peak_allocated_bytes() const override;

  absl::Status CopyIn(void* to, const void* from, size_t bytes) override {
    return inner_->CopyIn(to, from, bytes);
  }
  absl::Status CopyOut(void* to, const void* from, size_t bytes) override {
    return inner_->CopyOut(to, from, bytes);
  }
  absl::Status CopyOn(void* to, const void* from, size_t bytes) override {
    return inner_->CopyOn(to, from, bytes);
  }
  absl::Status Fill(void* to, uint8_t byte, size_t bytes) override {
    return inner_->Fill(to, byte, bytes);
  }

  absl::Status Synchronize() override;
  absl::Status fault() const override { return inner_->fault(); }
  ThreadPool* pool() override { return inner_->pool(); }

  // The operator of the inner device, then a look at every zone.
  template <typename Args>
  absl::Status Run(const char* name, absl::Status (*op)(Device&, const Args&), const Args& args) {
    RILL_RETURN_IF_ERROR(Verdict());
    const absl::Status status = op(*inner_, args);
    CheckAllZones(name);
    RILL_RETURN_IF_ERROR(Verdict());
    return status;
  }

  const OpTable& inner_ops() const { return inner_->ops(); }

 private:
  struct Block {
    size_t bytes;
    uint64_t number;  // of the allocation, from 1
  };

  absl::Status Verdict() const {
    absl::MutexLock lock(&mutex_);
    return verdict_;
  }
  void CheckAllZones(absl::string_view when);
  void CheckZones(absl::string_view when, const uint8_t* data, const Block& block)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<Device> inner_;
  OpTable ops_;
  mutable absl::Mutex mutex_;
  std::map<uint8_t*, Block> blocks_ ABSL_GUARDED_BY(mutex_);
  uint64_t n_allocations_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t allocated_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t peak_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status verdict_ ABSL_GUARDED_BY(mutex_);
};

#define RILL_GUARD_OP(name, Args)                                 \
  absl::Status Guarded_##name(Device& device, const Args& args) { \
    auto& guarded = static_cast<GuardedDevice&>(device);          \
    return guarded.Run(#name, guarded.inner_ops().name, args);    \
  }
RILL_FOR_EACH_OP(RILL_GUARD_OP)
#undef RILL_GUARD_OP

GuardedDevice::GuardedDevice(std::unique_ptr<Device> inner) : inner_(std::move(inner)) {
#define RILL_GUARD_ROW(name, Args) \
  if (inner_->ops().name != nullptr) ops_.name = Guarded_##name;
  RILL_FOR_EACH_OP(RILL_GUARD_ROW)
#undef RILL_GUARD_ROW
}

absl::StatusOr<void*> GuardedDevice::Allocate(size_t bytes) {
  const auto padded = CheckedAdd(bytes, 2 * kZone);
  if (!padded) {
    return absl::ResourceExhaustedError(absl::StrCat("device ", info().name, ": no memory for ",
                                                     bytes, " bytes, ", allocated_bytes(),
                                                     " in use"));
  }
  RILL_ASSIGN_OR_RETURN(void* memory, inner_->Allocate(*padded));
  uint8_t* data = static_cast<uint8_t*>(memory) + kZone;
  memset(data - kZone, kZoneByte, kZone);
  memset(data, kFreshByte, bytes);
  memset(data + bytes, kZoneByte, kZone);
  absl::MutexLock lock(&mutex_);
  blocks_[data] = Block{bytes, ++n_allocations_};
  allocated_ += bytes;
  if (allocated_ > peak_) peak_ = allocated_;
  return data;
}

void GuardedDevice::Free(void* data, size_t bytes) {
  if (data == nullptr) return;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = blocks_.find(static_cast<uint8_t*>(data));
    if (it == blocks_.end() || it->second.bytes != bytes) {
      if (verdict_.ok()) {
        verdict_ = absl::InternalError(
            absl::StrCat("guarded device ", info().name, ": free of ", bytes, " bytes, ",
                         it == blocks_.end() ? "no such buffer" : "another size was given"));
      }
      return;
    }
    CheckZones("free", it->first, it->second);
    allocated_ -= bytes;
    blocks_.erase(it);
  }
  memset(data, kFreedByte, bytes);
  inner_->Free(static_cast<uint8_t*>(data) - kZone, bytes + 2 * kZone);
}

uint64_t GuardedDevice::allocated_bytes() const {
  absl::MutexLock lock(&mutex_);
  return allocated_;
}

uint64_t GuardedDevice::peak_allocated_bytes() const {
  absl::MutexLock lock(&mutex_);
  return peak_;
}

absl::Status GuardedDevice::Synchronize() {
  RILL_RETURN_IF_ERROR(inner_->Synchronize());
  CheckAllZones("synchronize");
  return Verdict();
}

void GuardedDevice::CheckAllZones(absl::string_view when) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [data, block] : blocks_) CheckZones(when, data, block);
}

void GuardedDevice::CheckZones(absl::string_view when, const uint8_t* data, const Block& block) {
  if (!verdict_.ok()) return;
  if (IsIntact(data - kZone) && IsIntact(data + block.bytes)) return;
  const int64_t zone = kZone, bytes = static_cast<int64_t>(block.bytes);
  for (int64_t offset = -zone; offset < bytes + zone; ++offset) {
    if (offset == 0) offset = bytes;
    if (data[offset] == kZoneByte) continue;
    verdict_ = absl::InternalError(absl::StrCat("guarded device ", info().name, ": after ", when,
                                                ": buffer ", block.number, " of ", block.bytes,
                                                " bytes was overrun at byte ", offset));
    return;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> GuardDevice(std::unique_ptr<Device> inner) {
  if (!inner->is_host()) {
    return absl::InvalidArgumentError(
        absl::StrCat("device ", inner->info().name, ": only host devices can be guarded"));
  }
  return std::make_unique<GuardedDevice>(std::move(inner));
}

}  // namespace rill
