#include "tests/support/power_cut.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace rill::test {
namespace {

const std::string kNoData;

void Store(std::string& image, uint64_t offset, const std::string& data) {
  if (image.size() < offset + data.size()) image.resize(offset + data.size());
  std::memcpy(image.data() + offset, data.data(), data.size());
}

// The part of a change that falls on [begin, begin + sector.size()).
void StoreInSector(std::string& sector, uint64_t begin, uint64_t offset, uint64_t end,
                   const char* data) {
  const uint64_t first = std::max(begin, offset), last = std::min(begin + sector.size(), end);
  for (uint64_t at = first; at < last; ++at)
    sector[at - begin] = data == nullptr ? '\0' : data[at - offset];
}

template <typename T>
T Pick(Random& random, std::initializer_list<T> choices) {
  return choices.begin()[random.Int(0, static_cast<int64_t>(choices.size()) - 1)];
}

bool Happens(Random& random, double probability) { return random.Uniform(0, 1) < probability; }

}  // namespace

// The folder's names are one map: all paths of a test lie in one folder.
void PowerCut::Apply(const LoggedOp& op, Disk& disk) {
  const bool renamed = op.kind == FileOp::kRename;
  if (!disk.files.contains(op.file) && op.file >= 0) {
    // A file from before the log gets its number with the first operation that names it.
    File& file = disk.files[op.file];
    const auto known = disk.now.find(op.path);
    if (known != disk.now.end() && known->second < 0 && op.kind != FileOp::kCreate) {
      file.durable = disk.files[known->second].durable;
      const int64_t old = known->second;
      for (Names* names : {&disk.now, &disk.durable}) {
        for (auto& [path, number] : *names)
          if (number == old) number = op.file;
      }
      for (Names& names : disk.pending) {
        for (auto& [path, number] : names)
          if (number == old) number = op.file;
      }
    }
  }
  if (op.kind == FileOp::kWrite) {  // of a failed one, what reached the file
    disk.files[op.file].pending.push_back({false, op.offset, &op.data});
    return;
  }
  if (op.failed) return;
  switch (op.kind) {
    case FileOp::kTruncate:
      disk.files[op.file].pending.push_back({true, op.offset, &kNoData});
      return;
    case FileOp::kSync: {
      File& file = disk.files[op.file];
      file.durable = Whole(file);
      file.pending.clear();
      return;
    }
    case FileOp::kCreate:
    case FileOp::kRemove:
    case FileOp::kRename:
      if (op.kind == FileOp::kCreate) disk.now[op.path] = op.file;
      if (op.kind == FileOp::kRemove) disk.now.erase(op.path);
      if (renamed) {
        disk.now.erase(op.path);
        disk.now[op.to] = op.file;
      }
      disk.pending.push_back(disk.now);
      return;
    case FileOp::kSyncDirectory:
      disk.durable = disk.now;
      disk.pending.clear();
      return;
    default:
      return;
  }
}

PowerCut::Disk PowerCut::Replay(size_t n) const {
  Disk disk;
  int64_t number = -2;  // not of the log
  for (const auto& [path, content] : before_) {
    disk.files[number].durable = content;
    disk.now[path] = disk.durable[path] = number--;
  }
  for (size_t i = 0; i < n; ++i) Apply(log_[i], disk);
  return disk;
}

std::string PowerCut::Whole(const File& file) {
  std::string image = file.durable;
  for (const Change& change : file.pending) {
    if (change.truncation) {
      image.resize(change.offset);
    } else {
      Store(image, change.offset, *change.data);
    }
  }
  return image;
}

std::string PowerCut::Draw(const File& file, Random& random) {
  if (file.pending.empty()) return file.durable;
  const uint64_t sector_bytes = Pick<uint64_t>(random, {512, 4096});
  const double kept = Pick(random, {0.0, 0.1, 0.5, 0.9, 0.99, 1.0});
  const double noise = Pick(random, {0.0, 0.0, 0.02, 0.3});
  std::vector<uint64_t> sizes = {file.durable.size()};
  uint64_t largest = sizes[0];
  for (const Change& c : file.pending) {
    sizes.push_back(c.truncation ? c.offset : std::max(sizes.back(), c.offset + c.data->size()));
    largest = std::max(largest, sizes.back());
  }
  std::string image = file.durable;
  image.resize(Happens(random, 0.5) ? sizes.back()
                                    : sizes[random.Int(0, static_cast<int64_t>(sizes.size()) - 1)]);
  for (uint64_t begin = 0; begin < image.size(); begin += sector_bytes) {
    std::string sector = image.substr(begin, sector_bytes);
    const uint64_t end = begin + sector.size();
    std::vector<std::string> versions = {sector};
    for (const Change& c : file.pending) {
      const uint64_t stop = c.truncation ? largest : c.offset + c.data->size();
      if (c.offset >= end || stop <= begin) continue;
      StoreInSector(sector, begin, c.offset, stop, c.truncation ? nullptr : c.data->data());
      versions.push_back(sector);
    }
    if (versions.size() == 1) continue;
    if (Happens(random, noise)) {
      for (char& byte : sector) byte = static_cast<char>(random.Bits());
    } else if (!Happens(random, kept)) {
      sector = versions[random.Int(0, static_cast<int64_t>(versions.size()) - 1)];
    }
    image.replace(begin, sector.size(), sector);
  }
  return image;
}

PowerCut::Tree PowerCut::Cut(size_t n, bool data, bool names) const {
  const Disk disk = Replay(n);
  Tree tree;
  for (const auto& [path, number] : names ? disk.now : disk.durable) {
    const File& file = disk.files.at(number);
    tree[path] = data ? Whole(file) : file.durable;
  }
  return tree;
}

PowerCut::Tree PowerCut::Cut(size_t n, Random& random) const {
  const Disk disk = Replay(n);
  const int64_t reached = random.Int(0, static_cast<int64_t>(disk.pending.size()));
  const Names& names = reached == 0 ? disk.durable : disk.pending[reached - 1];
  Tree tree;
  for (const auto& [path, number] : names) tree[path] = Draw(disk.files.at(number), random);
  return tree;
}

}  // namespace rill::test
