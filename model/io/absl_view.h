// model/io/absl_view.h — std::string_view where Abseil wants its own: distributions build Abseil as
// C++14, where absl::string_view is a class apart and StrCat does not know the standard one.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace rill {

inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace rill
