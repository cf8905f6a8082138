// tests/support/fake_timeline.h — a session without a model: every byte of its state is a function
// of its tokens, so what a file gives back can be computed again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sdk/session_file/content.h"
#include "tests/support/random.h"

namespace rill::test {

// Pages of 4 tokens and 16 KiB, a state of 200 bytes, 17 words: every part is there and small.
SessionGeometry SmallGeometry();
SessionIdentity SomeIdentity();

class FakeTimeline : public StateSource {
 public:
  explicit FakeTimeline(const SessionGeometry& geometry) : geometry_(geometry) {}

  void Append(int32_t token);
  void AppendRandom(Random& random, int64_t n);
  void Rewind(uint64_t position);                       // drops rungs behind it too
  void Mark();                                          // a rung where it stands
  void set_stage_rungs(bool on) { stage_rungs_ = on; }  // through Rung() instead of spans
  std::string generation, user_blob;

  uint64_t position() const { return tokens_.size(); }
  // Valid until the next call of this object.
  const SessionContent& Content();

  absl::StatusOr<const std::byte*> Page(uint64_t index) override;
  absl::StatusOr<const std::byte*> Rung(size_t index) override;

 private:
  uint64_t ChainAt(uint64_t position) const { return position == 0 ? 0 : chain_[position - 1]; }
  std::vector<std::byte> Fixed(uint64_t position) const;
  std::vector<float> Logits(uint64_t position) const;

  SessionGeometry geometry_;
  std::vector<int32_t> tokens_;
  std::vector<uint64_t> chain_;  // [i]: a hash of tokens 0 to i
  std::vector<uint64_t> marks_;
  bool stage_rungs_ = false;

  SessionContent content_;
  std::vector<std::byte> page_, staged_, fixed_, ring_;
  std::vector<float> logits_;
  std::vector<std::vector<std::byte>> rung_fixed_;
  std::vector<std::vector<float>> rung_logits_;
  std::vector<RungContent> rungs_;
};

// "" or what differs. Rungs and ring are compared where `whole` is set.
std::string Difference(const SessionGeometry& geometry, const SessionContent& a,
                       const SessionContent& b, bool whole = true);

}  // namespace rill::test
