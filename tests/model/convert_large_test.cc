// Runs rill-convert over a checkpoint of more than 4 GiB: memory, offsets and interruption.
// Labelled "full".
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "kernels/ops/quantize.h"
#include "model/io/file.h"
#include "model/weights/reader.h"
#include "nlohmann/json.hpp"
#include "tests/support/run_program.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"

namespace rill {
namespace {

using test::TempDir;
using test::TinyCheckpoint;

const char kProgram[] = RILL_BINARY_DIR "/bin/rill-convert";

// A checkpoint of holes: 4.4 GB of zeros that take no disk, and one value at the very end, behind
// the first 4 GiB.
class LargeCheckpoint {
 public:
  static constexpr int64_t kVocab = 240'000, kHidden = 2304;

  explicit LargeCheckpoint(const TempDir& dir) {
    const TinyCheckpoint small({.vocab = 8, .hidden = kHidden, .mixers = "K", .dense_width = 8}, 1);
    nlohmann::ordered_json config = small.config;
    config["vocab_size"] = kVocab;
    test::WriteFile(dir / "config.json", config.dump());
    nlohmann::ordered_json header;
    std::string data;
    const auto place = [&](const std::string& name, const std::string& dtype,
                           const std::vector<int64_t>& shape, uint64_t begin, uint64_t end) {
      header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, end}}};
    };
    for (const auto& [name, t] : small.tensors) {
      if (name == "lm_head.weight" || name == "model.embed_tokens.weight") continue;
      place(name, t.dtype, t.shape, data.size(), data.size() + t.bytes.size());
      data += t.bytes;
    }
    const uint64_t table = 4 * kVocab * kHidden;
    place("model.embed_tokens.weight", "F32", {kVocab, kHidden}, data.size(), data.size() + table);
    place("lm_head.weight", "F32", {kVocab, kHidden}, data.size() + table, data.size() + 2 * table);
    const std::string start = test::SafetensorsFile(header.dump(), data),
                      path = dir / "model.safetensors";
    test::WriteFile(path, start);
    std::filesystem::resize_file(path, start.size() + 2 * table);
    file_bytes = start.size() + 2 * table;
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const float last = 1.5f;
    file.seekp(static_cast<std::streamoff>(file_bytes - sizeof last));
    file.write(reinterpret_cast<const char*>(&last), sizeof last);
    EXPECT_TRUE(file.good());
  }

  uint64_t file_bytes = 0;
};

class LargeConvertTest : public ::testing::Test {
 protected:
  TempDir in, out;
  const LargeCheckpoint large{in};
};

TEST_F(LargeConvertTest, MemoryStaysFlat) {
  ASSERT_GT(large.file_bytes, uint64_t{1} << 32);
  const auto r = test::RunProgram({kProgram, "--input", in.path(), "--output", out / "m.rill",
                                   "--format", "q4", "--threads", "2"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  // Blocks, one scales plane and the libraries: far below the tensor, let alone 1 GiB above it.
  EXPECT_LT(r.peak_bytes, uint64_t{256} << 20);
  RecordProperty("peak_mib", static_cast<int>(r.peak_bytes >> 20));
  EXPECT_GE(std::count(r.err.begin(), r.err.end(), '\n'), 10) << r.err;

  const auto file = ModelFile::Open(*FileSystem::Posix(), out / "m.rill");
  ASSERT_TRUE(file.ok()) << file.status();
  const std::vector<TensorSpec>& table = (*file)->table();
  ASSERT_EQ(table.back().name, "lm_head");
  // The last value of all is the only one of its group, and of the table, that is not zero.
  std::string bytes(table.back().bytes, '\0');
  ASSERT_TRUE(
      (*file)->file().ReadAt((*file)->offset(table.size() - 1), bytes.data(), bytes.size()).ok());
  const MatrixView head = BindMatrix(WeightFormat::kQ4, LargeCheckpoint::kVocab,
                                     LargeCheckpoint::kHidden, bytes.data());
  std::vector<float> row(LargeCheckpoint::kHidden);
  DequantizeRow(head, LargeCheckpoint::kVocab - 1, row.data());
  EXPECT_NEAR(row.back(), 1.5f, 1e-3f);
  row.back() = 0;
  EXPECT_EQ(row, std::vector<float>(row.size()));
}

TEST_F(LargeConvertTest, AnInterruptLeavesNothing) {
  const auto r =
      test::RunProgram({"/usr/bin/timeout", "--preserve-status", "-s", "INT", "1", kProgram,
                        "--input", in.path(), "--output", out / "m.rill", "--format", "q4"});
  EXPECT_EQ(r.exit_code, 2) << r.err;
  EXPECT_TRUE(absl::StrContains(r.err, "rill-convert: conversion cancelled\n")) << r.err;
  EXPECT_TRUE(out.Names().empty());
}

}  // namespace
}  // namespace rill
