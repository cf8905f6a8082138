// sdk/ladder.h — checkpoints of a timeline that a rewind starts from, spaced wider the older they are.
//
// A rung is the state after some number of tokens: the constant-size part and, where they were there, the logits. Rungs
// are immutable and shared by forks. Three kinds: those on multiples of the spacing, which a replay of the last tokens
// starts from; those at message borders, which live longer; marks, which stay until they are taken away.
//
// A full ladder gives up the rung whose loss costs least for its age: the gap it leaves behind, divided by how far back
// it lies. That keeps gaps in proportion to age, and the first message as reachable as the last.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/graph/block_pool.h"
#include "model/graph/plan.h"

namespace rill {

enum class RungKind : uint8_t { kSpaced = 0, kBorder = 1, kMark = 2 };

struct Rung {
  int64_t position = 0;       // tokens before it, >= 1
  BlockRef state;             // StateLayout::rung_bytes: the constant-size part, then the logits
  bool has_logits = false;
  RungKind kind = RungKind::kSpaced;
  uint64_t tag = 0;           // the caller's, of a mark
};

class Ladder {  // One caller at a time, its session's.
 public:
  // The newest spaced rungs, which the replay ring needs: a rewind by a whole window to a multiple of it wants the logits
  // there, so it starts before that multiple.
  static constexpr int64_t kRecent = 3;
  // Blocks beside the rungs: for the checkpoints of the pass in flight, and for the state a rewind may have to go back to.
  static constexpr int64_t kSpare = kRecent + 1;

  // Reserves shape.ladder_slots blocks of `pool`, whose blocks are rungs. ResourceExhausted.
  static absl::StatusOr<Ladder> Create(std::shared_ptr<BlockPool> pool, const SessionShape& shape);

  int64_t spacing() const { return spacing_; }
  size_t capacity() const { return capacity_; }
  uint64_t bytes() const { return reservation_.bytes(); }
  const std::shared_ptr<BlockPool>& pool() const { return pool_; }
  absl::Span<const Rung> rungs() const { return rungs_; }   // by ascending position

  // Memory for a rung that is not there yet. Allocates nothing.
  absl::StatusOr<BlockRef> NewBlock();
  // Adds a rung. One at the same position stays the stronger of the two kinds, and gains the logits. A full ladder gives
  // one up. Allocates nothing.
  void Add(Rung rung);
  // ResourceExhausted with both numbers when one more mark would leave nothing that moves.
  absl::Status CanMark(int64_t position) const;
  void Unmark(uint64_t tag);   // rungs of that tag become borders

  const Rung* Find(int64_t position) const;         // at that position, or null
  const Rung* AtOrBelow(int64_t position) const;    // the highest of those, or null
  void Drop(int64_t position);
  void DropAbove(int64_t position);
  void Clear() { rungs_.clear(); }
  void Share(const Ladder& other, int64_t up_to);   // rungs of `other` at or below that position; replaces what is here

 private:
  void GiveOneUp();
  bool Replaceable(size_t i) const;

  std::shared_ptr<BlockPool> pool_;
  BlockPool::Reservation reservation_;
  size_t capacity_ = 0;
  int64_t spacing_ = 0;
  std::vector<Rung> rungs_;
};

}  // namespace rill
