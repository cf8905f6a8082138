#include "tests/support/fake_timeline.h"

#include <algorithm>
#include <cstring>

namespace rill::test {
namespace {

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

void Fill(uint64_t seed, std::byte* out, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 8) {
    const uint64_t word = Mix(seed + i);
    std::memcpy(out + i, &word, std::min<size_t>(8, bytes - i));
  }
}

template <typename T>
bool SameBytes(absl::Span<const T> a, absl::Span<const T> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

std::string RungDifference(const SessionContent& a, const SessionContent& b) {
  if (a.ladder.size() != b.ladder.size()) return "number of rungs";
  for (size_t i = 0; i < a.ladder.size(); ++i) {
    const RungContent &x = a.ladder[i], &y = b.ladder[i];
    if (x.position != y.position || x.flags != y.flags || x.tag != y.tag) return "rung's head";
    if (!SameBytes(x.fixed, y.fixed)) return "rung's state";
    if (!SameBytes(x.logits, y.logits)) return "rung's logits";
  }
  return "";
}

}  // namespace

SessionGeometry SmallGeometry() {
  SessionGeometry g;
  g.page_tokens = 4;
  g.vocab_size = 17;
  g.page_bytes = 16384;
  g.fixed_bytes = 200;
  g.ring_bytes = 8 * 24;
  g.ring_slots = 8;
  g.mla_dtype = "bf16";
  return g;
}

SessionIdentity SomeIdentity() {
  SessionIdentity identity;
  identity.architecture.fill(0xa1);
  identity.tokenizer.fill(0x70);
  identity.weights.fill(0x3e);
  identity.quantization = "q8";
  identity.state_layout = "kda-hkv-f32.1";
  identity.numerics = "cpu/1";
  return identity;
}

void FakeTimeline::Append(int32_t token) {
  chain_.push_back(Mix(ChainAt(position()) ^ static_cast<uint64_t>(token + 1)));
  tokens_.push_back(token);
}

void FakeTimeline::AppendRandom(Random& random, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    Append(static_cast<int32_t>(random.Int(0, geometry_.vocab_size - 1)));
}

void FakeTimeline::Rewind(uint64_t position) {
  tokens_.resize(position);
  chain_.resize(position);
  while (!marks_.empty() && marks_.back() > position) marks_.pop_back();
}

void FakeTimeline::Mark() {
  if (marks_.empty() || marks_.back() < position()) marks_.push_back(position());
}

std::vector<std::byte> FakeTimeline::Fixed(uint64_t position) const {
  std::vector<std::byte> fixed(geometry_.fixed_bytes);
  Fill(ChainAt(position) ^ 0xf1, fixed.data(), fixed.size());
  return fixed;
}

std::vector<float> FakeTimeline::Logits(uint64_t position) const {
  if (position == 0) return {};
  std::vector<float> logits(geometry_.vocab_size);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(Mix(ChainAt(position) + i) >> 40);
  return logits;
}

absl::StatusOr<const std::byte*> FakeTimeline::Page(uint64_t index) {
  if (index * geometry_.page_tokens >= position()) return absl::OutOfRangeError("no such page");
  page_.assign(geometry_.page_bytes, std::byte{0});
  const size_t row = geometry_.page_bytes / geometry_.page_tokens;
  for (uint64_t i = 0; i < geometry_.page_tokens; ++i) {
    const uint64_t token = index * geometry_.page_tokens + i;
    if (token < position()) Fill(chain_[token], page_.data() + i * row, row);
  }
  return page_.data();
}

absl::StatusOr<const std::byte*> FakeTimeline::Rung(size_t index) {
  if (index >= marks_.size()) return absl::OutOfRangeError("no such rung");
  staged_ = Fixed(marks_[index]);
  return staged_.data();
}

const SessionContent& FakeTimeline::Content() {
  fixed_ = Fixed(position());
  logits_ = Logits(position());
  rung_fixed_.clear();
  rung_logits_.clear();
  rungs_.clear();
  for (uint64_t at : marks_) {
    rung_fixed_.push_back(Fixed(at));
    rung_logits_.push_back(at % 2 == 1 ? Logits(at) : std::vector<float>());
  }
  for (size_t i = 0; i < marks_.size(); ++i) {
    RungContent rung{marks_[i], static_cast<uint32_t>(i % 3), marks_[i] * 7, {}, rung_logits_[i]};
    if (!stage_rungs_) rung.fixed = rung_fixed_[i];
    rungs_.push_back(rung);
  }
  const uint64_t in_ring = std::min<uint64_t>(position(), geometry_.ring_slots);
  ring_.resize(in_ring * 24);
  if (in_ring > 0) Fill(ChainAt(position()) ^ 0x51, ring_.data(), ring_.size());
  content_ = {tokens_, this, fixed_, logits_, rungs_, {}, generation, user_blob};
  if (in_ring > 0) content_.ring = {position() - in_ring, position(), ring_};
  return content_;
}

std::string Difference(const SessionGeometry& geometry, const SessionContent& a,
                       const SessionContent& b, bool whole) {
  if (!SameBytes(a.tokens, b.tokens)) return "tokens";
  if (!SameBytes(a.fixed, b.fixed)) return "state";
  if (!SameBytes(a.logits, b.logits)) return "logits";
  if (a.generation != b.generation) return "generation";
  if (a.user_blob != b.user_blob) return "user blob";
  const uint64_t tokens = a.tokens.size();
  const uint64_t n_pages =
      geometry.page_bytes == 0 ? 0 : (tokens + geometry.page_tokens - 1) / geometry.page_tokens;
  for (uint64_t i = 0; i < n_pages; ++i) {
    const auto x = a.source->Page(i), y = b.source->Page(i);
    if (!x.ok() || !y.ok()) return "no page " + std::to_string(i);
    if (std::memcmp(*x, *y, geometry.page_bytes) != 0) return "page " + std::to_string(i);
  }
  if (!whole) return "";
  if (a.ring.first != b.ring.first || a.ring.end != b.ring.end) return "ring's range";
  if (!SameBytes(a.ring.bytes, b.ring.bytes)) return "ring";
  return RungDifference(a, b);
}

}  // namespace rill::test
