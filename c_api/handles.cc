#include "c_api/handles.h"

#include "absl/strings/str_cat.h"

namespace rill::capi {
namespace {

constexpr int kKindShift = 1;
constexpr int kIndexShift = 3;
constexpr int kGenerationShift = 19;
constexpr size_t kMaxSlots = size_t{1} << (kGenerationShift - kIndexShift);
constexpr uintptr_t kMaxGeneration = UINTPTR_MAX >> kGenerationShift;

const char* NameOf(Kind kind) {
  switch (kind) {
    case Kind::kModel:
      return "model";
    case Kind::kSession:
      return "session";
    case Kind::kGeneration:
      return "generation";
    case Kind::kSnapshot:
      return "snapshot";
  }
  return "";
}

}  // namespace

HandleTable& HandleTable::Instance() {
  static HandleTable* const table = new HandleTable;
  return *table;
}

void* HandleTable::Add(Kind kind, std::shared_ptr<void> object) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.empty()) {
    if (slots_.size() == kMaxSlots) return nullptr;
    free_.reserve(slots_.size() + 1);  // so that Remove never has to allocate
    slots_.emplace_back();
    free_.push_back(static_cast<uint16_t>(slots_.size() - 1));
  }
  const uintptr_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.generation += 1;
  slot.kind = kind;
  slot.object = std::move(object);
  return reinterpret_cast<void*>(slot.generation << kGenerationShift | index << kIndexShift |
                                 static_cast<uintptr_t>(kind) << kKindShift | 1);
}

rill_status HandleTable::Locate(Kind kind, const void* handle, size_t* index) const {
  const auto bits = reinterpret_cast<uintptr_t>(handle);
  if (bits == 0) return Fail(RILL_E_ARG, absl::StrCat(NameOf(kind), " is NULL"));
  const uintptr_t generation = bits >> kGenerationShift;
  *index = bits >> kIndexShift & (kMaxSlots - 1);
  const bool possible = (bits & 1) == 1 && (bits >> kKindShift & 3) == static_cast<uintptr_t>(kind);
  if (!possible || generation == 0 || *index >= slots_.size() ||
      generation > slots_[*index].generation) {
    return Fail(RILL_E_ARG, absl::StrCat("not a ", NameOf(kind), " handle"));
  }
  const Slot& slot = slots_[*index];
  if (generation < slot.generation || slot.object == nullptr) {
    return Fail(RILL_E_CLOSED, absl::StrCat("the ", NameOf(kind), " was closed"));
  }
  // Alive with this generation, but of another kind: the number was made up.
  if (slot.kind != kind) return Fail(RILL_E_ARG, absl::StrCat("not a ", NameOf(kind), " handle"));
  return RILL_OK;
}

rill_status HandleTable::Find(Kind kind, const void* handle, std::shared_ptr<void>* object) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t index = 0;
  const rill_status status = Locate(kind, handle, &index);
  if (status == RILL_OK) *object = slots_[index].object;
  return status;
}

rill_status HandleTable::Remove(Kind kind, const void* handle, std::shared_ptr<void>* object) {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t index = 0;
  const rill_status status = Locate(kind, handle, &index);
  if (status != RILL_OK) return status;
  *object = std::move(slots_[index].object);
  slots_[index].object = nullptr;
  // A place whose generations are used up is never taken again.
  if (slots_[index].generation < kMaxGeneration) free_.push_back(static_cast<uint16_t>(index));
  return RILL_OK;
}

}  // namespace rill::capi
