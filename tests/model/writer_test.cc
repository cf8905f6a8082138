// The model writer: where bytes land, misuse, and a failure at every operation.
#include "model/weights/writer.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/weights/layout.h"
#include "model/weights/reader.h"
#include "tests/support/faulty_file.h"
#include "tests/support/memory_fs.h"
#include "tests/support/says.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_model_file.h"

namespace rill {
namespace {

using test::Fault;
using test::FaultyFileSystem;
using test::FileOp;
using test::MemoryFileSystem;
using test::Says;
using test::TinyConfig;

constexpr char kPath[] = "/m/tiny.rill";

class WriterTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<ModelWriter>> Create() {
    return ModelWriter::Create(memory_, kPath, config_, recipe_, test::TinyBlobs());
  }

  test::Random random_;
  MemoryFileSystem memory_;
  const ModelConfig config_ = TinyConfig();
  const Recipe recipe_ = *MakeRecipe("q4");
  const std::vector<TensorSpec> table_ = MakeTensorTable(config_, recipe_);
  const std::vector<std::string> tensors_ = test::RandomTensorBytes(table_, random_);
};

TEST_F(WriterTest, BytesLieWhereTheDirectorySays) {
  ASSERT_TRUE(test::WriteModelFile(memory_, kPath, config_, recipe_, tensors_).ok());
  const std::string file = memory_.Get(kPath);
  EXPECT_EQ(file.size(), *PlannedFileBytes(config_, recipe_, test::TinyBlobs()));
  const auto model = ModelFile::Open(memory_, kPath);
  ASSERT_TRUE(model.ok()) << model.status();
  uint64_t end = kDirectoryOffset + test::HeaderOf(file).directory_bytes;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const uint64_t offset = (*model)->offset(i);
    EXPECT_EQ(offset % table_[i].alignment, 0u) << table_[i].name;
    EXPECT_EQ(file.find_first_not_of('\0', end) < offset, false) << table_[i].name;
    EXPECT_TRUE(file.compare(offset, tensors_[i].size(), tensors_[i]) == 0) << table_[i].name;
    EXPECT_EQ((*model)->crc(i), Crc32c(tensors_[i].data(), tensors_[i].size()));
    end = offset + tensors_[i].size();
  }
  for (const BlobSpec& blob : test::TinyBlobs()) EXPECT_EQ(*(*model)->Blob(blob.name), blob.bytes);
  EXPECT_EQ((*model)->blobs().back().offset + (*model)->blobs().back().bytes, file.size());
}

TEST_F(WriterTest, TheOrderOfTensorsDoesNotMatter) {
  ASSERT_TRUE(test::WriteModelFile(memory_, kPath, config_, recipe_, tensors_).ok());
  const std::string expected = memory_.Get(kPath);
  auto writer = Create();
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ((*writer)->file_bytes(), expected.size());
  for (size_t i = tensors_.size(); i-- > 0;)
    ASSERT_TRUE((*writer)->Write(i, 0, tensors_[i].data(), tensors_[i].size()).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_TRUE(memory_.Get(kPath) == expected);
}

TEST_F(WriterTest, RefusesPartsOutOfOrder) {
  auto writer = Create();
  ASSERT_TRUE(writer.ok());
  const char* bytes = tensors_[0].data();
  EXPECT_TRUE(Says((*writer)->Write(9999, 0, bytes, 1), "tensor 9999 of a table of"));
  EXPECT_TRUE(Says((*writer)->Write(0, 1, bytes, 1), "part at 1 of 1 bytes, expected one at 0"));
  ASSERT_TRUE((*writer)->Write(0, 0, bytes, 10).ok());
  EXPECT_TRUE(Says((*writer)->Write(0, 0, bytes, 10), "expected one at 10"));
  EXPECT_TRUE(Says((*writer)->Write(0, 10, bytes, tensors_[0].size()), "that ends by"));
  EXPECT_TRUE(Says((*writer)->Write(0, ~uint64_t{0}, bytes, 2), "expected one at 10"));
}

TEST_F(WriterTest, FinishNeedsEveryByte) {
  auto writer = Create();
  ASSERT_TRUE(writer.ok());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const size_t n = tensors_[i].size() - (i == 7 ? 1 : 0);
    ASSERT_TRUE((*writer)->Write(i, 0, tensors_[i].data(), n).ok());
  }
  const absl::Status status = (*writer)->Finish();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_TRUE(Says(status, "tensor " + table_[7].name));
  EXPECT_TRUE(memory_.Paths().empty());
  EXPECT_TRUE(absl::IsFailedPrecondition((*writer)->Write(7, tensors_[7].size() - 1, "x", 1)));
  EXPECT_TRUE(absl::IsFailedPrecondition((*writer)->Finish()));
}

TEST_F(WriterTest, LeavesNothingWhenAbandoned) {
  auto writer = Create();
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(memory_.Paths().size(), 1u);
  writer->reset();
  EXPECT_TRUE(memory_.Paths().empty());
}

TEST_F(WriterTest, RefusesWhatNoReaderWouldTake) {
  const auto create = [&](std::vector<BlobSpec> blobs) {
    return ModelWriter::Create(memory_, kPath, config_, recipe_, std::move(blobs)).status();
  };
  EXPECT_TRUE(Says(create({{"a", "1"}, {"a", "2"}}), "two blobs named a"));
  EXPECT_TRUE(Says(create({{"", "1"}}), "blob name of 0 bytes, expected 1 to 256"));
  EXPECT_TRUE(Says(create({{std::string(257, 'n'), "1"}}), "blob name of 257 bytes"));
  EXPECT_TRUE(Says(create({{"a", ""}}), "blob 0: 0 bytes, expected 1 to"));
  std::vector<BlobSpec> many;
  for (int i = 0; i < 65; ++i) many.push_back({std::to_string(i), "x"});
  EXPECT_TRUE(Says(create(many), "65 blobs, expected at most 64"));
  ModelConfig wrong = config_;
  wrong.hidden_size = 0;
  EXPECT_TRUE(Says(PlannedFileBytes(wrong, recipe_, {}).status(), "hidden_size is 0"));
  Recipe lie = recipe_;
  lie.format[static_cast<int>(Role::kVector)] = WeightFormat::kQ4;
  EXPECT_TRUE(Says(PlannedFileBytes(config_, lie, {}).status(), "vector has format 3"));
  EXPECT_TRUE(memory_.Paths().empty());
}

TEST_F(WriterTest, EveryFailureLeavesTheOldFileReadableAndNoTemp) {
  ASSERT_TRUE(test::WriteModelFile(
                  memory_, kPath, config_, *MakeRecipe("q8"),
                  test::RandomTensorBytes(MakeTensorTable(config_, *MakeRecipe("q8")), random_))
                  .ok());
  const std::string old = memory_.Get(kPath);
  int64_t n = 0;
  for (;; ++n) {
    memory_.Put(kPath, old);
    FaultyFileSystem fs(memory_, Fault{n, absl::StatusCode::kResourceExhausted});
    const absl::Status status = test::WriteModelFile(fs, kPath, config_, recipe_, tensors_);
    if (fs.operations() <= n) {
      EXPECT_TRUE(status.ok()) << status;
      break;
    }
    const auto failed = fs.Log()[n];
    const bool best_effort = failed.kind == FileOp::kList;
    EXPECT_EQ(status.ok(), best_effort) << Name(failed.kind);
    EXPECT_EQ(memory_.Paths(), std::vector<std::string>{kPath}) << Name(failed.kind);
    const auto model = ModelFile::Open(memory_, kPath);
    ASSERT_TRUE(model.ok()) << model.status();
    const bool is_new = best_effort || failed.kind == FileOp::kSyncDirectory;
    EXPECT_EQ((*model)->recipe().name, is_new ? "q4" : "q8") << Name(failed.kind);
  }
  EXPECT_GT(n, static_cast<int64_t>(tensors_.size())) << "at least one write a tensor";
}

TEST(FileLayoutTest, ThousandsOfTensorsStayCheap) {
  const ModelConfig config = KimiLinear48B();
  const Recipe recipe = *MakeRecipe("q4");
  const auto bytes = PlannedFileBytes(config, recipe, {});
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  uint64_t tensors = 0;
  const auto table = MakeTensorTable(config, recipe);
  for (const TensorSpec& spec : table) tensors += spec.bytes;
  EXPECT_LT(*bytes - tensors, table.size() * (kDataAlignment + 128) + kDataAlignment);
  EXPECT_LT(*bytes, uint64_t{28} << 30);
}

TEST(FileLayoutTest, Limits) {
  std::vector<TensorSpec> table(1);
  table[0] = {"t", Role::kLmHead, WeightFormat::kF32, 1, 1, 64, 64};
  EXPECT_TRUE(MakeFileLayout(100, table, {}).ok());
  EXPECT_TRUE(Says(MakeFileLayout(0, table, {}).status(), "directory: 0 bytes"));
  EXPECT_TRUE(Says(MakeFileLayout(kMaxDirectoryBytes + 1, table, {}).status(), "directory: "));
  EXPECT_TRUE(Says(MakeFileLayout(100, {}, {}).status(), "number of tensors: 0"));
  EXPECT_TRUE(Says(MakeFileLayout(100, table, {kMaxBlobBytes + 1}).status(), "blob 0: "));
  table[0].bytes = kMaxTensorBytes + 1;
  EXPECT_TRUE(Says(MakeFileLayout(100, table, {}).status(), "tensor t: 1099511627777 bytes"));
  table[0].bytes = kMaxTensorBytes;
  table.resize(65, table[0]);  // 65 TiB in all
  EXPECT_TRUE(Says(MakeFileLayout(100, table, {}).status(), "file: "));
}

}  // namespace
}  // namespace rill
