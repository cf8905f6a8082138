#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/crc32c.h"
#include "model/weights/reader.h"
#include "model/weights/zero_run.h"

namespace rill {
namespace {

constexpr size_t kChunk =
    size_t{4} << 20;  // large enough for a disk, small enough to cancel within milliseconds

// One load: counts bytes, asks whether to go on, checks what passes by.
class Loader {
 public:
  Loader(const ModelFile& file, bool verify, const LoadProgress& progress)
      : file_(file), verify_(verify), progress_(progress) {
    for (const TensorSpec& spec : file.table()) total_ += spec.bytes;
  }

  // Calls part(offset, n) over the tensor and then passes the bytes it returns through the
  // checksum.
  template <typename Part>
  absl::Status Tensor(size_t index, Part part) {
    const TensorSpec& spec = file_.table()[index];
    if (verify_) RILL_RETURN_IF_ERROR(CheckGapBefore(index));
    uint32_t crc = 0;
    for (uint64_t offset = 0; offset < spec.bytes;) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(spec.bytes - offset, kChunk));
      RILL_ASSIGN_OR_RETURN(const void* bytes, part(offset, n));
      if (verify_) crc = Crc32c(bytes, n, crc);
      offset += n;
      done_ += n;
      RILL_RETURN_IF_ERROR(Report());
    }
    if (verify_ && crc != file_.crc(index)) {
      return absl::DataLossError(absl::StrCat("tensor ", spec.name, ": checksum of its ",
                                              spec.bytes, " bytes is ", crc, ", expected ",
                                              file_.crc(index)));
    }
    return absl::OkStatus();
  }

  absl::Status Report() const {
    if (progress_ == nullptr || !progress_(done_, total_)) return absl::OkStatus();
    return absl::CancelledError(
        absl::StrCat("loading was cancelled after ", done_, " of ", total_, " bytes"));
  }

 private:
  absl::Status CheckGapBefore(size_t index) const {
    if (index == 0) return absl::OkStatus();  // that one was checked when the file was opened
    const uint64_t begin = file_.offset(index - 1) + file_.table()[index - 1].bytes;
    return CheckZeros(file_.file(), begin, file_.offset(index));
  }

  const ModelFile& file_;
  const bool verify_;
  const LoadProgress& progress_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
};

absl::Status CopyAll(const ModelFile& file, Device& device, Loader& loader,
                     WeightsBuilder& builder) {
  RILL_RETURN_IF_ERROR(builder.Allocate());
  const std::unique_ptr<char[]> staging(device.is_host() ? nullptr : new char[kChunk]);
  for (size_t i = 0; i < file.table().size(); ++i) {
    const TensorSpec& spec = file.table()[i];
    char* place = static_cast<char*>(builder.HostAddress(spec));
    RILL_RETURN_IF_ERROR(
        loader.Tensor(i, [&](uint64_t offset, size_t n) -> absl::StatusOr<const void*> {
          char* target = place != nullptr ? place + offset : staging.get();
          RILL_RETURN_IF_ERROR(file.file().ReadAt(file.offset(i) + offset, target, n));
          if (place == nullptr) RILL_RETURN_IF_ERROR(builder.UploadPart(spec, offset, target, n));
          return target;
        }));
  }
  return absl::OkStatus();
}

absl::Status MapAll(const ModelFile& file, Device& device, Loader& loader,
                    WeightsBuilder& builder) {
  if (!device.is_host()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "weights can be mapped on host devices only, and ", device.info().name, " is none"));
  }
  RILL_ASSIGN_OR_RETURN(std::unique_ptr<MappedRegion> mapping,
                        file.file().Map(0, file.file_bytes()));
  for (size_t i = 0; i < file.table().size(); ++i) {
    const std::byte* bytes = mapping->data() + file.offset(i);
    builder.UseMapped(file.table()[i], bytes);
    RILL_RETURN_IF_ERROR(loader.Tensor(
        i, [&](uint64_t offset, size_t) -> absl::StatusOr<const void*> { return bytes + offset; }));
  }
  builder.KeepMapping(std::move(mapping));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Weights>> LoadWeights(const ModelFile& file, Device& device,
                                                           LoadMode mode, bool verify,
                                                           const LoadProgress& progress) {
  Loader loader(file, verify, progress);
  WeightsBuilder builder(device, file.table());
  RILL_RETURN_IF_ERROR(loader.Report());
  RILL_RETURN_IF_ERROR(mode == LoadMode::kMap ? MapAll(file, device, loader, builder)
                                              : CopyAll(file, device, loader, builder));
  return builder.Build();
}

}  // namespace rill
