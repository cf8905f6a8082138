#include "sdk/session_file/image.h"

#include <new>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"

namespace rill::session_file {
namespace {

constexpr std::align_val_t kAlignment{16384};  // as a mapping has it

}  // namespace

FileImage::~FileImage() { ::operator delete[](copy_, kAlignment); }

absl::StatusOr<std::shared_ptr<const FileImage>> FileImage::Open(const ReadableFile& file,
                                                                 uint64_t bytes,
                                                                 uint64_t max_copy_bytes) {
  std::shared_ptr<FileImage> image(new FileImage);
  image->size_ = bytes;
  auto region = file.Map(0, bytes);
  if (region.ok()) {
    image->region_ = *std::move(region);
    image->data_ = image->region_->data();
    return image;
  }
  if (!absl::IsUnimplemented(region.status())) return region.status();
  if (bytes > max_copy_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("the file cannot be mapped here and has ",
                                                     bytes, " bytes, at most ", max_copy_bytes));
  }
  image->copy_ = static_cast<std::byte*>(
      ::operator new[](static_cast<size_t>(bytes), kAlignment, std::nothrow));
  if (image->copy_ == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the ", bytes, " bytes of the file"));
  }
  image->data_ = image->copy_;
  RILL_RETURN_IF_ERROR(file.ReadAt(0, image->copy_, static_cast<size_t>(bytes)));
  return image;
}

}  // namespace rill::session_file
