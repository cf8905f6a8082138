#include "tests/support/faulty_file.h"

#include <utility>

namespace rill::test {

std::string_view Name(FileOp op) {
  switch (op) {
    case FileOp::kOpen:
      return "open";
    case FileOp::kRead:
      return "read";
    case FileOp::kMap:
      return "map";
    case FileOp::kCreate:
      return "create";
    case FileOp::kUpdate:
      return "open for update";
    case FileOp::kWrite:
      return "write";
    case FileOp::kTruncate:
      return "truncate";
    case FileOp::kSync:
      return "sync";
    case FileOp::kClose:
      return "close";
    case FileOp::kRename:
      return "rename";
    case FileOp::kRemove:
      return "remove";
    case FileOp::kSyncDirectory:
      return "sync directory";
    case FileOp::kList:
      return "list";
  }
  return "?";
}

class FaultyReader : public ReadableFile {
 public:
  FaultyReader(FaultyFileSystem& owner, std::string path, int64_t number,
               std::unique_ptr<ReadableFile> file)
      : owner_(owner), path_(std::move(path)), number_(number), file_(std::move(file)) {}

  uint64_t size() const override { return file_->size(); }
  absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const override {
    absl::Status status = owner_.Begin();
    const absl::Status inner = file_->ReadAt(offset, dst, status.ok() ? bytes : bytes / 2);
    if (status.ok()) status = inner;
    return owner_.End({FileOp::kRead, path_, "", number_, offset, bytes}, status);
  }
  absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t offset,
                                                    uint64_t bytes) const override {
    const LoggedOp op{FileOp::kMap, path_, "", number_, offset, bytes};
    const absl::Status fault = owner_.Begin();
    if (!fault.ok()) return owner_.End(op, fault);
    auto region = file_->Map(offset, bytes);
    owner_.End(op, region.status()).IgnoreError();
    return region;
  }

 private:
  FaultyFileSystem& owner_;
  std::string path_;
  int64_t number_;
  std::unique_ptr<ReadableFile> file_;
};

class FaultyWriter : public WritableFile {
 public:
  FaultyWriter(FaultyFileSystem& owner, std::string path, int64_t number,
               std::unique_ptr<WritableFile> file)
      : owner_(owner), path_(std::move(path)), number_(number), file_(std::move(file)) {}

  absl::Status WriteAt(uint64_t offset, const void* src, size_t bytes) override {
    absl::Status status = owner_.Begin();
    const size_t stored = status.ok() ? bytes : bytes / 2;
    const absl::Status inner = file_->WriteAt(offset, src, stored);
    if (status.ok()) status = inner;
    const std::string data(static_cast<const char*>(src), stored);
    return owner_.End({FileOp::kWrite, path_, "", number_, offset, bytes, data}, status);
  }
  absl::Status Truncate(uint64_t size) override {
    absl::Status status = owner_.Begin();
    if (status.ok()) status = file_->Truncate(size);
    return owner_.End({FileOp::kTruncate, path_, "", number_, size}, status);
  }
  absl::Status Sync() override {
    absl::Status status = owner_.Begin();
    if (status.ok()) status = file_->Sync();
    return owner_.End({FileOp::kSync, path_, "", number_}, status);
  }
  absl::Status Close() override {
    absl::Status status = owner_.Begin();
    const absl::Status inner = file_->Close();
    if (status.ok()) status = inner;
    return owner_.End({FileOp::kClose, path_, "", number_}, status);
  }

 private:
  FaultyFileSystem& owner_;
  std::string path_;
  int64_t number_;
  std::unique_ptr<WritableFile> file_;
};

int64_t FaultyFileSystem::operations() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return started_;
}

int64_t FaultyFileSystem::Count(FileOp kind) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t n = 0;
  for (const LoggedOp& op : log_) n += op.kind == kind;
  return n;
}

std::vector<LoggedOp> FaultyFileSystem::Log() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return log_;
}

void FaultyFileSystem::SetFault(Fault fault) {
  const std::lock_guard<std::mutex> lock(mutex_);
  fault_ = fault;
}

absl::Status FaultyFileSystem::Begin() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t n = started_++;
  if (fault_.at < 0 || n < fault_.at || (n > fault_.at && !fault_.forever)) return absl::OkStatus();
  return absl::Status(fault_.code, kMessage);
}

absl::Status FaultyFileSystem::End(LoggedOp op, absl::Status status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  op.failed = !status.ok();
  log_.push_back(std::move(op));
  return status;
}

int64_t FaultyFileSystem::NumberOf(const std::string& path, bool is_new) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [it, inserted] = number_.emplace(path, files_);
  if (!inserted && is_new) it->second = files_;
  if (inserted || is_new) ++files_;
  return it->second;
}

absl::StatusOr<std::unique_ptr<ReadableFile>> FaultyFileSystem::OpenForReading(
    const std::string& path) {
  const LoggedOp op{FileOp::kOpen, path, "", NumberOf(path, false)};
  const absl::Status fault = Begin();
  if (!fault.ok()) return End(op, fault);
  auto file = inner_.OpenForReading(path);
  End(op, file.status()).IgnoreError();
  if (!file.ok()) return file.status();
  return std::make_unique<FaultyReader>(*this, path, op.file, *std::move(file));
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultyFileSystem::CreateNew(const std::string& path) {
  LoggedOp op{FileOp::kCreate, path};
  const absl::Status fault = Begin();
  if (!fault.ok()) return End(op, fault);
  auto file = inner_.CreateNew(path);
  if (file.ok()) op.file = NumberOf(path, true);
  End(op, file.status()).IgnoreError();
  if (!file.ok()) return file.status();
  return std::make_unique<FaultyWriter>(*this, path, op.file, *std::move(file));
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultyFileSystem::OpenForUpdate(
    const std::string& path) {
  const LoggedOp op{FileOp::kUpdate, path, "", NumberOf(path, false)};
  const absl::Status fault = Begin();
  if (!fault.ok()) return End(op, fault);
  auto file = inner_.OpenForUpdate(path);
  End(op, file.status()).IgnoreError();
  if (!file.ok()) return file.status();
  return std::make_unique<FaultyWriter>(*this, path, op.file, *std::move(file));
}

absl::Status FaultyFileSystem::Rename(const std::string& from, const std::string& to) {
  const int64_t number = NumberOf(from, false);
  absl::Status status = Begin();
  if (status.ok()) status = inner_.Rename(from, to);
  if (status.ok()) {
    const std::lock_guard<std::mutex> lock(mutex_);
    number_[to] = number;
    number_.erase(from);
  }
  return End({FileOp::kRename, from, to, number}, status);
}

absl::Status FaultyFileSystem::Remove(const std::string& path) {
  const int64_t number = NumberOf(path, false);
  absl::Status status = Begin();
  if (status.ok()) status = inner_.Remove(path);
  if (status.ok()) {
    const std::lock_guard<std::mutex> lock(mutex_);
    number_.erase(path);
  }
  return End({FileOp::kRemove, path, "", number}, status);
}

absl::Status FaultyFileSystem::SyncDirectory(const std::string& directory) {
  absl::Status status = Begin();
  if (status.ok()) status = inner_.SyncDirectory(directory);
  return End({FileOp::kSyncDirectory, directory}, status);
}

absl::StatusOr<std::vector<std::string>> FaultyFileSystem::List(const std::string& directory) {
  const LoggedOp op{FileOp::kList, directory};
  const absl::Status fault = Begin();
  if (!fault.ok()) return End(op, fault);
  auto names = inner_.List(directory);
  End(op, names.status()).IgnoreError();
  return names;
}

}  // namespace rill::test
