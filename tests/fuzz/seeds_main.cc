// fuzz_seeds FOLDER: writes the corpus of every target anew. Small files with one of everything.
#include <cstdio>
#include <filesystem>
#include <string>

#include "model/format/container.h"
#include "sdk/session_file/attached.h"
#include "tests/support/fake_timeline.h"
#include "tests/support/memory_fs.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_model_file.h"

namespace rill::test {
namespace {

constexpr char kPath[] = "/d/file";

SessionGeometry WithoutPages() {
  SessionGeometry g = SmallGeometry();
  g.page_bytes = 0;
  g.mla_dtype = "";
  return g;
}

// A save of `tokens` tokens and, where it has `texts`, a flush after a rewind.
std::string SessionSeed(const SessionGeometry& geometry, int tokens, bool texts) {
  Random random(1);
  MemoryFileSystem fs;
  FakeTimeline timeline(geometry);
  timeline.AppendRandom(random, tokens);
  if (texts) {
    timeline.Mark();
    timeline.generation = "sampler";
    timeline.user_blob = "blob";
  }
  const auto attached =
      AttachedSessionFile::Create(fs, kPath, SomeIdentity(), geometry, timeline.Content());
  if (!attached.ok()) return "";
  if (texts) {
    timeline.Rewind(2);
    timeline.AppendRandom(random, 3);
    if (!(*attached)->Flush(timeline.Content()).ok()) return "";
  }
  return fs.Get(kPath);
}

// Header and directory: the rest reads as zeros (model_load_fuzz.cc).
std::string ModelSeed() {
  MemoryFileSystem fs;
  const ModelConfig config = TinyConfig();
  auto writer = ModelWriter::Create(fs, kPath, config, *MakeRecipe("q8"), {});
  if (!writer.ok()) return "";
  const auto& table = (*writer)->table();
  for (size_t i = 0; i < table.size(); ++i) {
    const std::string zeros(table[i].bytes, '\0');
    (*writer)->Write(i, 0, zeros.data(), zeros.size()).IgnoreError();
  }
  if (!(*writer)->Finish().ok()) return "";
  const std::string file = fs.Get(kPath);
  return file.substr(0, kHeaderBytes + HeaderOf(file).directory_bytes);
}

std::string SafetensorsSeed() {
  SafetensorsWriter writer;
  writer.Add("a.weight", {"BF16", {2, 3}, std::string(12, 'a')});
  writer.Add("b.bias", {"F32", {1}, std::string(4, 'b')});
  writer.Add("scalar", {"I64", {}, std::string(8, 'c')});
  return writer.Bytes();
}

void Put(const std::string& folder, const std::string& target, const std::string& name,
         const std::string& bytes) {
  std::filesystem::create_directories(folder + "/" + target);
  WriteFile(folder + "/" + target + "/" + name, bytes);
  std::printf("%s/%s: %zu bytes\n", target.c_str(), name.c_str(), bytes.size());
}

}  // namespace
}  // namespace rill::test

int main(int argc, char** argv) {
  using namespace rill::test;
  if (argc != 2) return 2;
  Put(argv[1], "session_load", "empty", SessionSeed(WithoutPages(), 0, false));
  Put(argv[1], "session_load", "flushed", SessionSeed(WithoutPages(), 5, true));
  Put(argv[1], "session_load", "pages", SessionSeed(SmallGeometry(), 5, false));
  Put(argv[1], "model_load", "tiny", ModelSeed());
  Put(argv[1], "safetensors", "three", SafetensorsSeed());
  Put(argv[1], "safetensors", "nothing", SafetensorsFile("{}", ""));
  return 0;
}
