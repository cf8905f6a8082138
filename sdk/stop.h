// sdk/stop.h — stop strings in streamed text, across token borders.
//
// The filter gives out text as soon as it cannot be part of a stop string any more, so at most the
// longest stop string less one byte is held back. Which match counts: the one that starts earliest
// in the text; among those that start at the same place, the one listed first. So with {"abcd",
// "bc"} the text "abc" is held until the next character decides, and with {"ab", "abc"} the second
// can never match. The matched string and all after it are dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace rill {

// Both bound the time a token may take.
inline constexpr size_t kMaxStopStrings = 64;
inline constexpr size_t kMaxStopBytes = 1024;  // of one string

// Thread-compatible. Copy it to fork a stream; save state() to resume one.
class StopFilter {
 public:
  // What has to be saved besides the stop strings themselves.
  struct State {
    std::string pending;  // text held back
    int32_t matched = -1;
  };

  // InvalidArgument: too many strings, one that is empty, too long or no UTF-8. No strings:
  // everything passes.
  static absl::StatusOr<StopFilter> Create(std::vector<std::string> stops);

  // The filter as it was when `state` was taken from one with the same stop strings.
  // InvalidArgument when this cannot be such a state.
  static absl::StatusOr<StopFilter> Resume(std::vector<std::string> stops, const State& state);

  // Appends to *out what is safe to show of the text so far. Given whole characters, it gives whole
  // characters. True once a stop string matched; text pushed after that is dropped.
  bool Push(std::string_view text, std::string* out);

  // The end of the text: nothing can continue any more, so what was held back is decided. Returns
  // as Push.
  bool Finish(std::string* out);

  // The index of the matched stop string, -1 before.
  int32_t matched() const { return matched_; }
  std::string_view pending() const { return pending_; }
  State state() const { return {pending_, matched_}; }

 private:
  enum class Verdict { kNone, kPartial, kMatch };

  explicit StopFilter(std::vector<std::string> stops);
  bool Scan(bool at_end, std::string* out);
  Verdict Judge(std::string_view rest, bool at_end, int32_t* stop) const;

  std::vector<std::string> stops_;
  std::string pending_;
  int32_t matched_ = -1;
};

}  // namespace rill
