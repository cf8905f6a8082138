#include "sdk/session_extras.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace rill {
namespace {

struct Fixed {
  uint32_t version, reserved;
  int64_t max_tokens, prefill_chunk, rewind_window, ladder_slots;
};
static_assert(sizeof(Fixed) == 40);
constexpr uint32_t kVersion = 1;

}  // namespace

std::string EncodeExtras(const SavedShape& shape, std::string_view generation) {
  const Fixed fixed{kVersion, 0, shape.max_tokens, shape.prefill_chunk, shape.rewind_window, shape.ladder_slots};
  std::string bytes(reinterpret_cast<const char*>(&fixed), sizeof fixed);
  bytes.append(generation);
  return bytes;
}

absl::StatusOr<SessionExtras> DecodeExtras(std::string_view bytes) {
  Fixed fixed;
  if (bytes.size() < sizeof fixed) {
    return absl::DataLossError(absl::StrCat("session extras: ", bytes.size(), " bytes, at least ", sizeof fixed));
  }
  std::memcpy(&fixed, bytes.data(), sizeof fixed);
  if (fixed.version != kVersion || fixed.reserved != 0) {
    return absl::DataLossError(absl::StrCat("session extras: version ", fixed.version, ", expected ", kVersion));
  }
  return SessionExtras{{fixed.max_tokens, fixed.prefill_chunk, fixed.rewind_window, fixed.ladder_slots},
                       std::string(bytes.substr(sizeof fixed))};
}

}  // namespace rill
