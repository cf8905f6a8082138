#include "model/io/atomic_write.h"

#include <atomic>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/philox.h"
#include "kernels/base/status.h"

namespace rill {
namespace {

constexpr std::string_view kTempMark = ".tmp.";
constexpr size_t kSuffixDigits = 16;
constexpr int kNameAttempts = 16;

// Unique enough that a collision is news; O_EXCL makes even that harmless.
std::string RandomSuffix() {
  static std::atomic<uint32_t> counter{0};
  const auto now =
      static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  const auto here = reinterpret_cast<uintptr_t>(&counter);  // differs between processes
  uint32_t word[4] = {counter.fetch_add(1), static_cast<uint32_t>(here),
                      static_cast<uint32_t>(uint64_t{here} >> 32), 0};
  Philox4x32(word, static_cast<uint32_t>(now), static_cast<uint32_t>(now >> 32));
  return absl::StrCat(absl::Hex(uint64_t{word[0]} << 32 | word[1], absl::kZeroPad16));
}

bool IsTempOf(std::string_view name, std::string_view base) {
  const size_t stem = base.size() + kTempMark.size();
  return name.size() == stem + kSuffixDigits && name.substr(0, base.size()) == base &&
         name.substr(base.size(), kTempMark.size()) == kTempMark &&
         name.find_first_not_of("0123456789abcdef", stem) == std::string_view::npos;
}

// Best effort: a leftover costs space, not correctness.
void RemoveStaleTemps(FileSystem& fs, const std::string& path) {
  const std::string directory = DirectoryOf(path);
  const auto names = fs.List(directory);
  if (!names.ok()) return;
  const size_t slash = path.rfind('/');
  const std::string base = slash == std::string::npos ? path : path.substr(slash + 1);
  for (const std::string& name : *names) {
    if (IsTempOf(name, base)) fs.Remove(JoinPath(directory, name)).IgnoreError();
  }
}

}  // namespace

AtomicFile::AtomicFile(FileSystem& fs, std::string path) : fs_(fs), path_(std::move(path)) {}

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(FileSystem& fs,
                                                               const std::string& path) {
  RemoveStaleTemps(fs, path);
  // Made first: once the file is there, nothing may fail before somebody is there to remove it.
  std::unique_ptr<AtomicFile> atomic(new AtomicFile(fs, path));
  for (int attempt = 1;; ++attempt) {
    atomic->temp_ = absl::StrCat(path, ".tmp.", RandomSuffix());
    auto file = fs.CreateNew(atomic->temp_);
    if (file.ok()) {
      atomic->file_ = *std::move(file);
      return atomic;
    }
    if (!absl::IsAlreadyExists(file.status()) || attempt == kNameAttempts) return file.status();
  }
}

AtomicFile::~AtomicFile() { Abandon(); }

void AtomicFile::Abandon() {
  if (done_ || file_ == nullptr) return;
  done_ = true;
  file_.reset();
  fs_.Remove(temp_).IgnoreError();
}

absl::Status AtomicFile::WriteAt(uint64_t offset, const void* src, size_t bytes) {
  if (done_)
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": write: the file was committed or abandoned"));
  const absl::Status status = file_->WriteAt(offset, src, bytes);
  if (!status.ok()) {
    Abandon();
    return status;
  }
  if (offset + bytes > size_) size_ = offset + bytes;
  return absl::OkStatus();
}

absl::Status AtomicFile::Append(const void* src, size_t bytes) {
  return WriteAt(size_, src, bytes);
}

absl::Status AtomicFile::Commit(Durability durability) {
  if (done_)
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": commit: the file was committed or abandoned"));
  absl::Status status;
  if (durability != Durability::kNone) status = file_->Sync();
  if (status.ok()) status = file_->Close();
  if (status.ok()) status = fs_.Rename(temp_, path_);
  if (!status.ok()) {
    Abandon();
    return status;
  }
  done_ = true;
  file_.reset();
  if (durability != Durability::kFull) return absl::OkStatus();
  return fs_.SyncDirectory(DirectoryOf(path_));
}

}  // namespace rill
