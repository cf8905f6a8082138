#include "model/graph/block_pool.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"

namespace rill {

struct BlockRef::Block {
  void* data = nullptr;
  std::atomic<uint32_t> holders{0};
  BlockPool::Reservation::Extent* extent = nullptr;
  Block* next_free = nullptr;
};

// The memory of one reservation. It lives as long as the reservation or a block of it that somebody holds.
struct BlockPool::Reservation::Extent {
  std::shared_ptr<BlockPool> pool;     // null: the memory is `owner`'s
  std::shared_ptr<const void> owner;
  Buffer memory;
  std::unique_ptr<BlockRef::Block[]> blocks;
  size_t n_blocks = 0;
  std::atomic<size_t> uses{0};         // blocks held, and one for the reservation
  bool retired = false;                // under the pool's mutex
};

BlockRef::BlockRef(const BlockRef& other) noexcept : block_(other.block_) {
  if (block_ != nullptr) block_->holders.fetch_add(1, std::memory_order_relaxed);
}

BlockRef::~BlockRef() {
  if (block_ != nullptr && block_->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) BlockPool::Drop(block_);
}

void* BlockRef::data() const { return block_ == nullptr ? nullptr : block_->data; }

bool BlockRef::writable() const {
  return block_ != nullptr && block_->extent->pool != nullptr && block_->holders.load(std::memory_order_acquire) == 1;
}

std::shared_ptr<BlockPool> BlockPool::Create(Device& device, size_t block_bytes) {
  return std::shared_ptr<BlockPool>(new BlockPool(device, block_bytes));
}

absl::StatusOr<BlockPool::Reservation> BlockPool::Reserve(size_t blocks) {
  auto extent = std::make_unique<Reservation::Extent>();
  const std::optional<uint64_t> bytes = CheckedMul(blocks, block_bytes_);
  if (!bytes) return absl::ResourceExhaustedError(absl::StrCat(blocks, " blocks of ", block_bytes_, " bytes"));
  RILL_ASSIGN_OR_RETURN(extent->memory, Buffer::Allocate(device_, *bytes));
  extent->pool = shared_from_this();
  extent->blocks = std::make_unique<BlockRef::Block[]>(blocks);
  extent->n_blocks = blocks;
  extent->uses = 1;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (size_t i = blocks; i-- > 0;) {  // so that the first taken is the first in memory
    BlockRef::Block& block = extent->blocks[i];
    block.data = extent->memory.as<char>() + i * block_bytes_;
    block.extent = extent.get();
    block.next_free = std::exchange(free_, &block);
  }
  return Reservation(extent.release());
}

BlockPool::Reservation::~Reservation() {
  if (extent_ != nullptr) Retire(extent_);
}

uint64_t BlockPool::Reservation::bytes() const { return extent_ == nullptr ? 0 : extent_->memory.bytes(); }

BlockRef BlockPool::Take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_ == nullptr) return BlockRef();
  BlockRef::Block* block = std::exchange(free_, free_->next_free);
  block->holders.store(1, std::memory_order_relaxed);
  block->extent->uses.fetch_add(1, std::memory_order_relaxed);
  return BlockRef(block);
}

std::vector<BlockRef> BlockPool::Adopt(absl::Span<void* const> data, std::shared_ptr<const void> owner) {
  std::vector<BlockRef> refs;
  if (data.empty()) return refs;
  auto extent = std::make_unique<Reservation::Extent>();
  extent->owner = std::move(owner);
  extent->blocks = std::make_unique<BlockRef::Block[]>(data.size());
  extent->n_blocks = data.size();
  extent->uses = data.size();
  extent->retired = true;
  refs.reserve(data.size());
  for (size_t i = 0; i < data.size(); ++i) {
    BlockRef::Block& block = extent->blocks[i];
    block.data = data[i];
    block.extent = extent.get();
    block.holders = 1;
    refs.push_back(BlockRef(&block));
  }
  extent.release();
  return refs;
}

// The last holder has gone: back to the free ones, or, when the reservation has gone too, nowhere.
void BlockPool::Drop(BlockRef::Block* block) {
  Reservation::Extent* extent = block->extent;
  const std::shared_ptr<BlockPool> pool = extent->pool;
  if (pool != nullptr) {
    const std::lock_guard<std::mutex> lock(pool->mutex_);
    if (!extent->retired) block->next_free = std::exchange(pool->free_, block);
  }
  if (extent->uses.fetch_sub(1, std::memory_order_acq_rel) == 1) delete extent;
}

void BlockPool::Retire(Reservation::Extent* extent) {
  const std::shared_ptr<BlockPool> pool = extent->pool;
  {
    const std::lock_guard<std::mutex> lock(pool->mutex_);
    extent->retired = true;
    pool->Collect(extent);
  }
  if (extent->uses.fetch_sub(1, std::memory_order_acq_rel) == 1) delete extent;
}

// Takes the free blocks of an extent out of the list.
void BlockPool::Collect(Reservation::Extent* extent) {
  for (BlockRef::Block** at = &free_; *at != nullptr;) {
    if ((*at)->extent == extent) {
      *at = (*at)->next_free;
    } else {
      at = &(*at)->next_free;
    }
  }
}

}  // namespace rill
