// Hostile files. Every byte and every length of a tiny model is tried; lies keep their checksums
// true, so that they reach the checks behind them.
#include "model/format/container.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flatbuffers/flatbuffers.h"
#include "gtest/gtest.h"
#include "kernels/device/device.h"
#include "model/format/model_generated.h"
#include "model/weights/reader.h"
#include "model/weights/validate.h"
#include "tests/support/memory_fs.h"
#include "tests/support/says.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_model_file.h"

namespace rill {
namespace {

using test::HeaderOf;
using test::MemoryFileSystem;
using test::Repair;
using test::Says;

constexpr char kPath[] = "/m/tiny.rill";

class ContainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    device_ = *OpenDevice("ref");
    const auto tensors = test::RandomTensorBytes(table_, random_);
    ASSERT_TRUE(
        test::WriteModelFile(fs_, kPath, test::TinyConfig(), *MakeRecipe("q4"), tensors).ok());
    good_ = fs_.Get(kPath);
    ASSERT_TRUE(Open().ok());
    data_begin_ = (*ModelFile::Open(fs_, kPath))->offset(0);
  }

  absl::Status Open() { return ModelFile::Open(fs_, kPath).status(); }
  absl::Status OpenBytes(std::string bytes) {
    fs_.Put(kPath, std::move(bytes));
    return Open();
  }
  absl::Status Load() {
    const auto model = ModelFile::Open(fs_, kPath);
    if (!model.ok()) return model.status();
    return LoadWeights(**model, *device_, LoadMode::kCopy, true, nullptr).status();
  }

  // A file whose header and directory say these bytes.
  std::string WithDirectory(const std::string& directory) const {
    std::string file = good_.substr(0, kHeaderBytes) + directory;
    FileHeader header = HeaderOf(file);
    header.directory_bytes = directory.size();
    std::memcpy(file.data(), &header, sizeof header);
    const uint64_t begin = (file.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
    file.resize(begin, '\0');
    file += good_.substr(data_begin_);
    Repair(file);
    return file;
  }

  test::Random random_;
  MemoryFileSystem fs_;
  const std::vector<TensorSpec> table_ = MakeTensorTable(test::TinyConfig(), *MakeRecipe("q4"));
  std::string good_;
  uint64_t data_begin_ = 0;
  std::unique_ptr<Device> device_;
};

// --- damage: the checksums are what notices ---

TEST_F(ContainerTest, EveryBitOfHeaderAndDirectory) {
  const uint64_t end = kDirectoryOffset + HeaderOf(good_).directory_bytes;
  for (uint64_t at = 0; at < end; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      fs_.Poke(kPath, at, static_cast<char>(good_[at] ^ (1 << bit)));
      const absl::Status status = Open();
      const bool by_magic = at < 8, by_version = at >= 8 && at < 12;
      const auto expected = by_magic     ? absl::StatusCode::kInvalidArgument
                            : by_version ? absl::StatusCode::kFailedPrecondition
                                         : absl::StatusCode::kDataLoss;
      ASSERT_EQ(status.code(), expected) << "byte " << at << " bit " << bit << ": " << status;
    }
    fs_.Poke(kPath, at, good_[at]);
  }
  EXPECT_TRUE(Open().ok());
}

TEST_F(ContainerTest, EveryByteOfTheDirectorysPadding) {
  const uint64_t begin = kDirectoryOffset + HeaderOf(good_).directory_bytes;
  for (uint64_t at = begin; at < data_begin_; ++at) {
    fs_.Poke(kPath, at, 1);
    const absl::Status status = Open();
    ASSERT_TRUE(absl::IsDataLoss(status)) << at << ": " << status;
    ASSERT_TRUE(Says(status, "padding at " + std::to_string(at) + " holds 1"));
    fs_.Poke(kPath, at, 0);
  }
}

TEST_F(ContainerTest, EveryTruncation) {
  for (uint64_t size = good_.size(); size-- > 0;) {
    fs_.Resize(kPath, size);
    const absl::Status status = Open();
    const auto expected =
        size < 8 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kDataLoss;
    if (size >= 8 && size < 12) {  // the version is cut off
      ASSERT_FALSE(status.ok()) << size;
      continue;
    }
    ASSERT_EQ(status.code(), expected) << size << ": " << status;
  }
}

TEST_F(ContainerTest, EveryExtension) {
  for (uint64_t more : {1, 63, 64, 4096, 65536}) {
    const absl::Status status = OpenBytes(good_ + std::string(more, '\0'));
    EXPECT_TRUE(absl::IsDataLoss(status)) << more;
    EXPECT_TRUE(Says(status, "size of the file is " + std::to_string(good_.size() + more) +
                                 ", expected " + std::to_string(good_.size())));
  }
}

TEST_F(ContainerTest, EveryTensorAndEveryGap) {
  const auto model = *ModelFile::Open(fs_, kPath);
  uint64_t end = data_begin_;
  for (size_t i = 0; i < table_.size(); ++i) {
    const uint64_t begin = model->offset(i), last = begin + table_[i].bytes - 1;
    const uint64_t inside = begin + static_cast<uint64_t>(random_.Int(0, table_[i].bytes - 1));
    for (uint64_t at : {begin, inside, last}) {
      fs_.Poke(kPath, at, static_cast<char>(good_[at] ^ 0x10));
      const absl::Status status = Load();
      EXPECT_TRUE(absl::IsDataLoss(status)) << status;
      EXPECT_TRUE(Says(status, "tensor " + table_[i].name + ": checksum"));
      fs_.Poke(kPath, at, good_[at]);
    }
    for (uint64_t at : {end, begin - 1}) {
      if (end == begin) break;
      fs_.Poke(kPath, at, 7);
      const absl::Status status = Load();
      EXPECT_TRUE(absl::IsDataLoss(status)) << status;
      EXPECT_TRUE(Says(status, "padding at " + std::to_string(at) + " holds 7"));
      fs_.Poke(kPath, at, 0);
    }
    end = last + 1;
  }
  EXPECT_TRUE(Load().ok());
}

TEST_F(ContainerTest, EveryByteBehindTheTensors) {  // blobs and the padding before them
  const auto model = *ModelFile::Open(fs_, kPath);
  const uint64_t begin = model->offset(table_.size() - 1) + table_.back().bytes;
  for (uint64_t at = begin; at < good_.size(); ++at) {
    fs_.Poke(kPath, at, static_cast<char>(good_[at] ^ 0x20));
    const auto damaged = ModelFile::Open(fs_, kPath);
    absl::Status status = damaged.status();
    // A blob that is no part of an identity is checked when it is read.
    if (damaged.ok()) status = (*damaged)->Blob("note").status();
    ASSERT_TRUE(absl::IsDataLoss(status)) << at << ": " << status;
    fs_.Poke(kPath, at, good_[at]);
  }
}

TEST_F(ContainerTest, SwappedTensors) {
  const auto model = *ModelFile::Open(fs_, kPath);
  int swaps = 0;
  for (size_t i = 0; i + 1 < table_.size(); ++i) {
    for (size_t j = i + 1; j < table_.size(); ++j) {
      if (table_[i].bytes != table_[j].bytes) continue;
      std::string file = good_;
      std::swap_ranges(file.begin() + model->offset(i),
                       file.begin() + model->offset(i) + table_[i].bytes,
                       file.begin() + model->offset(j));
      fs_.Put(kPath, file);
      ASSERT_TRUE(Says(Load(), "tensor " + table_[i].name + ": checksum")) << table_[j].name;
      ++swaps;
    }
  }
  EXPECT_GT(swaps, 10);
}

// --- lies: every checksum is right ---

TEST_F(ContainerTest, NotOurs) {
  EXPECT_TRUE(Says(OpenBytes(""), "/m/tiny.rill: not a Rill model file"));
  EXPECT_TRUE(Says(OpenBytes("GGUF" + std::string(100000, 'x')), "not a Rill model file"));
  std::string text_mode = good_;
  text_mode.erase(4, 1);  // CR LF became LF
  EXPECT_TRUE(Says(OpenBytes(text_mode), "not a Rill model file"));
}

TEST_F(ContainerTest, HeadersThatLie) {
  const auto with = [&](auto edit) {
    FileHeader header = HeaderOf(good_);
    edit(header);
    std::string file = good_;
    header.header_crc = 0;
    std::memcpy(file.data(), &header, sizeof header);
    header.header_crc = Crc32c(file.data(), kHeaderBytes);
    std::memcpy(file.data(), &header, sizeof header);
    return OpenBytes(file);
  };
  EXPECT_TRUE(with([](FileHeader&) {}).ok());
  const absl::Status newer = with([](FileHeader& h) { h.major = 2; });
  EXPECT_TRUE(absl::IsFailedPrecondition(newer));
  EXPECT_TRUE(Says(newer, "version 2.0, this build reads 1.0 to 1.0"));
  EXPECT_TRUE(Says(with([](FileHeader& h) { h.minor = 1; }), "version 1.1"));
  EXPECT_TRUE(Says(with([](FileHeader& h) { h.reserved = 1; }), "unused part of the header"));
  for (uint64_t size : {uint64_t{0}, uint64_t{1} << 63, ~uint64_t{0}, kMaxDirectoryBytes + 1,
                        uint64_t{good_.size()}}) {
    EXPECT_TRUE(Says(with([&](FileHeader& h) { h.directory_bytes = size; }),
                     "size of the directory is " + std::to_string(size)));
  }
  for (uint64_t size : {uint64_t{0}, uint64_t{good_.size() - 1}, ~uint64_t{0}}) {
    EXPECT_TRUE(Says(with([&](FileHeader& h) { h.file_bytes = size; }),
                     "expected " + std::to_string(size)));
  }
}

// Whatever a byte or a word of the directory is changed to: an error, or a file that is as sound.
TEST_F(ContainerTest, EveryByteAndWordOfTheDirectoryWithTrueChecksums) {
  const uint64_t begin = kDirectoryOffset, end = begin + HeaderOf(good_).directory_bytes;
  int accepted = 0;
  const auto attempt = [&](uint64_t at, const void* bytes, size_t n) {
    std::string directory = good_.substr(begin, end - begin);
    std::memcpy(directory.data() + (at - begin), bytes, n);
    // Straight to the decoder: the checksums only stand in the way here.
    const auto decoded = DecodeDirectory(directory, good_.size());
    if (!decoded.ok()) {
      EXPECT_NE(decoded.status().message(), "");
      return;
    }
    ++accepted;
    ASSERT_EQ(decoded->table.size(), table_.size());
    for (size_t i = 0; i < table_.size(); ++i) ASSERT_EQ(decoded->table[i].bytes, table_[i].bytes);
  };
  for (uint64_t at = begin; at < end; ++at) {
    for (int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      const char byte = static_cast<char>(value);
      attempt(at, &byte, 1);
    }
  }
  for (uint64_t at = begin; at + 4 <= end; ++at) {
    for (uint32_t word : {0u, 1u, 0x7fffffffu, 0xffffffffu, static_cast<uint32_t>(end - at)})
      attempt(at, &word, 4);
  }
  EXPECT_GT(accepted, 0) << "a checksum or the producer may be anything";
}

TEST_F(ContainerTest, RandomDirectoriesWithTrueChecksums) {
  for (int i = 0; i < 3000; ++i) {
    std::string directory = test::DirectoryIn(good_);
    for (int64_t edits = random_.Int(1, 8); edits > 0; --edits) {
      const size_t at = random_.Int(0, directory.size() - 1);
      directory[at] = static_cast<char>(random_.Bits());
    }
    if (random_.Int(0, 3) == 0) directory.resize(random_.Int(1, directory.size()));
    fs_.Put(kPath, WithDirectory(directory));
    const absl::Status status = Load();  // an error or not, but an end
    EXPECT_TRUE(status.ok() || !status.message().empty());
  }
}

// --- lies with a meaning, made with the builder ---

class LyingDirectoryTest : public ContainerTest {
 protected:
  void SetUp() override {
    ContainerTest::SetUp();
    true_ = *DecodeDirectory(test::DirectoryIn(good_), good_.size());
  }

  template <typename Edit>
  absl::Status With(Edit edit) {
    Directory d = true_;
    edit(d);
    const std::string directory = EncodeDirectory(d);
    fs_.Put(kPath, WithDirectory(directory));
    return Open();
  }

  Directory true_;
};

TEST_F(LyingDirectoryTest, TheTruthIsAccepted) {
  EXPECT_TRUE(With([](Directory&) {}).ok());
}

TEST_F(LyingDirectoryTest, Tensors) {
  EXPECT_TRUE(Says(With([](auto& d) { d.table[3].name = d.table[2].name; }),
                   "name of tensor 3 is layers.0.kda.q, expected layers.0.kda.k"));
  EXPECT_TRUE(Says(With([](auto& d) { d.table[0].name = std::string(5000, 'n'); }),
                   "name of tensor 0 is nnn"));
  EXPECT_TRUE(Says(With([](auto& d) { std::swap(d.table[2], d.table[3]); }), "name of tensor 2"));
  EXPECT_TRUE(Says(With([](auto& d) { d.table[0].role = Role::kExpert; }),
                   "tensor embedding: role is 9, expected 3"));
  EXPECT_TRUE(Says(With([](auto& d) { d.table[0].format = static_cast<WeightFormat>(77); }),
                   "tensor embedding: format is 77, expected 3"));
  EXPECT_TRUE(Says(With([](auto& d) { d.table[0].rows = 0xffffffff; }),
                   "tensor embedding: rows is 4294967295, expected 20"));
  EXPECT_TRUE(
      Says(With([](auto& d) { d.table[0].cols = 0; }), "tensor embedding: cols is 0, expected 40"));
  EXPECT_TRUE(Says(With([](auto& d) { d.table[0].bytes = ~uint64_t{0}; }),
                   "tensor embedding: bytes is 18446744073709551615"));
  EXPECT_TRUE(Says(With([](auto& d) { d.table.pop_back(), d.offsets.pop_back(); }),
                   "number of tensors is " + std::to_string(table_.size() - 1) + ", expected " +
                       std::to_string(table_.size())));
  EXPECT_TRUE(Says(With([](auto& d) {
                     d.table.push_back(d.table.back());
                     d.offsets.push_back(d.offsets.back());
                     d.crcs.push_back(0);
                   }),
                   "number of tensors is"));
}

TEST_F(LyingDirectoryTest, Places) {
  for (uint64_t offset : {uint64_t{0}, true_.offsets[5] + 64, true_.offsets[4], ~uint64_t{0}}) {
    EXPECT_TRUE(Says(
        With([&](auto& d) { d.offsets[5] = offset; }),
        "offset is " + std::to_string(offset) + ", expected " + std::to_string(true_.offsets[5])));
  }
  EXPECT_TRUE(
      Says(With([](auto& d) { d.blobs[0].offset = 0; }), "blob tokenizer.tiktoken: offset is 0"));
  EXPECT_TRUE(Says(With([](auto& d) { d.blobs[1].bytes += 1; }), "size of the file is"));
  EXPECT_TRUE(Says(With([](auto& d) { d.blobs[1].bytes = ~uint64_t{0}; }), "blob 1: 184467440"));
  EXPECT_TRUE(Says(With([](auto& d) { d.blobs[1].bytes = 0; }), "blob 1: 0 bytes"));
  EXPECT_TRUE(Says(With([](auto& d) { d.blobs.pop_back(); }), "size of the file is"));
}

TEST_F(LyingDirectoryTest, Blobs) {
  EXPECT_TRUE(Says(With([](auto& d) { d.blobs[1].name = d.blobs[0].name; }), "two blobs named"));
  EXPECT_TRUE(Says(With([](auto& d) { d.blobs[1].name = ""; }), "name length of blob 1 is 0"));
  EXPECT_TRUE(Says(With([](auto& d) { d.blobs[1].name = std::string(257, 'b'); }), "is 257"));
  EXPECT_TRUE(Says(With([](auto& d) { d.blobs.resize(65, d.blobs[0]); }),
                   "number of blobs is 65, expected at most 64"));
  EXPECT_TRUE(
      Says(With([](auto& d) { d.blobs[0].crc ^= 1; }), "checksum of blob tokenizer.tiktoken"));
}

TEST_F(LyingDirectoryTest, ConfigAndRecipe) {
  EXPECT_TRUE(Says(With([](auto& d) { d.config.hidden_size = -40; }), "hidden_size is -40"));
  EXPECT_TRUE(Says(With([](auto& d) { d.config.kda_heads = int64_t{1} << 62; }), "kda_heads is"));
  EXPECT_TRUE(Says(With([](auto& d) { d.config.n_experts = 4000; }), "number of tensors is"));
  EXPECT_TRUE(Says(With([](auto& d) { d.config.layers.resize(2000); }), "number of layers is"));
  EXPECT_TRUE(Says(With([](auto& d) { d.config.layers[0].mixer = MixerKind{200}; }),
                   "layer 0: mixer is 200"));
  EXPECT_TRUE(Says(With([](auto& d) { d.config.rms_norm_eps = -1; }), "rms_norm_eps is -1"));
  EXPECT_TRUE(Says(With([](auto& d) { d.recipe.name = "q8"; }), "recipe \"q8\""));
  EXPECT_TRUE(Says(With([](auto& d) { d.recipe.name = ""; }), "length of the recipe's name is 0"));
  EXPECT_TRUE(Says(With([](auto& d) {
                     d.recipe.name = "mine";
                     d.recipe.format[9] = static_cast<WeightFormat>(9);
                   }),
                   "expert has format 9"));
}

TEST_F(LyingDirectoryTest, UnknownLayouts) {
  for (std::string_view tag : {kMatrixLayoutTag, kExpertLayoutTag}) {
    std::string directory = test::DirectoryIn(good_);
    directory[directory.find(tag) + tag.size() - 1] = '9';
    const absl::Status status = OpenBytes(WithDirectory(directory));
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_TRUE(Says(status, "-v9\", this build reads \"" + std::string(tag)));
  }
}

// A few bytes that a reader which copies what it finds would turn into gigabytes: every entry is an
// offset to one and the same table.
std::string SharedTables(const Directory& d, uint32_t n_tensors, uint32_t name_bytes) {
  flatbuffers::FlatBufferBuilder b;
  b.ForceDefaults(true);
  const auto text = [&](std::string_view s) { return b.CreateString(s.data(), s.size()); };
  const auto tensor = fb::CreateTensor(b, text(std::string(name_bytes, 'n')));
  const auto tensors =
      b.CreateVector(std::vector<flatbuffers::Offset<fb::Tensor>>(n_tensors, tensor));
  const auto blobs = b.CreateVector(std::vector<flatbuffers::Offset<fb::Blob>>());
  const std::vector<uint8_t> kinds(d.config.layers.size(), 0), formats(kRoleCount, 0);
  const auto mixers = b.CreateVector(kinds);
  fb::ConfigBuilder config(b);
  config.add_mixers(mixers);
  config.add_ffns(mixers);
  const auto config_at = config.Finish();
  const auto recipe_name = text("f32");
  const auto recipe = fb::CreateRecipe(b, recipe_name, b.CreateVector(formats));
  const auto matrix = text(kMatrixLayoutTag), expert = text(kExpertLayoutTag);
  const auto producer = text("bomb");
  fb::FinishModelBuffer(
      b, fb::CreateModel(b, producer, matrix, expert, config_at, recipe, tensors, blobs));
  return std::string(reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize());
}

TEST_F(LyingDirectoryTest, SharedTables) {
  // Past the verifier's bound on tables: not looked at further.
  const std::string many = SharedTables(true_, kMaxTensors + 100, 1000000);
  EXPECT_TRUE(absl::IsDataLoss(OpenBytes(WithDirectory(many))));
  // Within it: refused by the config, the count or a name, with nothing copied on the way.
  const std::string few = SharedTables(true_, 100000, 1000000);
  const absl::Status status = OpenBytes(WithDirectory(few));
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_LT(status.message().size(), 1000u);
}

TEST_F(LyingDirectoryTest, TheNamesOfAllTensorsShared) {
  Directory d = true_;
  for (TensorSpec& spec : d.table) spec.name = "embedding";
  EXPECT_TRUE(Says(With([&](auto& e) { e = d; }),
                   "name of tensor 1 is embedding, expected layers.0.input_norm"));
}

TEST_F(LyingDirectoryTest, NotAFlatBuffer) {
  const std::string directory = test::DirectoryIn(good_);
  std::string other_identifier = directory;
  other_identifier[7] = 'X';
  for (const std::string& bytes :
       {std::string("x"), std::string(8, '\0'), std::string(5000, '\xff'), other_identifier,
        directory.substr(0, directory.size() / 2)}) {
    const absl::Status status = OpenBytes(WithDirectory(bytes));
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_TRUE(Says(status, "is not a sound FlatBuffer"));
  }
}

}  // namespace
}  // namespace rill
