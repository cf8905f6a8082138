// Opening and loading sound files: what comes out, on the way, in place, cancelled, failing.
#include "model/weights/reader.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/device/device.h"
#include "tests/support/faulty_file.h"
#include "tests/support/memory_fs.h"
#include "tests/support/says.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_model_file.h"

namespace rill {
namespace {

using test::Fault;
using test::FaultyFileSystem;
using test::MemoryFileSystem;
using test::Says;
using test::TinyConfig;

constexpr char kPath[] = "/m/tiny.rill";

// A device whose memory is not the host's, as far as the loader can tell.
class FarDevice : public Device {
 public:
  explicit FarDevice(std::unique_ptr<Device> near) : near_(std::move(near)) {}
  const DeviceInfo& info() const override { return near_->info(); }
  const OpTable& ops() const override { return near_->ops(); }
  bool is_host() const override { return false; }
  absl::StatusOr<void*> Allocate(size_t bytes) override { return near_->Allocate(bytes); }
  void Free(void* data, size_t bytes) override { near_->Free(data, bytes); }
  uint64_t allocated_bytes() const override { return near_->allocated_bytes(); }
  uint64_t peak_allocated_bytes() const override { return near_->peak_allocated_bytes(); }
  absl::Status CopyIn(void* dst, const void* src, size_t bytes) override {
    return near_->CopyIn(dst, src, bytes);
  }
  absl::Status CopyOut(void* dst, const void* src, size_t bytes) override {
    return near_->CopyOut(dst, src, bytes);
  }
  absl::Status CopyOn(void* dst, const void* src, size_t bytes) override {
    return near_->CopyOn(dst, src, bytes);
  }
  absl::Status Fill(void* dst, uint8_t byte, size_t bytes) override {
    return near_->Fill(dst, byte, bytes);
  }
  absl::Status Synchronize() override { return near_->Synchronize(); }
  absl::Status fault() const override { return near_->fault(); }

 private:
  std::unique_ptr<Device> near_;
};

class ReaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = OpenDevice("ref");
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    Write(fs_, kPath);
  }

  void Write(FileSystem& fs, const std::string& path) {
    tensors_ = test::RandomTensorBytes(table_, random_);
    const absl::Status status = test::WriteModelFile(fs, path, config_, recipe_, tensors_);
    ASSERT_TRUE(status.ok()) << status;
  }

  std::unique_ptr<const ModelFile> Open(FileSystem& fs, const std::string& path = kPath) {
    auto model = ModelFile::Open(fs, path);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *std::move(model) : nullptr;
  }

  // Every tensor's bytes are the file's.
  void ExpectBytes(const Weights& weights) {
    for (size_t i = 0; i < table_.size(); ++i) {
      const TensorSpec& spec = table_[i];
      const void* data;
      if (spec.role == Role::kExpert) {
        const auto experts = weights.Experts("layers.1.moe.expert", 2, spec.cols, spec.rows);
        ASSERT_TRUE(experts.ok()) << experts.status();
        data = experts->record[spec.name.back() - '0'];
      } else {
        const auto matrix = weights.Matrix(spec.name, spec.rows, spec.cols);
        ASSERT_TRUE(matrix.ok()) << matrix.status();
        data = matrix->values;
      }
      EXPECT_EQ(std::memcmp(data, tensors_[i].data(), spec.bytes), 0) << spec.name;
    }
  }

  test::Random random_;
  MemoryFileSystem fs_;
  const ModelConfig config_ = TinyConfig();
  const Recipe recipe_ = *MakeRecipe("q8");
  const std::vector<TensorSpec> table_ = MakeTensorTable(config_, recipe_);
  std::vector<std::string> tensors_;
  std::unique_ptr<Device> device_;
};

TEST_F(ReaderTest, TheConfigComesBackWhole) {
  ModelConfig c = config_;
  c.rms_norm_eps = 3e-5f;
  c.tie_embeddings = true;
  c.conv_width = 3;
  c.q_lora_rank = 12;
  c.kv_norm_eps = 2e-6f;
  c.n_experts = 4;
  c.experts_per_token = 2;
  c.router_activation = RouterActivation::kSoftmax;
  c.router_renormalize = false;
  c.router_scaling = 2.5f;
  c.router_groups = 2;
  c.bos_token = c.eos_token = c.pad_token = -1;
  const auto table = MakeTensorTable(c, recipe_);
  ASSERT_TRUE(
      test::WriteModelFile(fs_, "/c", c, recipe_, test::RandomTensorBytes(table, random_)).ok());
  const auto model = Open(fs_, "/c");
  ASSERT_NE(model, nullptr);
  const ModelConfig& r = model->config();
  EXPECT_EQ(r.rms_norm_eps, 3e-5f);
  EXPECT_TRUE(r.tie_embeddings);
  EXPECT_EQ(r.max_context, 512);
  EXPECT_EQ(r.conv_width, 3);
  EXPECT_EQ(r.kda_gate_rank, 16);
  EXPECT_EQ(r.q_lora_rank, 12);
  EXPECT_EQ(r.kv_norm_eps, 2e-6f);
  EXPECT_EQ(r.router_activation, RouterActivation::kSoftmax);
  EXPECT_FALSE(r.router_renormalize);
  EXPECT_EQ(r.router_scaling, 2.5f);
  EXPECT_EQ(r.router_groups, 2);
  EXPECT_EQ(r.bos_token, -1);
  ASSERT_EQ(r.n_layers(), 2);
  EXPECT_EQ(r.layers[1].mixer, MixerKind::kMla);
  EXPECT_EQ(r.layers[1].ffn, FfnKind::kMoe);
  const Fingerprint& a = model->fingerprint();
  const auto other = Open(fs_);  // the fixture's config
  EXPECT_NE(std::memcmp(a.architecture, other->fingerprint().architecture, 32), 0);
}

TEST_F(ReaderTest, ARecipeOfItsOwn) {
  Recipe mixed = *MakeRecipe("q4");
  mixed.name = "q4, head and experts apart";
  mixed.format[static_cast<int>(Role::kLmHead)] = WeightFormat::kBf16;
  mixed.format[static_cast<int>(Role::kExpert)] = WeightFormat::kQ8;
  const auto tensors = test::RandomTensorBytes(MakeTensorTable(config_, mixed), random_);
  ASSERT_TRUE(test::WriteModelFile(fs_, "/mixed", config_, mixed, tensors).ok());
  const auto model = Open(fs_, "/mixed");
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->recipe().name, mixed.name);
  for (int i = 0; i < kRoleCount; ++i) EXPECT_EQ(model->recipe().format[i], mixed.format[i]);
}

TEST_F(ReaderTest, CopiesMapsAndUploadsTheSameBytes) {
  const auto model = Open(fs_);
  ASSERT_NE(model, nullptr);
  for (bool verify : {false, true}) {
    const auto copied = LoadWeights(*model, *device_, LoadMode::kCopy, verify, nullptr);
    ASSERT_TRUE(copied.ok()) << copied.status();
    ExpectBytes(**copied);
    EXPECT_EQ((*copied)->device_bytes(), PlannedWeightBytes(table_));
    EXPECT_EQ(device_->allocated_bytes(), PlannedWeightBytes(table_));
    const auto mapped = LoadWeights(*model, *device_, LoadMode::kMap, verify, nullptr);
    ASSERT_TRUE(mapped.ok()) << mapped.status();
    ExpectBytes(**mapped);
    EXPECT_EQ((*mapped)->device_bytes(), 0u);
    EXPECT_EQ((*mapped)->tensor_bytes(), (*copied)->tensor_bytes());
  }
  EXPECT_EQ(device_->allocated_bytes(), 0u);
  FarDevice far(*OpenDevice("ref"));
  const auto uploaded = LoadWeights(*model, far, LoadMode::kCopy, true, nullptr);
  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  ExpectBytes(**uploaded);
  const absl::Status status = LoadWeights(*model, far, LoadMode::kMap, true, nullptr).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(Says(status, "host devices only, and ref"));
}

TEST_F(ReaderTest, OnARealDiskTheMappingOutlivesTheModelFile) {
  test::TempDir dir;
  Write(*FileSystem::Posix(), dir / "m.rill");
  auto model = Open(*FileSystem::Posix(), dir / "m.rill");
  ASSERT_NE(model, nullptr);
  const auto mapped = LoadWeights(*model, *device_, LoadMode::kMap, true, nullptr);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  model.reset();
  ExpectBytes(**mapped);
}

TEST_F(ReaderTest, ProgressRisesFromNothingToAll) {
  const auto model = Open(fs_);
  uint64_t total_bytes = 0;
  for (const TensorSpec& spec : table_) total_bytes += spec.bytes;
  for (LoadMode mode : {LoadMode::kCopy, LoadMode::kMap}) {
    uint64_t last = 0, calls = 0;
    const LoadProgress progress = [&](uint64_t done, uint64_t total) {
      EXPECT_EQ(total, total_bytes);
      EXPECT_TRUE(calls == 0 ? done == 0 : done > last) << done << " after " << last;
      last = done;
      ++calls;
      return false;
    };
    ASSERT_TRUE(LoadWeights(*model, *device_, mode, true, progress).ok());
    EXPECT_EQ(last, total_bytes);
    for (uint64_t stop = 0; stop < calls; ++stop) {
      uint64_t seen = 0;
      const LoadProgress cancel = [&](uint64_t, uint64_t) { return seen++ == stop; };
      const absl::Status status = LoadWeights(*model, *device_, mode, true, cancel).status();
      EXPECT_TRUE(absl::IsCancelled(status)) << status;
      EXPECT_EQ(seen, stop + 1) << "never asked again";
      EXPECT_EQ(device_->allocated_bytes(), 0u);
    }
  }
}

TEST_F(ReaderTest, EveryFailingOperationIsAnErrorAndLeaksNothing) {
  for (LoadMode mode : {LoadMode::kCopy, LoadMode::kMap}) {
    int64_t n = 0;
    for (;; ++n) {
      FaultyFileSystem faulty(fs_, Fault{n, absl::StatusCode::kUnavailable});
      absl::Status status;
      {
        const auto model = ModelFile::Open(faulty, kPath);
        status = model.status();
        if (model.ok()) status = LoadWeights(**model, *device_, mode, true, nullptr).status();
      }
      EXPECT_EQ(device_->allocated_bytes(), 0u) << n;
      if (faulty.operations() <= n) {
        EXPECT_TRUE(status.ok()) << status;
        break;
      }
      EXPECT_TRUE(absl::IsUnavailable(status)) << n << " " << status;
      EXPECT_TRUE(Says(status, FaultyFileSystem::kMessage));
    }
    EXPECT_GT(n, 5);
  }
}

TEST_F(ReaderTest, BlobsAndFingerprints) {
  const auto model = Open(fs_);
  EXPECT_EQ(*model->Blob("tokenizer.tiktoken"), test::TinyBlobs()[0].bytes);
  const absl::Status missing = model->Blob("tokenizer").status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_TRUE(Says(missing, "no blob tokenizer"));
  const auto again = Open(fs_);
  EXPECT_EQ(std::memcmp(&model->fingerprint(), &again->fingerprint(), sizeof(Fingerprint)), 0);
  tensors_[3][1] = static_cast<char>(tensors_[3][1] ^ 1);
  ASSERT_TRUE(test::WriteModelFile(fs_, "/other", config_, recipe_, tensors_).ok());
  const auto other = Open(fs_, "/other");
  const Fingerprint &a = model->fingerprint(), &b = other->fingerprint();
  EXPECT_NE(std::memcmp(a.weights, b.weights, 32), 0) << "one bit of one weight";
  EXPECT_EQ(std::memcmp(a.architecture, b.architecture, 32), 0);
  EXPECT_EQ(std::memcmp(a.tokenizer, b.tokenizer, 32), 0);
}

TEST_F(ReaderTest, TheTokenizerFingerprintIsOfTokenizerBlobsAlone) {
  const auto open_with = [&](std::vector<BlobSpec> blobs) {
    auto writer = ModelWriter::Create(fs_, "/b", config_, recipe_, std::move(blobs));
    EXPECT_TRUE(writer.ok());
    for (size_t i = 0; i < tensors_.size(); ++i)
      EXPECT_TRUE((*writer)->Write(i, 0, tensors_[i].data(), tensors_[i].size()).ok());
    EXPECT_TRUE((*writer)->Finish().ok());
    const auto model = Open(fs_, "/b");
    const uint8_t* hash = model->fingerprint().tokenizer;
    return std::string(hash, hash + 32);
  };
  const std::string base = open_with({{"tokenizer.a", "one"}, {"note", "x"}});
  EXPECT_EQ(base, open_with({{"note", "y"}, {"tokenizer.a", "one"}}));
  EXPECT_NE(base, open_with({{"tokenizer.a", "two"}, {"note", "x"}}));
  EXPECT_NE(base, open_with({{"tokenizer.b", "one"}, {"note", "x"}}));
  EXPECT_NE(base, open_with({{"note", "x"}}));
}

TEST_F(ReaderTest, NoRoomForWeightsNamesTheBytes) {
  class FullDevice : public FarDevice {
   public:
    using FarDevice::FarDevice;
    absl::StatusOr<void*> Allocate(size_t bytes) override {
      return absl::ResourceExhaustedError(std::to_string(bytes) + " bytes asked for");
    }
  } full(*OpenDevice("ref"));
  const auto model = Open(fs_);
  const absl::Status status = LoadWeights(*model, full, LoadMode::kCopy, true, nullptr).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_TRUE(Says(status, std::to_string(PlannedWeightBytes(table_))));
}

}  // namespace
}  // namespace rill
