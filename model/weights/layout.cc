#include "model/weights/layout.h"

#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/format/container.h"

namespace rill {
namespace {

absl::Status Within(absl::string_view what, absl::string_view name, uint64_t bytes,
                    uint64_t limit) {
  if (bytes > 0 && bytes <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, name, ": ", bytes, " bytes, expected 1 to ", limit));
}

// The next record starts at the first aligned offset at or after `end`. Every size is limited to
// 2^40 bytes and there are at most 2^17 records, so the sum stays below 2^58.
uint64_t Place(uint64_t& end, uint64_t bytes, uint64_t alignment) {
  const uint64_t offset = AlignUp(end, alignment);
  end = offset + bytes;
  return offset;
}

}  // namespace

absl::StatusOr<FileLayout> MakeFileLayout(uint64_t directory_bytes,
                                          const std::vector<TensorSpec>& table,
                                          const std::vector<uint64_t>& blob_bytes) {
  RILL_RETURN_IF_ERROR(Within("directory", "", directory_bytes, kMaxDirectoryBytes));
  RILL_RETURN_IF_ERROR(Within("number of tensors", "", table.size(), kMaxTensors));
  if (blob_bytes.size() > kMaxBlobs) {
    return absl::InvalidArgumentError(
        absl::StrCat(blob_bytes.size(), " blobs, expected at most ", kMaxBlobs));
  }
  FileLayout layout;
  layout.data_begin = AlignUp(kDirectoryOffset + directory_bytes, kDataAlignment);
  uint64_t end = layout.data_begin;
  layout.tensor.reserve(table.size());
  for (const TensorSpec& spec : table) {
    RILL_RETURN_IF_ERROR(Within("tensor ", spec.name, spec.bytes, kMaxTensorBytes));
    layout.tensor.push_back(Place(end, spec.bytes, spec.alignment));
  }
  for (size_t i = 0; i < blob_bytes.size(); ++i) {
    RILL_RETURN_IF_ERROR(Within("blob ", absl::StrCat(i), blob_bytes[i], kMaxBlobBytes));
    layout.blob.push_back(Place(end, blob_bytes[i], kBlobAlignment));
  }
  layout.file_bytes = end;
  RILL_RETURN_IF_ERROR(Within("file", "", end, kMaxFileBytes));
  return layout;
}

}  // namespace rill
