// c_api/structs.h — structs that carry their size, in and out, and buffers that are asked for
// theirs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "c_api/status.h"

namespace rill::capi {

// What the caller set, over zeros; NULL is all zeros. RILL_E_ARG: no size, or one smaller than
// `first_size`, the struct of the first release. RILL_E_UNSUPPORTED: a field this library does not
// know is not zero.
template <typename T>
rill_status ReadParams(const char* name, const T* in, size_t first_size, T* out) {
  *out = T{};
  if (in == nullptr) return RILL_OK;
  const size_t size = in->struct_size;
  if (size < first_size) {
    return Fail(RILL_E_ARG, absl::StrCat(name, ": struct_size ", size, ", need at least ",
                                         first_size, " (use RILL_INIT)"));
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(in);
  for (size_t i = sizeof(T); i < size; ++i) {
    if (bytes[i] == 0) continue;
    return Fail(RILL_E_UNSUPPORTED, absl::StrCat(name, ": byte ", i, " is set; this library knows ",
                                                 sizeof(T), " bytes of it"));
  }
  std::memcpy(out, in, std::min(size, sizeof(T)));
  return RILL_OK;
}

// An output struct: zero from the start, filled in by Write.
template <typename T>
class OutStruct {
 public:
  OutStruct(const char* name, T* out, size_t first_size) {
    if (out == nullptr) {
      status_ = Fail(RILL_E_ARG, absl::StrCat(name, " is NULL"));
      return;
    }
    if (out->struct_size < first_size) {
      status_ = Fail(RILL_E_ARG, absl::StrCat(name, ": struct_size ", out->struct_size,
                                              ", need at least ", first_size, " (use RILL_INIT)"));
      return;
    }
    out_ = out;
    size_ = out->struct_size;
    std::memset(reinterpret_cast<unsigned char*>(out) + sizeof(uint32_t), 0,
                std::min<size_t>(size_, sizeof(T)) - sizeof(uint32_t));
  }
  rill_status status() const { return status_; }
  rill_status Write(const T& value) {
    std::memcpy(out_, &value, std::min<size_t>(size_, sizeof(T)));
    out_->struct_size = size_;
    return RILL_OK;
  }

 private:
  rill_status status_ = RILL_OK;
  T* out_ = nullptr;
  uint32_t size_ = 0;
};

// Leaves the function with a code that is not RILL_OK.
#define RILL_C_TRY(expr)                                                      \
  do {                                                                        \
    if (const rill_status rill_c_status_ = (expr); rill_c_status_ != RILL_OK) \
      return rill_c_status_;                                                  \
  } while (0)

inline rill_status NeedOut(const char* name, const void* out) {
  return out != nullptr ? RILL_OK : Fail(RILL_E_ARG, absl::StrCat(name, " is NULL"));
}

// No object is larger than half the address space: a larger length is a negative number in
// disguise.
inline rill_status CheckSpan(const char* name, const void* data, size_t n, size_t element_size) {
  if (data == nullptr && n > 0) return Fail(RILL_E_ARG, absl::StrCat(name, " is NULL, length ", n));
  if (n > PTRDIFF_MAX / element_size) {
    return Fail(RILL_E_ARG, absl::StrCat(name, ": length ", n, " cannot be"));
  }
  return RILL_OK;
}

// A string argument: its view, "" for NULL.
inline rill_status CheckText(const char* name, const char* data, size_t len,
                             std::string_view* out) {
  RILL_C_TRY(CheckSpan(name, data, len, 1));
  *out = len == 0 ? std::string_view() : std::string_view(data, len);
  return RILL_OK;
}

inline rill_status CheckFlags(uint32_t flags, uint32_t known) {
  if ((flags & ~known) == 0) return RILL_OK;
  return Fail(RILL_E_ARG, absl::StrCat("flags ", flags, ": only ", known, " is known"));
}

// Convention 4 of rill.h.
template <typename T>
rill_status FillBuffer(const T* values, size_t n, T* buf, size_t cap, size_t* count) {
  *count = n;
  if (cap == 0 || n == 0) return RILL_OK;
  if (cap < n) return Fail(RILL_E_ARG, absl::StrCat("buffer of ", cap, ", the answer has ", n));
  std::copy_n(values, n, buf);
  return RILL_OK;
}

}  // namespace rill::capi
