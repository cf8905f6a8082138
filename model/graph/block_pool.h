// model/graph/block_pool.h — memory in blocks of one size that several timelines share by counting.
//
// Pages of the MLA cache and rungs of the checkpoint ladder are blocks. A block that one holder has is its to write; one
// that several have is read-only to all of them, and who wants to write takes a fresh one and copies (copy on write).
// Memory is reserved ahead: whoever never holds more blocks than it reserved always gets one from Take, without an
// allocation, however many others share the pool.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/device/buffer.h"
#include "kernels/device/device.h"

namespace rill {

class BlockPool;

// One of the holders of a block. Copying adds a holder, destruction takes one away; both are cheap, allocate nothing and
// may happen on any thread.
class BlockRef {
 public:
  BlockRef() = default;
  BlockRef(const BlockRef& other) noexcept;
  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~BlockRef();

  void* data() const;                // null for an empty reference
  bool empty() const { return block_ == nullptr; }
  bool writable() const;             // this is the only holder, and the memory is the pool's own

 private:
  friend class BlockPool;
  struct Block;
  explicit BlockRef(Block* block) : block_(block) {}  // takes over one count
  Block* block_ = nullptr;
};

class BlockPool : public std::enable_shared_from_this<BlockPool> {  // Thread-safe.
 public:
  // Borrows `device`, which must outlive the last block.
  static std::shared_ptr<BlockPool> Create(Device& device, size_t block_bytes);

  // A right to hold `blocks` blocks. When it goes, its memory follows as soon as nobody holds a block of it.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept : extent_(std::exchange(other.extent_, nullptr)) {}
    Reservation& operator=(Reservation&& other) noexcept {
      std::swap(extent_, other.extent_);
      return *this;
    }
    ~Reservation();
    uint64_t bytes() const;

   private:
    friend class BlockPool;
    struct Extent;
    friend class BlockRef;
    explicit Reservation(Extent* extent) : extent_(extent) {}
    Extent* extent_ = nullptr;
  };
  // Allocates. ResourceExhausted as Device::Allocate.
  absl::StatusOr<Reservation> Reserve(size_t blocks);

  // A block nobody else holds, contents undefined. Empty when more blocks are held than are reserved.
  BlockRef Take();

  // Read-only blocks over memory of somebody else's, a mapped file for instance, which `owner` keeps alive.
  static std::vector<BlockRef> Adopt(absl::Span<void* const> data, std::shared_ptr<const void> owner);

  size_t block_bytes() const { return block_bytes_; }

 private:
  friend class BlockRef;
  BlockPool(Device& device, size_t block_bytes) : device_(device), block_bytes_(block_bytes) {}
  static void Drop(BlockRef::Block* block);
  static void Retire(Reservation::Extent* extent);
  void Collect(Reservation::Extent* extent);

  Device& device_;
  const size_t block_bytes_;
  std::mutex mutex_;
  BlockRef::Block* free_ = nullptr;  // most recently used first: its memory is warm
};

}  // namespace rill
