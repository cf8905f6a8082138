// tests/support/power_cut.h — what a disk may hold after a power cut, from the log of a
// FaultyFileSystem.
//
// Rules of the disk: what was written before a Sync of its file is there. Of later writes, each
// sector may have reached the disk or not, on its own, in any version that it went through, or hold
// noise. The size is one that the file went through since its last Sync; what was never written
// reads as zeros or noise. Names (creations, renames, removals) become durable with a SyncDirectory
// of their folder; of later ones the first few may have.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/faulty_file.h"
#include "tests/support/random.h"

namespace rill::test {

class PowerCut {
 public:
  using Tree = std::map<std::string, std::string>;  // path to content

  // `before`: what was on the disk, durably, when the log began.
  PowerCut(Tree before, std::vector<LoggedOp> log)
      : before_(std::move(before)), log_(std::move(log)) {}

  size_t operations() const { return log_.size(); }

  // The power goes after the first `n` operations; of what was not durable, all or nothing is
  // there.
  Tree Cut(size_t n, bool data, bool names) const;
  // Likewise, but every sector, size and name draws its own lot.
  Tree Cut(size_t n, Random& random) const;

 private:
  struct Change {  // a write, or a truncation to `offset`
    bool truncation;
    uint64_t offset;
    const std::string* data;
  };
  struct File {
    std::string durable;
    std::vector<Change> pending;
  };
  using Names = std::map<std::string, int64_t>;
  struct Disk {
    std::map<int64_t, File> files;
    Names durable, now;
    std::vector<Names> pending;  // after each operation since the folder's sync
  };
  Disk Replay(size_t n) const;
  static void Apply(const LoggedOp& op, Disk& disk);
  static std::string Whole(const File& file);
  static std::string Draw(const File& file, Random& random);

  Tree before_;
  std::vector<LoggedOp> log_;
};

}  // namespace rill::test
