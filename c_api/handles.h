// c_api/handles.h — handles that are checked ids.
//
//   bits of a handle: generation | index (16) | kind (2) | 1
//
// The lowest bit is set, so that no address of an object is ever taken for a handle, and the
// generation makes every handle one of a kind: a number that comes back after its object was closed
// is told from the one that took its place.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "c_api/status.h"

namespace rill::capi {

enum class Kind : uint8_t { kModel = 0, kSession = 1, kGeneration = 2, kSnapshot = 3 };

class HandleTable {  // Thread-safe.
 public:
  static HandleTable& Instance();  // never destroyed

  // NULL when all 65,536 places are taken.
  void* Add(Kind kind, std::shared_ptr<void> object);
  // The object stays alive as long as the caller holds it. RILL_E_ARG: NULL, or never a handle of
  // this kind. RILL_E_CLOSED: closed.
  rill_status Find(Kind kind, const void* handle, std::shared_ptr<void>* object) const;
  // Takes it out; of several callers one succeeds. Errors as Find.
  rill_status Remove(Kind kind, const void* handle, std::shared_ptr<void>* object);

 private:
  struct Slot {
    uintptr_t generation = 0;
    Kind kind = Kind::kModel;
    std::shared_ptr<void> object;
  };
  rill_status Locate(Kind kind, const void* handle, size_t* index) const;

  mutable std::mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<uint16_t> free_;
};

}  // namespace rill::capi
