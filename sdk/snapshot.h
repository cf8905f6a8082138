// sdk/snapshot.h — a timeline as it was, kept in memory to come back to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/graph/block_pool.h"
#include "model/model.h"
#include "sdk/session.h"

namespace rill {

// Immutable and thread-safe; lives as long as you hold it, whatever becomes of the session it was taken from. Restoring it
// again and again gives the same session each time.
class Snapshot {
 public:
  uint64_t length() const { return tokens_.size(); }
  absl::Span<const int32_t> tokens() const { return tokens_; }
  // Device memory it may come to cost: its own copy, and the pages it shares once nobody else needs them.
  uint64_t bytes() const { return own_rung_.bytes() + own_pages_.bytes(); }

 private:
  friend class Session;
  friend struct Session::Impl;
  Snapshot() = default;
  std::shared_ptr<const Model> model_;     // first in, last out: the blocks borrow its device
  DType mla_dtype_ = DType::kBf16;
  BlockPool::Reservation own_rung_, own_pages_;
  BlockRef rung_;                          // the constant-size part and the logits; empty at length 0
  std::vector<BlockRef> pages_;
  std::vector<int32_t> tokens_;
  std::string generation_;                 // see Generation::Resume
};

}  // namespace rill
