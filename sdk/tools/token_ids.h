// sdk/tools/token_ids.h — token ids as text: decimal numbers between white space.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rill::tools {

// InvalidArgument quotes the first word that is no id of a vocabulary of `vocab_size` and counts
// where it stands, or says that there is none at all.
absl::StatusOr<std::vector<int32_t>> ParseTokenIds(const std::string& text, int64_t vocab_size);

}  // namespace rill::tools
