#include "model/weights/writer.h"

#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/format/container.h"
#include "model/io/crc32c.h"
#include "model/weights/directory.h"

namespace rill {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensor bytes and the header are little-endian");

absl::Status CheckBlobs(const std::vector<BlobSpec>& blobs) {
  absl::flat_hash_set<std::string> names;
  for (const BlobSpec& blob : blobs) {
    if (blob.name.empty() || blob.name.size() > kMaxNameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("blob name of ", blob.name.size(), " bytes, expected 1 to ", kMaxNameBytes));
    }
    if (!names.insert(blob.name).second)
      return absl::InvalidArgumentError(absl::StrCat("two blobs named ", blob.name));
  }
  return absl::OkStatus();
}

struct Draft {
  Directory directory;
  FileLayout layout;
  uint64_t directory_bytes = 0;
};

// The whole directory but for the tensors' checksums.
absl::StatusOr<Draft> MakeDraft(const ModelConfig& config, const Recipe& recipe,
                                const std::vector<BlobSpec>& blobs) {
  RILL_RETURN_IF_ERROR(Validate(config));
  RILL_RETURN_IF_ERROR(Validate(recipe));
  RILL_RETURN_IF_ERROR(CheckBlobs(blobs));
  Draft draft;
  Directory& d = draft.directory;
  d.config = config;
  d.recipe = recipe;
  d.table = MakeTensorTable(config, recipe);
  d.offsets.resize(d.table.size());
  d.crcs.resize(d.table.size());
  std::vector<uint64_t> blob_bytes;
  for (const BlobSpec& blob : blobs) {
    d.blobs.push_back(
        {blob.name, 0, blob.bytes.size(), Crc32c(blob.bytes.data(), blob.bytes.size())});
    blob_bytes.push_back(blob.bytes.size());
  }
  draft.directory_bytes = EncodeDirectory(d).size();
  RILL_ASSIGN_OR_RETURN(draft.layout, MakeFileLayout(draft.directory_bytes, d.table, blob_bytes));
  d.offsets = draft.layout.tensor;
  for (size_t i = 0; i < blobs.size(); ++i) d.blobs[i].offset = draft.layout.blob[i];
  return draft;
}

std::string EncodeHeader(const std::string& directory, uint64_t file_bytes) {
  FileHeader header{};
  std::memcpy(header.magic, kModelMagic, sizeof kModelMagic);
  header.major = kModelMajor;
  header.minor = kModelMinor;
  header.file_bytes = file_bytes;
  header.directory_bytes = directory.size();
  header.directory_crc = Crc32c(directory.data(), directory.size());
  std::string bytes(kHeaderBytes, '\0');
  std::memcpy(bytes.data(), &header, sizeof header);
  header.header_crc = Crc32c(bytes.data(), bytes.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

}  // namespace

struct ModelWriter::Impl {
  Draft draft;
  std::vector<BlobSpec> blobs;
  std::vector<uint64_t> written;  // bytes of each tensor so far
  std::unique_ptr<AtomicFile> file;

  absl::Status CheckWhole() const;
  absl::Status WriteMetadata();
};

ModelWriter::ModelWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ModelWriter::~ModelWriter() = default;

absl::StatusOr<std::unique_ptr<ModelWriter>> ModelWriter::Create(FileSystem& fs,
                                                                 const std::string& path,
                                                                 const ModelConfig& config,
                                                                 const Recipe& recipe,
                                                                 std::vector<BlobSpec> blobs) {
  auto impl = std::make_unique<Impl>();
  RILL_ASSIGN_OR_RETURN(impl->draft, MakeDraft(config, recipe, blobs));
  impl->blobs = std::move(blobs);
  impl->written.resize(impl->draft.directory.table.size());
  RILL_ASSIGN_OR_RETURN(impl->file, AtomicFile::Create(fs, path));
  return std::unique_ptr<ModelWriter>(new ModelWriter(std::move(impl)));
}

const std::vector<TensorSpec>& ModelWriter::table() const { return impl_->draft.directory.table; }
uint64_t ModelWriter::file_bytes() const { return impl_->draft.layout.file_bytes; }

absl::Status ModelWriter::Write(size_t index, uint64_t offset, const void* bytes, size_t n) {
  if (impl_->file == nullptr)
    return absl::FailedPreconditionError("the model file is finished or failed");
  if (index >= table().size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", index, " of a table of ", table().size()));
  }
  const TensorSpec& spec = table()[index];
  uint64_t& written = impl_->written[index];
  if (offset != written || n > spec.bytes - written) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", spec.name, ": part at ", offset,
                                                   " of ", n, " bytes, expected one at ", written,
                                                   " that ends by ", spec.bytes));
  }
  RILL_RETURN_IF_ERROR(impl_->file->WriteAt(impl_->draft.layout.tensor[index] + offset, bytes, n));
  uint32_t& crc = impl_->draft.directory.crcs[index];
  crc = Crc32c(bytes, n, crc);
  written += n;
  return absl::OkStatus();
}

absl::Status ModelWriter::Impl::CheckWhole() const {
  for (size_t i = 0; i < written.size(); ++i) {
    const TensorSpec& spec = draft.directory.table[i];
    if (written[i] == spec.bytes) continue;
    return absl::FailedPreconditionError(absl::StrCat("tensor ", spec.name, ": ", written[i],
                                                      " of ", spec.bytes, " bytes were written"));
  }
  return absl::OkStatus();
}

// The gaps between records are never written: a file reads as zeros there.
absl::Status ModelWriter::Impl::WriteMetadata() {
  for (size_t i = 0; i < blobs.size(); ++i) {
    RILL_RETURN_IF_ERROR(
        file->WriteAt(draft.layout.blob[i], blobs[i].bytes.data(), blobs[i].bytes.size()));
  }
  const std::string directory = EncodeDirectory(draft.directory);
  RILL_RETURN_IF_ERROR(file->WriteAt(kDirectoryOffset, directory.data(), directory.size()));
  const std::string header = EncodeHeader(directory, draft.layout.file_bytes);
  return file->WriteAt(0, header.data(), header.size());
}

absl::Status ModelWriter::Finish() {
  if (impl_->file == nullptr)
    return absl::FailedPreconditionError("the model file is finished or failed");
  absl::Status status = impl_->CheckWhole();
  if (status.ok()) status = impl_->WriteMetadata();
  if (status.ok()) status = impl_->file->Commit();
  impl_->file.reset();  // removes the temporary file unless it was committed
  return status;
}

absl::StatusOr<uint64_t> PlannedFileBytes(const ModelConfig& config, const Recipe& recipe,
                                          const std::vector<BlobSpec>& blobs) {
  RILL_ASSIGN_OR_RETURN(const Draft draft, MakeDraft(config, recipe, blobs));
  return draft.layout.file_bytes;
}

}  // namespace rill
