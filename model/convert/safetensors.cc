#include "model/convert/safetensors.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/convert/strict_json.h"

namespace rill {
namespace {

constexpr uint64_t kLengthBytes = 8;

struct ElementType {
  absl::string_view name;
  uint64_t bytes;
};
constexpr ElementType kElementTypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
    {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
    {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8},
};

// Follows { name: { "dtype", "shape", "data_offsets" } } and refuses every other form.
class HeaderReader : public StrictJson {
 public:
  std::vector<SafetensorsEntry> tensors;

  bool start_object(size_t) override {
    if (place_ == Place::kStart) return Go(Place::kTop);
    if (place_ == Place::kTensorValue) return Go(Place::kTensor);
    if (place_ == Place::kMetadataValue) return Go(Place::kMetadata);
    return Unexpected("an object");
  }

  bool end_object() override {
    switch (place_) {
      case Place::kTensor:
        return EndTensor();
      case Place::kMetadata:
        return Go(Place::kTop);
      case Place::kTop:
        return Go(Place::kEnd);
      default:
        return Unexpected("the end of an object");
    }
  }

  bool key(std::string& name) override {
    switch (place_) {
      case Place::kTop:
        return name == "__metadata__" ? BeginMetadata() : BeginTensor(name);
      case Place::kTensor:
        return BeginField(name);
      case Place::kMetadata:
        return true;
      default:
        return Unexpected("a key");
    }
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kDtype)
      return Unexpected(absl::StrCat("the string \"", Printable(value), "\""));
    if (SafetensorsElementBytes(value) == 0) {
      return Fail(absl::StrCat(Where(), ": unknown type ", Printable(value)));
    }
    tensors.back().dtype = value;
    return Go(Place::kTensor);
  }

  bool start_array(size_t) override {
    if (place_ == Place::kShape) return Go(Place::kShapeItems);
    if (place_ == Place::kOffsets) return Go(Place::kOffsetItems);
    return Unexpected("an array");
  }

  bool end_array() override {
    if (place_ == Place::kOffsetItems && offsets_.size() != 2) {
      return Fail(absl::StrCat(Where(), ": ", offsets_.size(), " data_offsets, not 2"));
    }
    return Go(Place::kTensor);
  }

  bool number_unsigned(uint64_t value) override {
    if (place_ == Place::kShapeItems) {
      if (tensors.back().shape.size() == kMaxSafetensorsRank) {
        return Fail(absl::StrCat(Where(), ": more than ", kMaxSafetensorsRank, " dimensions"));
      }
      tensors.back().shape.push_back(value);
      return true;
    }
    if (place_ != Place::kOffsetItems || offsets_.size() == 2) {
      return Unexpected(absl::StrCat("the number ", value));
    }
    offsets_.push_back(value);
    return true;
  }

 protected:
  std::string Where() const override {
    const bool in_tensor = place_ >= Place::kTensorValue && !tensors.empty();
    return in_tensor ? absl::StrCat("tensor ", Printable(tensors.back().name)) : "header";
  }

 private:
  enum class Place {
    kStart,
    kEnd,
    kTop,
    kMetadataValue,
    kMetadata,
    kTensorValue,
    kTensor,
    kDtype,
    kShape,
    kShapeItems,
    kOffsets,
    kOffsetItems  // inside the last tensor
  };

  bool Go(Place place) {
    place_ = place;
    return true;
  }

  bool BeginMetadata() {
    if (std::exchange(has_metadata_, true)) return Fail("header: two __metadata__ entries");
    return Go(Place::kMetadataValue);
  }

  bool BeginTensor(const std::string& name) {
    if (name.empty()) return Fail("header: a tensor without a name");
    if (name.size() > kMaxSafetensorsName) {
      return Fail(absl::StrCat("tensor ", Printable(name), ": a name of ", name.size(),
                               " bytes, at most ", kMaxSafetensorsName, " are allowed"));
    }
    if (tensors.size() == kMaxSafetensorsTensors) {
      return Fail(absl::StrCat("header: more than ", kMaxSafetensorsTensors, " tensors"));
    }
    if (!names_.insert(name).second)
      return Fail(absl::StrCat("tensor ", Printable(name), " appears twice"));
    tensors.emplace_back().name = name;
    offsets_.clear();
    seen_dtype_ = seen_shape_ = seen_offsets_ = false;
    return Go(Place::kTensorValue);
  }

  bool BeginField(const std::string& field) {
    if (field == "dtype") return Once(seen_dtype_, field, Place::kDtype);
    if (field == "shape") return Once(seen_shape_, field, Place::kShape);
    if (field == "data_offsets") return Once(seen_offsets_, field, Place::kOffsets);
    return Unexpected(absl::StrCat("the key \"", Printable(field), "\""));
  }

  bool Once(bool& seen, const std::string& field, Place place) {
    if (std::exchange(seen, true)) return Fail(absl::StrCat(Where(), ": two ", field, " entries"));
    return Go(place);
  }

  bool EndTensor() {
    const char* missing = !seen_dtype_     ? "dtype"
                          : !seen_shape_   ? "shape"
                          : !seen_offsets_ ? "data_offsets"
                                           : nullptr;
    if (missing != nullptr) return Fail(absl::StrCat(Where(), ": no ", missing));
    tensors.back().begin = offsets_[0];
    tensors.back().end = offsets_[1];
    return Go(Place::kTop);
  }

  Place place_ = Place::kStart;
  bool has_metadata_ = false;
  bool seen_dtype_ = false, seen_shape_ = false, seen_offsets_ = false;
  std::vector<uint64_t> offsets_;
  absl::flat_hash_set<std::string> names_;
};

absl::Status CheckBytes(const SafetensorsEntry& t, uint64_t data_bytes) {
  if (t.begin > t.end) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", Printable(t.name), ": starts at byte ", t.begin, " and ends at ", t.end));
  }
  if (t.end > data_bytes) {
    return absl::DataLossError(absl::StrCat("tensor ", Printable(t.name), ": ends at byte ", t.end,
                                            " of the data, the file has ", data_bytes,
                                            ": it is cut short"));
  }
  std::optional<uint64_t> bytes = SafetensorsElementBytes(t.dtype);
  for (const uint64_t n : t.shape) bytes = bytes ? CheckedMul(*bytes, n) : bytes;
  if (!bytes || *bytes != t.end - t.begin) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", Printable(t.name), ": ", t.dtype, " of shape ", ShapeString(t.shape), " has ",
        bytes ? absl::StrCat(*bytes, " bytes") : "more than 2^64 bytes", ", its offsets hold ",
        t.end - t.begin));
  }
  return absl::OkStatus();
}

// Sorts by offset and demands that each tensor starts where the one before it ends, and the last
// with the file.
absl::Status CheckTiling(std::vector<SafetensorsEntry>& tensors, uint64_t data_bytes) {
  for (const SafetensorsEntry& t : tensors) RILL_RETURN_IF_ERROR(CheckBytes(t, data_bytes));
  std::sort(tensors.begin(), tensors.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
            });
  uint64_t cursor = 0;
  for (const SafetensorsEntry& t : tensors) {
    if (t.begin != cursor) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Printable(t.name), ": starts at byte ", t.begin,
                       " of the data, the one before it ends at ", cursor));
    }
    cursor = t.end;
  }
  if (cursor != data_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the tensors end at byte ", cursor,
                                                   " of the data, the file has ", data_bytes));
  }
  return absl::OkStatus();
}

// Bytes of the JSON, checked against the limit and the file.
absl::StatusOr<uint64_t> HeaderLength(absl::Span<const char> bytes, uint64_t file_bytes) {
  if (bytes.size() < kLengthBytes || file_bytes < kLengthBytes) {
    return absl::DataLossError(
        absl::StrCat("a file of ", file_bytes, " bytes is too short for safetensors"));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  if (length > kMaxSafetensorsHeader) {
    return absl::InvalidArgumentError(absl::StrCat("header of ", length, " bytes, at most ",
                                                   kMaxSafetensorsHeader,
                                                   " are allowed: not a safetensors file?"));
  }
  if (length > file_bytes - kLengthBytes) {
    return absl::DataLossError(absl::StrCat("header of ", length, " bytes in a file of ",
                                            file_bytes, ": it is cut short"));
  }
  return length;
}

}  // namespace

uint64_t SafetensorsElementBytes(absl::string_view dtype) {
  for (const ElementType& type : kElementTypes) {
    if (type.name == dtype) return type.bytes;
  }
  return 0;
}

std::string ShapeString(absl::Span<const uint64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::Span<const char> bytes,
                                                         uint64_t file_bytes) {
  RILL_ASSIGN_OR_RETURN(const uint64_t length, HeaderLength(bytes, file_bytes));
  if (bytes.size() - kLengthBytes < length) {
    return absl::DataLossError(
        absl::StrCat("header of ", length, " bytes, ", bytes.size() - kLengthBytes, " given"));
  }
  const absl::string_view json(bytes.data() + kLengthBytes, length);
  if (json.empty() || json.front() != '{') {
    return absl::InvalidArgumentError(
        "the header does not start with '{': not a safetensors file?");
  }
  HeaderReader reader;
  RILL_RETURN_IF_ERROR(reader.Read(json));
  SafetensorsHeader header;
  header.data_offset = kLengthBytes + length;
  header.tensors = std::move(reader.tensors);
  RILL_RETURN_IF_ERROR(CheckTiling(header.tensors, file_bytes - header.data_offset));
  for (SafetensorsEntry& t : header.tensors) {
    t.begin += header.data_offset;
    t.end += header.data_offset;
  }
  return header;
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const ReadableFile& file) {
  std::vector<char> bytes(std::min(file.size(), kLengthBytes));
  RILL_RETURN_IF_ERROR(file.ReadAt(0, bytes.data(), bytes.size()));
  RILL_ASSIGN_OR_RETURN(const uint64_t length, HeaderLength(bytes, file.size()));
  bytes.resize(kLengthBytes + length);
  RILL_RETURN_IF_ERROR(file.ReadAt(0, bytes.data(), bytes.size()));
  return ParseSafetensorsHeader(bytes, file.size());
}

}  // namespace rill
