#include "model/weights/reader.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/format/container.h"
#include "model/io/absl_view.h"
#include "model/io/crc32c.h"
#include "model/weights/fingerprint.h"
#include "model/weights/validate.h"
#include "model/weights/zero_run.h"

namespace rill {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensor bytes and the header are little-endian");

constexpr size_t kBlobChunk = size_t{1} << 16;
constexpr std::string_view kTokenizerPrefix = "tokenizer";

absl::Status Damaged(const std::string& what, uint64_t found, uint64_t expected) {
  return absl::DataLossError(absl::StrCat(what, " is ", found, ", expected ", expected));
}

// The magic and the version come before every check that another version might define differently.
absl::Status CheckKind(const FileHeader& header) {
  if (std::memcmp(header.magic, kModelMagic, sizeof kModelMagic) != 0) {
    return absl::InvalidArgumentError(
        "not a Rill model file: it does not begin with the magic bytes");
  }
  if (header.major == kModelMajor && header.minor <= kModelMinor) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("model file version ", header.major, ".", header.minor, ", this build reads ",
                   kModelMajor, ".0 to ", kModelMajor, ".", kModelMinor));
}

absl::StatusOr<FileHeader> ReadHeader(const ReadableFile& file) {
  unsigned char bytes[kHeaderBytes] = {};
  const uint64_t available = std::min<uint64_t>(file.size(), kHeaderBytes);
  RILL_RETURN_IF_ERROR(file.ReadAt(0, bytes, static_cast<size_t>(available)));
  FileHeader header;
  std::memcpy(&header, bytes, sizeof header);
  RILL_RETURN_IF_ERROR(CheckKind(header));
  if (available < kHeaderBytes) return Damaged("size of the file", file.size(), kHeaderBytes);
  std::memset(bytes + offsetof(FileHeader, header_crc), 0, sizeof header.header_crc);
  const uint32_t crc = Crc32c(bytes, sizeof bytes);
  if (crc != header.header_crc) return Damaged("checksum of the header", crc, header.header_crc);
  const bool rest_is_zero = std::all_of(bytes + sizeof header, bytes + sizeof bytes,
                                        [](unsigned char byte) { return byte == 0; });
  if (header.reserved != 0 || !rest_is_zero)
    return absl::DataLossError("the unused part of the header is not zero");
  if (header.file_bytes != file.size())
    return Damaged("size of the file", file.size(), header.file_bytes);
  const uint64_t limit = std::min(kMaxDirectoryBytes, file.size() - kHeaderBytes);
  if (header.directory_bytes == 0 || header.directory_bytes > limit) {
    return Damaged("size of the directory", header.directory_bytes, limit);
  }
  return header;
}

// Copied once into memory that operator new aligns to 16 bytes, so that the file cannot change
// between check and use.
absl::StatusOr<std::string> ReadDirectory(const ReadableFile& file, const FileHeader& header) {
  std::string bytes(static_cast<size_t>(header.directory_bytes), '\0');
  RILL_RETURN_IF_ERROR(file.ReadAt(kDirectoryOffset, bytes.data(), bytes.size()));
  const uint32_t crc = Crc32c(bytes.data(), bytes.size());
  if (crc != header.directory_crc)
    return Damaged("checksum of the directory", crc, header.directory_crc);
  return bytes;
}

absl::Status CheckDirectoryPadding(const ReadableFile& file, const FileHeader& header) {
  const uint64_t end = kDirectoryOffset + header.directory_bytes;
  return CheckZeros(file, end, std::min(AlignUp(end, kDataAlignment), file.size()));
}

absl::Status CheckBlobPadding(const ReadableFile& file, const Directory& d) {
  uint64_t end = d.offsets.back() + d.table.back().bytes;
  for (const BlobRecord& blob : d.blobs) {
    RILL_RETURN_IF_ERROR(CheckZeros(file, end, blob.offset));
    end = blob.offset + blob.bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<Sha256Digest> TokenizerFingerprint(const ReadableFile& file,
                                                  const std::vector<BlobRecord>& blobs) {
  CanonicalHash hash;
  hash.Text("rill tokenizer 1");
  std::vector<char> chunk(kBlobChunk);
  for (const BlobRecord& blob : blobs) {
    if (blob.name.compare(0, kTokenizerPrefix.size(), kTokenizerPrefix) != 0) continue;
    hash.Text(blob.name);
    hash.Integer(static_cast<int64_t>(blob.bytes));
    uint32_t crc = 0;
    for (uint64_t done = 0; done < blob.bytes;) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(blob.bytes - done, chunk.size()));
      RILL_RETURN_IF_ERROR(file.ReadAt(blob.offset + done, chunk.data(), n));
      hash.Bytes(chunk.data(), n);
      crc = Crc32c(chunk.data(), n, crc);
      done += n;
    }
    if (crc != blob.crc)
      return Damaged(absl::StrCat("checksum of blob ", blob.name), crc, blob.crc);
  }
  return hash.Finish();
}

}  // namespace

struct ModelFileParser {
  static absl::Status Parse(ModelFile& model) {
    const ReadableFile& file = *model.file_;
    RILL_ASSIGN_OR_RETURN(const FileHeader header, ReadHeader(file));
    Directory d;
    {
      RILL_ASSIGN_OR_RETURN(const std::string bytes, ReadDirectory(file, header));
      RILL_RETURN_IF_ERROR(CheckDirectoryPadding(file, header));
      RILL_ASSIGN_OR_RETURN(d, DecodeDirectory(bytes, file.size()));
    }
    RILL_RETURN_IF_ERROR(CheckBlobPadding(file, d));
    RILL_ASSIGN_OR_RETURN(const Sha256Digest tokenizer, TokenizerFingerprint(file, d.blobs));
    Keep(ArchitectureFingerprint(d.config), model.fingerprint_.architecture);
    Keep(tokenizer, model.fingerprint_.tokenizer);
    Keep(WeightsFingerprint(d.table, d.crcs), model.fingerprint_.weights);
    model.config_ = std::move(d.config);
    model.recipe_ = std::move(d.recipe);
    model.table_ = std::move(d.table);
    model.offsets_ = std::move(d.offsets);
    model.crcs_ = std::move(d.crcs);
    model.blobs_ = std::move(d.blobs);
    model.file_bytes_ = file.size();
    return absl::OkStatus();
  }

  static void Keep(const Sha256Digest& digest, uint8_t (&out)[32]) {
    std::copy(digest.begin(), digest.end(), out);
  }
};

absl::StatusOr<std::unique_ptr<const ModelFile>> ModelFile::Open(FileSystem& fs,
                                                                 const std::string& path) {
  std::unique_ptr<ModelFile> model(new ModelFile);
  RILL_ASSIGN_OR_RETURN(model->file_, fs.OpenForReading(path));
  const absl::Status status = ModelFileParser::Parse(*model);
  if (!status.ok()) return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  return std::unique_ptr<const ModelFile>(std::move(model));
}

absl::StatusOr<std::string> ModelFile::Blob(std::string_view name) const {
  const auto blob = std::find_if(blobs_.begin(), blobs_.end(),
                                 [&](const BlobRecord& b) { return b.name == name; });
  if (blob == blobs_.end())
    return absl::NotFoundError(absl::StrCat("the model file has no blob ", AbslView(name)));
  std::string bytes(static_cast<size_t>(blob->bytes), '\0');
  RILL_RETURN_IF_ERROR(file_->ReadAt(blob->offset, bytes.data(), bytes.size()));
  const uint32_t crc = Crc32c(bytes.data(), bytes.size());
  if (crc != blob->crc)
    return Damaged(absl::StrCat("checksum of blob ", blob->name), crc, blob->crc);
  return bytes;
}

}  // namespace rill
