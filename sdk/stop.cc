#include "sdk/stop.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "kernels/base/status.h"
#include "model/tokenizer/utf8.h"

namespace rill {

absl::StatusOr<StopFilter> StopFilter::Create(std::vector<std::string> stops) {
  if (stops.size() > kMaxStopStrings) {
    return absl::InvalidArgumentError(
        absl::StrCat("stop strings: ", stops.size(), ", the limit is ", kMaxStopStrings));
  }
  for (size_t i = 0; i < stops.size(); ++i) {
    if (stops[i].empty() || stops[i].size() > kMaxStopBytes) {
      return absl::InvalidArgumentError(absl::StrCat("stop string ", i, ": ", stops[i].size(),
                                                     " bytes, 1 to ", kMaxStopBytes,
                                                     " are allowed"));
    }
    if (const size_t valid = ValidUtf8Bytes(stops[i]); valid != stops[i].size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("stop string ", i, ": no UTF-8 at byte ", valid, " of ", stops[i].size()));
    }
  }
  return StopFilter(std::move(stops));
}

absl::StatusOr<StopFilter> StopFilter::Resume(std::vector<std::string> stops, const State& state) {
  RILL_ASSIGN_OR_RETURN(StopFilter filter, Create(std::move(stops)));
  if (state.matched < -1 || state.matched >= static_cast<int32_t>(filter.stops_.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("stop state: string ", state.matched, " matched of ", filter.stops_.size()));
  }
  std::string shown;
  if (filter.Push(state.pending, &shown) || !shown.empty() ||
      (state.matched >= 0 && !state.pending.empty())) {
    return absl::InvalidArgumentError(
        absl::StrCat("stop state: ", state.pending.size(),
                     " bytes held back that these stop strings do not hold"));
  }
  filter.matched_ = state.matched;
  return filter;
}

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  size_t longest = 0;
  for (const std::string& stop : stops_) longest = std::max(longest, stop.size());
  pending_.reserve(2 * longest + 256);  // so that ordinary tokens do not allocate
}

bool StopFilter::Push(std::string_view text, std::string* out) {
  if (matched_ >= 0) return true;
  pending_.append(text);
  return Scan(/*at_end=*/false, out);
}

bool StopFilter::Finish(std::string* out) {
  if (matched_ >= 0) return true;
  return Scan(/*at_end=*/true, out);
}

// The first position that is not kNone decides: a match ends the stream, a partial one is where
// holding back starts.
bool StopFilter::Scan(bool at_end, std::string* out) {
  const std::string_view text = pending_;
  size_t at = 0;
  Verdict verdict = Verdict::kNone;
  for (; at < text.size(); ++at) {
    verdict = Judge(text.substr(at), at_end, &matched_);
    if (verdict != Verdict::kNone) break;
  }
  out->append(text.substr(0, at));
  if (verdict == Verdict::kMatch) {
    pending_.clear();
  } else {
    pending_.erase(0, at);
  }
  return verdict == Verdict::kMatch;
}

// How the stop strings stand to a text that starts with `rest`, in listed order.
StopFilter::Verdict StopFilter::Judge(std::string_view rest, bool at_end, int32_t* stop) const {
  for (size_t i = 0; i < stops_.size(); ++i) {
    const size_t common = std::min(stops_[i].size(), rest.size());
    if (rest.compare(0, common, stops_[i], 0, common) != 0) continue;
    if (common == stops_[i].size()) {
      *stop = static_cast<int32_t>(i);
      return Verdict::kMatch;
    }
    if (!at_end) return Verdict::kPartial;
  }
  return Verdict::kNone;
}

}  // namespace rill
