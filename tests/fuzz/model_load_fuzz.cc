// Any bytes as a model file. An input is the beginning of a file, header and directory; what the
// header promises beyond it reads as zeros, so that inputs stay small.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "model/config.h"
#include "model/format/container.h"
#include "model/io/crc32c.h"
#include "model/weights/reader.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/buffer_fs.h"

namespace rill {
namespace {

using fuzz::Require;

constexpr uint64_t kMostBytes = uint64_t{4} << 20;

class ZeroTailReader : public ReadableFile {
 public:
  explicit ZeroTailReader(const std::string& bytes) : bytes_(bytes), size_(bytes.size()) {
    if (bytes.size() < sizeof(FileHeader)) return;
    FileHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    size_ = std::max(size_, std::min(header.file_bytes, kMostBytes));
  }
  uint64_t size() const override { return size_; }
  absl::Status ReadAt(uint64_t offset, void* dst, size_t n) const override {
    if (offset > size_ || n > size_ - offset) return absl::DataLossError("past the end");
    if (n == 0) return absl::OkStatus();
    std::memset(dst, 0, n);
    if (offset < bytes_.size())
      std::memcpy(dst, bytes_.data() + offset, std::min<size_t>(n, bytes_.size() - offset));
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t, uint64_t) const override {
    return absl::UnimplementedError("no mapping");
  }

 private:
  const std::string& bytes_;
  uint64_t size_;
};

class ZeroTailFileSystem : public test::BufferFileSystem {
 public:
  using BufferFileSystem::BufferFileSystem;
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string&) override {
    return std::make_unique<ZeroTailReader>(bytes());
  }
};

}  // namespace
}  // namespace rill

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rill;
  ZeroTailFileSystem fs(std::string(reinterpret_cast<const char*>(data), size));
  const auto file = ModelFile::Open(fs, "/d/model");
  if (!file.ok()) return 0;
  Require(Validate((*file)->config()).ok(), "an accepted config is valid");
  Require(Validate((*file)->recipe()).ok(), "an accepted recipe is valid");
  Require((*file)->table().size() == MakeTensorTable((*file)->config(), (*file)->recipe()).size(),
          "the table is the config's");
  for (const BlobRecord& blob : (*file)->blobs()) {
    const auto bytes = (*file)->Blob(blob.name);
    Require(!bytes.ok() || bytes->size() == blob.bytes, "a blob has its size");
  }
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  using namespace rill;
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 16 == 0 || size < kHeaderBytes) return size;
  FileHeader header;
  std::memcpy(&header, data, sizeof header);
  std::memcpy(header.magic, kModelMagic, sizeof kModelMagic);
  header.header_crc = 0;
  if (header.directory_bytes <= size - kHeaderBytes)
    header.directory_crc = Crc32c(data + kDirectoryOffset, header.directory_bytes);
  std::memcpy(data, &header, sizeof header);
  header.header_crc = Crc32c(data, kHeaderBytes);
  std::memcpy(data, &header, sizeof header);
  return size;
}
