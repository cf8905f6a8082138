#include "tests/support/session_repair.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "model/io/crc32c.h"
#include "sdk/session_file/layout.h"
#include "sdk/session_file/ledger.h"

namespace rill::test {
namespace {

using namespace session_file;

// Offsets of docs/FORMATS.md, written down a second time on purpose: the library's own structs
// would hide a field that moved.
constexpr uint64_t kHeaderCrc = 12, kSealCrc = 8;
constexpr uint64_t kRootPosition = 24, kRootDirectory = 40, kRootDirectoryBytes = 48;
constexpr uint64_t kRootDirectoryCrc = 56, kRootSlotCrc = 60, kRootHeaderCrc = 64, kRootLedger = 72;
constexpr uint64_t kMarkHeaderCrc = 12;
constexpr uint64_t kKept = 24, kPosition = 32, kPrevious = 40, kPreviousBytes = 48;
constexpr uint64_t kPreviousCrc = 56, kRecords = 60, kPages = 64, kLedger = 72, kFirstRecord = 128;
constexpr uint64_t kRecordBytes = 72;

class Repair {
 public:
  explicit Repair(std::string& bytes) : bytes_(bytes) {}

  void Run() {
    if (bytes_.size() < kSector) return;
    std::memcpy(bytes_.data(), kMagic, sizeof kMagic);
    Seal(0, kHeaderCrc);
    Sector sector;
    std::memcpy(sector.data(), bytes_.data(), sector.size());
    const auto header = DecodeHeader(sector, kSector);
    if (!header.ok()) return;
    header_crc_ = header->crc;
    geometry_ = header->geometry;
    layout_ = MakeLayout(geometry_);
    if (!Within(0, layout_.log_begin)) return;
    for (int i : {0, 1}) Root(i);
    Mark();
  }

 private:
  bool Within(uint64_t offset, uint64_t n) const {
    return offset <= bytes_.size() && n <= bytes_.size() - offset;
  }
  template <typename T>
  T Get(uint64_t offset) const {
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  template <typename T>
  void Put(uint64_t offset, const T& value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof value);
  }
  uint32_t Crc(uint64_t offset, uint64_t n) const {
    return Crc32c(bytes_.data() + offset, static_cast<size_t>(n));
  }
  void Seal(uint64_t sector, uint64_t field) {
    Put<uint32_t>(sector + field, 0);
    Put<uint32_t>(sector + field, Crc(sector, kSector));
  }

  void Root(int index) {
    const uint64_t at = kRootOffset + static_cast<uint64_t>(index) * kSector;
    if (AllZero(reinterpret_cast<const std::byte*>(bytes_.data() + at), kSector)) return;
    std::memcpy(bytes_.data() + at, "RILLROOT", 8);
    Put(at + kRootHeaderCrc, header_crc_);
    Put(at + kRootSlotCrc, Crc(layout_.slot(index), layout_.slot_bytes));
    uint64_t directory = Get<uint64_t>(at + kRootDirectory);
    uint64_t n = Get<uint64_t>(at + kRootDirectoryBytes);
    if (Chain(directory, n)) {
      Put(at + kRootDirectoryCrc, Crc(directory, n));
      Put(at + kRootLedger, ledger_.Hash(ledger_.size()));
      Put(at + kRootPosition, Get<uint64_t>(directory + kPosition));
    }
    Seal(at, kSealCrc);
  }

  // Oldest first, as each holds the checksum of the one before.
  bool Chain(uint64_t directory, uint64_t n) {
    struct Link {
      uint64_t offset, bytes;
    };
    std::vector<Link> chain;
    uint64_t end = bytes_.size() + 1;
    while (directory >= layout_.log_begin && directory < end && n >= kFirstRecord &&
           Within(directory, n) && std::memcmp(bytes_.data() + directory, "RILBATCH", 8) == 0) {
      chain.push_back({directory, n});
      end = directory;
      n = Get<uint64_t>(directory + kPreviousBytes);
      directory = Get<uint64_t>(directory + kPrevious);
    }
    ledger_ = Ledger();
    for (auto link = chain.rbegin(); link != chain.rend(); ++link) {
      if (link != chain.rbegin())
        Put(link->offset + kPreviousCrc, Crc((link - 1)->offset, (link - 1)->bytes));
      Directory(link->offset, link->bytes);
    }
    return !chain.empty();
  }

  void Directory(uint64_t at, uint64_t n) {
    const uint64_t fit = (n - kFirstRecord) / kRecordBytes;
    const uint64_t records = std::min<uint64_t>(fit, Get<uint32_t>(at + kRecords));
    const uint64_t crcs = at + kFirstRecord + records * kRecordBytes;
    ledger_.Truncate(Get<uint64_t>(at + kKept));
    for (bool tokens_only : {true, false}) {
      for (uint64_t i = 0; i < records; ++i) {
        const uint64_t record = at + kFirstRecord + i * kRecordBytes;
        if (tokens_only ? Get<uint32_t>(record) == 2 : true)
          tokens_only ? Tokens(record) : Record(record, at, crcs, at + n);
      }
    }
    Put(at + kLedger, ledger_.Hash(ledger_.size()));
  }

  void Tokens(uint64_t record) {
    const auto offset = Get<uint64_t>(record + 24), n = Get<uint64_t>(record + 32);
    if (!Within(offset, n)) return;
    std::vector<int32_t> tokens(n / sizeof(int32_t));
    if (!tokens.empty())
      std::memcpy(tokens.data(), bytes_.data() + offset, tokens.size() * sizeof(int32_t));
    ledger_.Append(tokens);
  }

  void Record(uint64_t record, uint64_t directory, uint64_t crcs, uint64_t directory_end) {
    const auto type = Get<uint32_t>(record);
    const auto start = Get<uint64_t>(record + 8), count = Get<uint64_t>(record + 16);
    const auto offset = Get<uint64_t>(record + 24), n = Get<uint64_t>(record + 32);
    uint64_t prefix = Get<uint64_t>(directory + kPosition);
    if (type == 5) prefix = start;
    if (type == 1) {
      prefix = (start + count) * geometry_.page_tokens;
      const uint64_t n_pages = std::min(count, Get<uint64_t>(directory + kPages));
      for (uint64_t i = 0; i < n_pages && crcs + 4 * i + 4 <= directory_end; ++i) {
        const uint64_t page = offset + i * geometry_.page_bytes;
        if (!Within(page, geometry_.page_bytes)) break;
        Put(crcs + 4 * i, Crc(page, geometry_.page_bytes));
      }
    } else if (Within(offset, n)) {
      Put(record + 48, Crc(offset, n));
    }
    if (prefix <= ledger_.size()) Put(record + 56, Shorten(ledger_.Hash(prefix)));
  }

  void Mark() {
    const uint64_t at = bytes_.size() - kSector;
    if (bytes_.size() % kSector != 0 || std::memcmp(bytes_.data() + at, "RILLOPEN", 8) != 0) return;
    Put(at + kMarkHeaderCrc, header_crc_);
    Seal(at, kSealCrc);
  }

  std::string& bytes_;
  uint32_t header_crc_ = 0;
  SessionGeometry geometry_;
  Layout layout_;
  Ledger ledger_;
};

}  // namespace

void RepairSessionFile(std::string& bytes) { Repair(bytes).Run(); }

}  // namespace rill::test
