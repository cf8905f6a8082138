// model/tokenizer/bounded_json.h — JSON from outside, parsed without exceptions and within limits.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace rill {

// Depth bounds what recursion over a value may cost; keys bound the linear look-up of an ordered
// object.
inline constexpr int kMaxJsonDepth = 64;
inline constexpr int kMaxJsonKeys = 1024;  // of one object

// Objects keep the order of their keys. InvalidArgument starts with `what` and says which rule was
// broken: JSON syntax (which includes UTF-8 in strings), depth or keys.
absl::StatusOr<nlohmann::ordered_json> ParseBoundedJson(std::string_view text,
                                                        std::string_view what);

}  // namespace rill
