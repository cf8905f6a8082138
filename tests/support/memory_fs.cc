#include "tests/support/memory_fs.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace rill::test {
namespace {

using Node = MemoryFileSystem::Node;

absl::Status Missing(const std::string& path) {
  return absl::NotFoundError(absl::StrCat(path, ": there is no such file in memory"));
}

absl::Status PastEnd(const std::string& path, uint64_t offset, uint64_t bytes, uint64_t size) {
  return absl::DataLossError(
      absl::StrCat(path, ": ", bytes, " bytes at ", offset, ", the file has ", size));
}

// Aligned as pages are.
class CopiedRegion : public MappedRegion {
 public:
  explicit CopiedRegion(const std::string& bytes) : size_(bytes.size()) {
    data_ = static_cast<std::byte*>(std::aligned_alloc(16384, (size_ + 16383) / 16384 * 16384));
    std::memcpy(data_, bytes.data(), size_);
  }
  ~CopiedRegion() override { std::free(data_); }
  const std::byte* data() const override { return data_; }
  uint64_t size() const override { return size_; }
  void WillNeed(uint64_t, uint64_t) const override {}

 private:
  std::byte* data_;
  uint64_t size_;
};

class MemoryReader : public ReadableFile {
 public:
  MemoryReader(std::string path, std::shared_ptr<Node> node)
      : path_(std::move(path)), node_(std::move(node)) {
    const std::lock_guard<std::mutex> lock(node_->mutex);
    size_ = node_->bytes.size();
  }
  uint64_t size() const override { return size_; }
  absl::Status ReadAt(uint64_t offset, void* dst, size_t bytes) const override {
    const std::lock_guard<std::mutex> lock(node_->mutex);
    const uint64_t size = node_->bytes.size();
    if (offset > size || bytes > size - offset) return PastEnd(path_, offset, bytes, size);
    std::memcpy(dst, node_->bytes.data() + offset, bytes);
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<MappedRegion>> Map(uint64_t offset,
                                                    uint64_t bytes) const override {
    const std::lock_guard<std::mutex> lock(node_->mutex);
    const uint64_t size = node_->bytes.size();
    if (offset % 16384 != 0 || bytes == 0) return absl::InvalidArgumentError(path_);
    if (offset > size || bytes > size - offset) return PastEnd(path_, offset, bytes, size);
    return std::make_unique<CopiedRegion>(node_->bytes.substr(offset, bytes));
  }

 private:
  std::string path_;
  std::shared_ptr<Node> node_;
  uint64_t size_;
};

class MemoryWriter : public WritableFile {
 public:
  explicit MemoryWriter(std::shared_ptr<Node> node) : node_(std::move(node)) {}
  absl::Status WriteAt(uint64_t offset, const void* src, size_t bytes) override {
    const std::lock_guard<std::mutex> lock(node_->mutex);
    std::string& content = node_->bytes;
    if (offset + bytes > content.size()) content.resize(offset + bytes);
    std::memcpy(content.data() + offset, src, bytes);
    return absl::OkStatus();
  }
  absl::Status Truncate(uint64_t size) override {
    const std::lock_guard<std::mutex> lock(node_->mutex);
    node_->bytes.resize(size);
    return absl::OkStatus();
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  std::shared_ptr<Node> node_;
};

}  // namespace

std::shared_ptr<Node> MemoryFileSystem::Find(const std::string& path) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = tree_.find(path);
  return it == tree_.end() ? nullptr : it->second;
}

absl::StatusOr<std::unique_ptr<ReadableFile>> MemoryFileSystem::OpenForReading(
    const std::string& path) {
  auto node = Find(path);
  if (node == nullptr) return Missing(path);
  return std::make_unique<MemoryReader>(path, std::move(node));
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::CreateNew(const std::string& path) {
  auto node = std::make_shared<Node>();
  auto writer = std::make_unique<MemoryWriter>(node);  // before the name: memory may end here
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!tree_.emplace(path, std::move(node)).second) return absl::AlreadyExistsError(path);
  return writer;
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::OpenForUpdate(
    const std::string& path) {
  auto node = Find(path);
  if (node == nullptr) return Missing(path);
  return std::make_unique<MemoryWriter>(std::move(node));
}

absl::Status MemoryFileSystem::Rename(const std::string& from, const std::string& to) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = tree_.find(from);
  if (it == tree_.end()) return Missing(from);
  tree_[to] = it->second;
  if (to != from) tree_.erase(it);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::Remove(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tree_.erase(path) == 1 ? absl::OkStatus() : Missing(path);
}

absl::StatusOr<std::vector<std::string>> MemoryFileSystem::List(const std::string& directory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [path, node] : tree_) {
    if (DirectoryOf(path) == directory) names.push_back(path.substr(path.rfind('/') + 1));
  }
  return names;
}

absl::StatusOr<uint64_t> MemoryFileSystem::FileSize(const std::string& path) {
  const auto node = Find(path);
  if (node == nullptr) return Missing(path);
  const std::lock_guard<std::mutex> lock(node->mutex);
  return node->bytes.size();
}

bool MemoryFileSystem::IsDirectory(const std::string& path) { return Find(path) == nullptr; }

void MemoryFileSystem::Put(const std::string& path, std::string bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto node = std::make_shared<Node>();
  node->bytes = std::move(bytes);
  tree_[path] = std::move(node);
}

std::string MemoryFileSystem::Get(const std::string& path) const {
  const auto node = Find(path);
  if (node == nullptr) return "";
  const std::lock_guard<std::mutex> lock(node->mutex);
  return node->bytes;
}

void MemoryFileSystem::Resize(const std::string& path, uint64_t bytes) {
  const auto node = Find(path);
  const std::lock_guard<std::mutex> lock(node->mutex);
  node->bytes.resize(bytes);
}

void MemoryFileSystem::Poke(const std::string& path, uint64_t offset, char value) {
  const auto node = Find(path);
  const std::lock_guard<std::mutex> lock(node->mutex);
  node->bytes.at(offset) = value;
}

std::vector<std::string> MemoryFileSystem::Paths() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> paths;
  for (const auto& [path, node] : tree_) paths.push_back(path);
  return paths;
}

}  // namespace rill::test
