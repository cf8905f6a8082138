// sdk/session_file/content.h — what a *.rillstate file holds, as borrowed bytes.
//
// Nothing here knows a session or a device: whoever saves describes the session's memory with these
// structs, whoever loads gets the same structs back with pointers into the file. All numbers are
// little-endian in the file. Every span is borrowed and must stay as it is for the length of the
// call that it is given to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/io/sha256.h"

namespace rill {

// Which model and which arithmetic the states come from. A file is refused where one of them
// differs, by that field's own name. The texts are printable ASCII without control characters.
struct SessionIdentity {
  Sha256Digest architecture{}, tokenizer{}, weights{};
  std::string quantization;  // name of the recipe, at most 63 bytes
  std::string state_layout;  // tag of the layout of fixed state, pages and ring, at most 63 bytes
  std::string numerics;      // device kind and kernel generation, at most 127 bytes

  friend bool operator==(const SessionIdentity&, const SessionIdentity&) = default;
};

// The sizes of a session's parts. They place everything in the file.
struct SessionGeometry {
  uint32_t page_tokens = 128;  // tokens of one MLA page, 1 to 65,536
  uint32_t vocab_size = 0;     // logits are this many f32
  uint64_t page_bytes = 0;     // of all MLA layers together, a multiple of 16 KiB; 0: no MLA layer
  uint64_t fixed_bytes = 0;    // KDA states and convolution tails
  uint64_t ring_bytes = 0;     // at most this many bytes of replay ring; 0: none
  uint32_t ring_slots = 0;     // tokens in a full ring
  std::string mla_dtype;       // "bf16", "f32": the element type of pages, at most 15 bytes

  friend bool operator==(const SessionGeometry&, const SessionGeometry&) = default;
};

// Bounds of what is written and read. Whoever passes them gets ResourceExhausted with both numbers.
inline constexpr uint64_t kMaxSessionTokens = uint64_t{1} << 32;
inline constexpr uint64_t kMaxUserBlobBytes = uint64_t{64} << 20;
inline constexpr uint64_t kMaxGenerationBytes = uint64_t{64} << 20;
inline constexpr uint64_t kMaxPageBytes = uint64_t{1} << 30;
inline constexpr uint64_t kMaxFixedBytes = uint64_t{1} << 36;
inline constexpr uint64_t kMaxRingBytes = uint64_t{1} << 36;
inline constexpr uint32_t kMaxRungs = 4096;

// A checkpoint of the state at an earlier position of the same timeline.
struct RungContent {
  uint64_t position = 0;  // tokens before it; at most the session's own position
  uint32_t flags = 0;     // pinned, message border: the session's business
  uint64_t tag = 0;       // likewise
  // fixed_bytes bytes. When saving it may be empty: then StateSource::Rung stages them.
  absl::Span<const std::byte> fixed;
  absl::Span<const float> logits;  // vocab_size values or empty
};

// The records of the last tokens [first, end), from which a state is replayed without weights.
struct RingContent {
  uint64_t first = 0, end = 0;        // end - first <= ring_slots; no ring when they are equal
  absl::Span<const std::byte> bytes;  // at most ring_bytes, in the session's own layout
};

// Where the big parts come from. A session on a device stages them into one host buffer.
class StateSource {
 public:
  virtual ~StateSource() = default;
  // page_bytes bytes of page `index`, rows [index * page_tokens, +page_tokens); valid until the
  // next call of this object. The last page of a timeline may be partly filled: its other rows are
  // kept as they are and mean nothing; zero them where equal sessions should give equal files.
  // Asked in ascending order; twice for the same page when a file goes to a callback, and the bytes
  // must be the same then.
  virtual absl::StatusOr<const std::byte*> Page(uint64_t index) = 0;
  // fixed_bytes bytes of the state of ladder[index], where RungContent::fixed is empty. Likewise.
  virtual absl::StatusOr<const std::byte*> Rung(size_t index) {
    return absl::InternalError("a rung without a state");
  }
};

// One session at one instant. The position is tokens.size().
struct SessionContent {
  absl::Span<const int32_t> tokens;      // each in [0, vocab_size)
  StateSource* source = nullptr;         // may be null where page_bytes is 0 and rungs have states
  absl::Span<const std::byte> fixed;     // fixed_bytes bytes
  absl::Span<const float> logits;        // vocab_size values; empty when there are none
  absl::Span<const RungContent> ladder;  // ascending positions
  RingContent ring;                      // end == tokens.size(), or none
  std::string_view generation;           // sampler parameters, pending UTF-8, stop text: opaque
  std::string_view user_blob;            // the program's own bytes
};

// InvalidArgument names the field and both numbers; ResourceExhausted likewise for a limit above.
absl::Status ValidateIdentity(const SessionIdentity& identity);
absl::Status ValidateGeometry(const SessionGeometry& geometry);
// Also that the content has the sizes that the geometry says, and every token is in the vocabulary.
absl::Status ValidateContent(const SessionGeometry& geometry, const SessionContent& content);

// FailedPrecondition naming the first field that differs and both values, with a payload that
// MismatchedField finds (so that it can be told from a file of another version).
absl::Status CheckIdentity(const SessionIdentity& file, const SessionIdentity& expected);
absl::Status CheckGeometry(const SessionGeometry& file, const SessionGeometry& expected);

// "weights", "tokenizer", ...; empty when the status is not a mismatch.
std::string MismatchedField(const absl::Status& status);

// All fields that differ, in the order of the structs.
std::vector<std::string> DifferingFields(const SessionIdentity& a, const SessionIdentity& b);

}  // namespace rill
