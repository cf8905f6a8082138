#include "c_api/callback_file.h"

#include "absl/strings/str_cat.h"

namespace rill::capi {
namespace {

class CallbackFile final : public ReadableFile {
 public:
  CallbackFile(uint64_t size, rill_read_fn read, void* ud) : size_(size), read_(read), ud_(ud) {}

  uint64_t size() const override { return size_; }
  absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const override {
    if (offset > size_ || bytes > size_ - offset) {
      return absl::DataLossError(
          absl::StrCat("read of ", bytes, " bytes at ", offset, ", there are ", size_));
    }
    if (bytes == 0) return absl::OkStatus();
    const int32_t answer = read_(ud_, offset, dst, bytes);
    if (answer == 0) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("the read callback answered ", answer, " for ", bytes, " bytes at ", offset));
  }
  absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t, uint64_t) const override {
    return absl::UnimplementedError("a callback cannot be mapped");
  }

 private:
  uint64_t size_;
  rill_read_fn read_;
  void* ud_;
};

absl::Status ReadOnly() { return absl::UnimplementedError("a read callback cannot be written to"); }

}  // namespace

absl::StatusOr<std::unique_ptr<ReadableFile>> CallbackFiles::OpenForReading(const std::string&) {
  return std::unique_ptr<ReadableFile>(std::make_unique<CallbackFile>(size_, read_, ud_));
}
absl::StatusOr<std::unique_ptr<WritableFile>> CallbackFiles::CreateNew(const std::string&) {
  return ReadOnly();
}
absl::StatusOr<std::unique_ptr<WritableFile>> CallbackFiles::OpenForUpdate(const std::string&) {
  return ReadOnly();
}
absl::Status CallbackFiles::Rename(const std::string&, const std::string&) { return ReadOnly(); }
absl::Status CallbackFiles::Remove(const std::string&) { return ReadOnly(); }
absl::Status CallbackFiles::SyncDirectory(const std::string&) { return ReadOnly(); }
absl::StatusOr<std::vector<std::string>> CallbackFiles::List(const std::string&) {
  return ReadOnly();
}

}  // namespace rill::capi
