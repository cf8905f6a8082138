#include "sdk/session_file/content.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"
#include "sdk/session_file/layout.h"

namespace rill {
namespace {

constexpr char kMismatchPayload[] = "rill/session-file-mismatch";
constexpr uint32_t kMaxPageTokens = 65536;
constexpr uint32_t kMaxVocab = uint32_t{1} << 30;
constexpr uint32_t kMaxRingSlots = uint32_t{1} << 20;

absl::Status CheckText(std::string_view name, const std::string& text, size_t limit) {
  if (text.size() > limit) {
    return absl::InvalidArgumentError(absl::StrCat("session file: ", AbslView(name), " has ",
                                                   text.size(), " bytes, at most ", limit));
  }
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x7f) continue;
    return absl::InvalidArgumentError(absl::StrCat("session file: ", AbslView(name), " has byte ",
                                                   int{c}, " at ", i,
                                                   ", expected printable ASCII"));
  }
  return absl::OkStatus();
}

absl::Status CheckAtMost(std::string_view name, uint64_t value, uint64_t limit) {
  if (value <= limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("session file: ", AbslView(name), " is ", value, ", at most ", limit));
}

absl::Status CheckEqual(std::string_view name, uint64_t value, uint64_t expected) {
  if (value == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("session file: ", AbslView(name), " is ", value, ", expected ", expected));
}

absl::Status CheckTokens(absl::Span<const int32_t> tokens, uint32_t vocab) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && static_cast<uint32_t>(tokens[i]) < vocab) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("session file: token ", i, " is ", tokens[i], ", the vocabulary has ", vocab));
  }
  return absl::OkStatus();
}

absl::Status CheckRung(const SessionGeometry& g, const SessionContent& content, size_t i) {
  const RungContent& rung = content.ladder[i];
  const std::string name = absl::StrCat("rung ", i);
  if (rung.position > content.tokens.size() ||
      (i > 0 && rung.position <= content.ladder[i - 1].position)) {
    return absl::InvalidArgumentError(absl::StrCat("session file: ", name, " is at ", rung.position,
                                                   ", expected after the one before and at most ",
                                                   content.tokens.size()));
  }
  if (!rung.fixed.empty())
    RILL_RETURN_IF_ERROR(CheckEqual(name + "'s state", rung.fixed.size(), g.fixed_bytes));
  if (!rung.logits.empty())
    RILL_RETURN_IF_ERROR(CheckEqual(name + "'s logits", rung.logits.size(), g.vocab_size));
  if (rung.fixed.empty() && g.fixed_bytes > 0 && content.source == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("session file: ", name, " has neither a state nor a source of one"));
  }
  return absl::OkStatus();
}

absl::Status CheckRing(const SessionGeometry& g, const SessionContent& content) {
  const RingContent& ring = content.ring;
  if (ring.first == ring.end) return CheckEqual("bytes of an empty ring", ring.bytes.size(), 0);
  RILL_RETURN_IF_ERROR(CheckEqual("end of the ring", ring.end, content.tokens.size()));
  if (ring.first > ring.end) {
    return absl::InvalidArgumentError(
        absl::StrCat("session file: the ring goes from ", ring.first, " to ", ring.end));
  }
  if (ring.end - ring.first > g.ring_slots || ring.bytes.size() > g.ring_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("session file: the ring has ", ring.end - ring.first, " tokens in ",
                     ring.bytes.size(), " bytes, at most ", g.ring_slots, " in ", g.ring_bytes));
  }
  return absl::OkStatus();
}

absl::Status Mismatch(std::string_view field, const std::string& file,
                      const std::string& expected) {
  absl::Status status = absl::FailedPreconditionError(
      absl::StrCat("the session file belongs to another ", AbslView(field), ": it has ", file,
                   ", this one is ", expected));
  status.SetPayload(kMismatchPayload, absl::Cord(AbslView(field)));
  return status;
}

std::string Short(const Sha256Digest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

// Field by field: f(name, text of a, text of b) until it answers false.
template <typename F>
void ForEachIdentityField(const SessionIdentity& a, const SessionIdentity& b, F f) {
  if (!f("architecture", Short(a.architecture), Short(b.architecture))) return;
  if (!f("tokenizer", Short(a.tokenizer), Short(b.tokenizer))) return;
  // Before the weights, which differ whenever it does: the reason, not its consequence.
  if (!f("quantization", a.quantization, b.quantization)) return;
  if (!f("weights", Short(a.weights), Short(b.weights))) return;
  if (!f("state_layout", a.state_layout, b.state_layout)) return;
  f("numerics", a.numerics, b.numerics);
}

template <typename F>
void ForEachGeometryField(const SessionGeometry& a, const SessionGeometry& b, F f) {
  if (!f("page_tokens", absl::StrCat(a.page_tokens), absl::StrCat(b.page_tokens))) return;
  if (!f("vocab_size", absl::StrCat(a.vocab_size), absl::StrCat(b.vocab_size))) return;
  if (!f("mla_dtype", a.mla_dtype, b.mla_dtype)) return;  // decides page_bytes
  if (!f("page_bytes", absl::StrCat(a.page_bytes), absl::StrCat(b.page_bytes))) return;
  if (!f("fixed_bytes", absl::StrCat(a.fixed_bytes), absl::StrCat(b.fixed_bytes))) return;
  if (!f("ring_slots", absl::StrCat(a.ring_slots), absl::StrCat(b.ring_slots))) return;
  f("ring_bytes", absl::StrCat(a.ring_bytes), absl::StrCat(b.ring_bytes));
}

}  // namespace

absl::Status ValidateIdentity(const SessionIdentity& identity) {
  RILL_RETURN_IF_ERROR(CheckText("quantization", identity.quantization, 63));
  RILL_RETURN_IF_ERROR(CheckText("state_layout", identity.state_layout, 63));
  return CheckText("numerics", identity.numerics, 127);
}

absl::Status ValidateGeometry(const SessionGeometry& g) {
  RILL_RETURN_IF_ERROR(CheckText("mla_dtype", g.mla_dtype, 15));
  if (g.page_tokens == 0 || g.vocab_size == 0) {
    return absl::InvalidArgumentError(absl::StrCat("session file: pages of ", g.page_tokens,
                                                   " tokens, a vocabulary of ", g.vocab_size,
                                                   ", expected at least 1 each"));
  }
  if (g.page_bytes % session_file::kPageAlign != 0) {
    return absl::InvalidArgumentError(absl::StrCat("session file: page_bytes is ", g.page_bytes,
                                                   ", expected a multiple of ",
                                                   session_file::kPageAlign));
  }
  RILL_RETURN_IF_ERROR(CheckAtMost("page_tokens", g.page_tokens, kMaxPageTokens));
  RILL_RETURN_IF_ERROR(CheckAtMost("vocab_size", g.vocab_size, kMaxVocab));
  RILL_RETURN_IF_ERROR(CheckAtMost("page_bytes", g.page_bytes, kMaxPageBytes));
  RILL_RETURN_IF_ERROR(CheckAtMost("fixed_bytes", g.fixed_bytes, kMaxFixedBytes));
  RILL_RETURN_IF_ERROR(CheckAtMost("ring_slots", g.ring_slots, kMaxRingSlots));
  return CheckAtMost("ring_bytes", g.ring_bytes, kMaxRingBytes);
}

absl::Status ValidateContent(const SessionGeometry& g, const SessionContent& content) {
  RILL_RETURN_IF_ERROR(CheckAtMost("number of tokens", content.tokens.size(), kMaxSessionTokens));
  RILL_RETURN_IF_ERROR(
      CheckAtMost("size of the user blob", content.user_blob.size(), kMaxUserBlobBytes));
  RILL_RETURN_IF_ERROR(CheckAtMost("size of the generation's state", content.generation.size(),
                                   kMaxGenerationBytes));
  RILL_RETURN_IF_ERROR(CheckAtMost("number of rungs", content.ladder.size(), kMaxRungs));
  RILL_RETURN_IF_ERROR(CheckTokens(content.tokens, g.vocab_size));
  RILL_RETURN_IF_ERROR(CheckEqual("size of the state", content.fixed.size(), g.fixed_bytes));
  if (!content.logits.empty())
    RILL_RETURN_IF_ERROR(CheckEqual("number of logits", content.logits.size(), g.vocab_size));
  if (content.source == nullptr && g.page_bytes > 0 && !content.tokens.empty())
    return absl::InvalidArgumentError("session file: no source of pages");
  for (size_t i = 0; i < content.ladder.size(); ++i) RILL_RETURN_IF_ERROR(CheckRung(g, content, i));
  return CheckRing(g, content);
}

absl::Status CheckIdentity(const SessionIdentity& file, const SessionIdentity& expected) {
  absl::Status status;
  ForEachIdentityField(file, expected,
                       [&](std::string_view name, const std::string& a, const std::string& b) {
                         if (a != b) status = Mismatch(name, a, b);
                         return a == b;
                       });
  return status;
}

absl::Status CheckGeometry(const SessionGeometry& file, const SessionGeometry& expected) {
  absl::Status status;
  ForEachGeometryField(file, expected,
                       [&](std::string_view name, const std::string& a, const std::string& b) {
                         if (a != b) status = Mismatch(name, a, b);
                         return a == b;
                       });
  return status;
}

std::string MismatchedField(const absl::Status& status) {
  const auto payload = status.GetPayload(kMismatchPayload);
  return payload ? std::string(*payload) : "";
}

std::vector<std::string> DifferingFields(const SessionIdentity& a, const SessionIdentity& b) {
  std::vector<std::string> fields;
  ForEachIdentityField(a, b,
                       [&](std::string_view name, const std::string& x, const std::string& y) {
                         if (x != y) fields.emplace_back(name);
                         return true;
                       });
  return fields;
}

}  // namespace rill
