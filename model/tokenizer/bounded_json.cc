#include "model/tokenizer/bounded_json.h"

#include <string>

#include "absl/status/status.h"
#include "kernels/base/status.h"

namespace rill {
namespace {

using Json = nlohmann::ordered_json;

// Watches a parse; once a limit is broken it keeps nothing more, so that the rest costs only the
// scan.
class Limits {
 public:
  bool Keep(int depth, Json::parse_event_t event) {
    if (!broken_.empty()) return false;
    if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start) {
      if (depth >= kMaxJsonDepth) broken_ = absl::StrCat("nested deeper than ", kMaxJsonDepth);
      keys_[depth + 1] = 0;
    } else if (event == Json::parse_event_t::key && ++keys_[depth] > kMaxJsonKeys) {
      broken_ = absl::StrCat("an object with more keys than ", kMaxJsonKeys);
    }
    return broken_.empty();
  }
  const std::string& broken() const { return broken_; }

 private:
  std::string broken_;
  int keys_[kMaxJsonDepth + 2] = {};  // [depth] keys so far of the object that is open there
};

}  // namespace

absl::StatusOr<Json> ParseBoundedJson(std::string_view text, std::string_view what) {
  Limits limits;
  Json value = Json::parse(
      text.begin(), text.end(),
      [&](int depth, Json::parse_event_t event, Json&) { return limits.Keep(depth, event); },
      /*allow_exceptions=*/false);
  const std::string name(what);
  if (!limits.broken().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", limits.broken()));
  }
  if (value.is_discarded()) return absl::InvalidArgumentError(name + ": not valid JSON");
  return value;
}

}  // namespace rill
