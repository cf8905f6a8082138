// Any bytes as a session file: no crash, no hang, no memory beyond the file's size; what is
// accepted can be read to the last byte, saved again, and followed by a flush.
#include <algorithm>
#include <cstring>
#include <string>

#include "model/io/crc32c.h"
#include "sdk/session_file/attached.h"
#include "sdk/session_file/tools.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/buffer_fs.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/memory_fs.h"
#include "tests/support/session_repair.h"

namespace rill {
namespace {

using fuzz::Require;

constexpr char kPath[] = "/d/file";

template <typename T>
uint32_t Touch(absl::Span<const T> span) {
  return Crc32c(span.data(), span.size() * sizeof(T));
}

// Reads everything that a view points to, so that a sanitizer sees where that is.
void TouchAll(const SessionFile& file) {
  const SessionContent content = file.content();
  Touch(content.tokens);
  Touch(content.fixed);
  Touch(content.logits);
  Touch(content.ring.bytes);
  Crc32c(content.generation.data(), content.generation.size());
  Crc32c(content.user_blob.data(), content.user_blob.size());
  for (size_t i = 0; i < content.ladder.size(); ++i) {
    Touch(content.ladder[i].fixed);
    Touch(content.ladder[i].logits);
    file.CheckRung(i).IgnoreError();
  }
  if (file.previous() != nullptr) {
    Require(file.previous()->position < file.position(), "what is previous is earlier");
    Touch(file.previous()->fixed);
    Touch(file.previous()->logits);
    file.CheckPrevious().IgnoreError();
  }
  for (uint64_t i = 0; i < file.full_pages(); ++i) file.CheckPage(i).IgnoreError();
}

void SaveAgain(const SessionFile& file) {
  test::MemoryFileSystem fs;
  Require(SaveSessionFile(fs, kPath, file.identity(), file.geometry(), file.content()).ok(),
          "what was opened can be saved");
  const auto again = SessionFile::Open(fs, kPath);
  Require(again.ok(), "what was saved can be opened");
  Require(test::Difference(file.geometry(), file.content(), (*again)->content()).empty(),
          "it is the same");
}

void FlushOnce(const std::string& bytes) {
  test::MemoryFileSystem fs;
  fs.Put(kPath, bytes);
  const auto file = SessionFile::Open(fs, kPath);
  Require(file.ok(), "a file opens the second time as the first");
  const auto attached = AttachedSessionFile::Attach(fs, kPath, **file);
  SessionContent content = (*file)->content();
  const std::string blob = std::string(content.user_blob) + "x";
  if (blob.size() > kMaxUserBlobBytes) return;
  content.user_blob = blob;
  Require(attached->Flush(content).ok(), "what was opened can be flushed to");
  const auto again = SessionFile::Open(fs, kPath);
  Require(again.ok() && (*again)->content().user_blob == blob, "and opened after that");
}

}  // namespace
}  // namespace rill

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rill;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  test::BufferFileSystem fs(bytes);
  OpenSessionOptions lazy;
  lazy.lazy = true;
  const auto some = SessionFile::Open(fs, kPath, lazy);
  if (some.ok()) TouchAll(**some);
  const auto file = SessionFile::Open(fs, kPath);
  if (!file.ok()) return 0;
  Require(some.ok(), "a lazy open accepts what a full one does");
  Require(InspectSessionFile(fs, kPath).ok(), "what can be opened can be inspected");
  SaveAgain(**file);
  FlushOnce(bytes);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 16 == 0) return size;  // leave some broken
  std::string bytes(reinterpret_cast<const char*>(data), size);
  rill::test::RepairSessionFile(bytes);
  std::memcpy(data, bytes.data(), size);
  return size;
}
