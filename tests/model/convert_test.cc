#include "model/convert/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/base/thread_pool.h"
#include "kernels/ops/quantize.h"
#include "kernels/ref/open_ref.h"
#include "model/convert/checkpoint.h"
#include "model/convert/encode.h"
#include "model/convert/kimi_linear.h"
#include "model/weights/reader.h"
#include "tests/support/failing_file_system.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"

namespace rill {
namespace {

using test::Floats;
using test::StoredTensor;
using test::TempDir;
using test::TinyCheckpoint;
using test::TinyShape;

using Tensors = std::map<std::string, StoredTensor>;

std::string GoldenFolder(const std::string& name) {
  return std::string(RILL_SOURCE_DIR) + "/tests/golden/" + name;
}

ConvertOptions Options(const std::string& input, const std::string& output,
                       const std::string& recipe) {
  ConvertOptions options;
  options.input = input;
  options.output = output;
  options.recipe = recipe;
  options.threads = 2;
  return options;
}

// Our name of a checkpoint tensor, said a second time and in another way than the converter does.
std::string OurName(const std::string& theirs, bool is_mla) {
  if (theirs == "model.embed_tokens.weight") return "embedding";
  if (theirs == "model.norm.weight") return "final_norm";
  if (theirs == "lm_head.weight") return "lm_head";
  const size_t dot = theirs.find('.', 13);  // after "model.layers.N"
  const std::string layer = theirs.substr(6, dot - 6) + ".", rest = theirs.substr(dot + 1);
  if (rest.starts_with("block_sparse_moe.experts.")) {
    const std::string expert = rest.substr(25, rest.find('.', 25) - 25);
    return layer + "moe.expert." + expert;
  }
  static const std::map<std::string, std::string> kShared = {
      {"input_layernorm.weight", "input_norm"},
      {"post_attention_layernorm.weight", "post_norm"},
      {"mlp.gate_proj.weight", "ffn.gate"},
      {"mlp.up_proj.weight", "ffn.up"},
      {"mlp.down_proj.weight", "ffn.down"},
      {"block_sparse_moe.gate.weight", "moe.router"},
      {"block_sparse_moe.gate.e_score_correction_bias", "moe.router_bias"},
      {"block_sparse_moe.shared_experts.gate_proj.weight", "moe.shared.gate"},
      {"block_sparse_moe.shared_experts.up_proj.weight", "moe.shared.up"},
      {"block_sparse_moe.shared_experts.down_proj.weight", "moe.shared.down"}};
  static const std::map<std::string, std::string> kKda = {
      {"q_proj.weight", "q"},        {"k_proj.weight", "k"},        {"v_proj.weight", "v"},
      {"q_conv1d.weight", "conv_q"}, {"k_conv1d.weight", "conv_k"}, {"v_conv1d.weight", "conv_v"},
      {"f_a_proj.weight", "f_a"},    {"f_b_proj.weight", "f_b"},    {"g_a_proj.weight", "g_a"},
      {"g_b_proj.weight", "g_b"},    {"b_proj.weight", "b"},        {"A_log", "a_log"},
      {"dt_bias", "dt_bias"},        {"o_norm.weight", "o_norm"},   {"o_proj.weight", "o"}};
  static const std::map<std::string, std::string> kMla = {{"q_proj.weight", "q"},
                                                          {"q_a_proj.weight", "q_a"},
                                                          {"q_a_layernorm.weight", "q_norm"},
                                                          {"q_b_proj.weight", "q_b"},
                                                          {"kv_a_proj_with_mqa.weight", "kv_a"},
                                                          {"kv_a_layernorm.weight", "kv_norm"},
                                                          {"kv_b_proj.weight", "kv_b"},
                                                          {"o_proj.weight", "o"}};
  if (const auto it = kShared.find(rest); it != kShared.end()) return layer + it->second;
  const std::string attention = rest.substr(std::string("self_attn.").size());
  return layer + (is_mla ? "mla." + kMla.at(attention) : "kda." + kKda.at(attention));
}

bool IsMlaLayer(const Tensors& tensors, const std::string& name) {
  if (!name.starts_with("model.layers.")) return false;
  return tensors.contains(name.substr(0, name.find('.', 13)) + ".self_attn.kv_b_proj.weight");
}

// A converted file, opened and checked, with the bytes of its tensors at hand.
class Converted {
 public:
  explicit Converted(const std::string& path) {
    auto file = ModelFile::Open(*FileSystem::Posix(), path);
    EXPECT_TRUE(file.ok()) << file.status();
    if (file.ok()) file_ = *std::move(file);
  }
  bool ok() const { return file_ != nullptr; }
  const ModelFile& file() const { return *file_; }

  const TensorSpec* Find(const std::string& name) const {
    for (const TensorSpec& spec : file_->table()) {
      if (spec.name == name) return &spec;
    }
    return nullptr;
  }

  std::string Bytes(const TensorSpec& spec) const {
    std::string bytes(spec.bytes, '\0');
    EXPECT_TRUE(
        file_->file()
            .ReadAt(file_->offset(&spec - file_->table().data()), bytes.data(), bytes.size())
            .ok());
    return bytes;
  }

 private:
  std::unique_ptr<const ModelFile> file_;
};

// The bytes that [rows, cols] of these values must have become.
std::string Encoded(WeightFormat format, const std::vector<float>& values, int64_t rows,
                    int64_t cols) {
  std::string bytes(MatrixBytes(format, rows, cols), '\0');
  char* scales = IsQuantized(format) ? bytes.data() + ScalesOffset(format, rows, cols) : nullptr;
  QuantizeRows(format, values.data(), rows, cols, bytes.data(), scales);
  return bytes;
}

// Where the matrix of a checkpoint tensor starts in the record of its expert.
uint64_t PartOffset(const TensorSpec& spec, const std::string& name) {
  const ExpertLayout layout = MakeExpertLayout(spec.format, spec.cols, spec.rows);
  if (name.ends_with(".w1.weight")) return layout.gate;
  if (name.ends_with(".w3.weight")) return layout.up;
  return layout.down;
}

void ExpectTensor(const Converted& converted, const std::string& name, const StoredTensor& tensor,
                  bool is_mla) {
  const TensorSpec* spec = converted.Find(OurName(name, is_mla));
  ASSERT_NE(spec, nullptr) << name;
  const std::vector<float> values = Floats(tensor);
  const std::string bytes = converted.Bytes(*spec);
  if (spec->role == Role::kVector) {
    ASSERT_EQ(spec->format, WeightFormat::kF32) << name;
    EXPECT_EQ(std::memcmp(bytes.data(), values.data(), 4 * values.size()), 0) << name;
    return;
  }
  const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
  const uint64_t offset = spec->role == Role::kExpert ? PartOffset(*spec, name) : 0;
  const std::string want = Encoded(spec->format, values, rows, cols);
  EXPECT_EQ(bytes.substr(offset, want.size()), want) << name;
  if (tensor.dtype == "BF16" && spec->format == WeightFormat::kBf16) {
    EXPECT_EQ(bytes.substr(offset, tensor.bytes.size()), tensor.bytes) << name;
  }
}

// Every tensor of the checkpoint is in the file, in the right place and bit for bit, and nothing
// else is.
void ExpectConverted(const Tensors& tensors, const std::string& path, bool tied = false) {
  const Converted converted(path);
  ASSERT_TRUE(converted.ok());
  size_t n_parts = 0;
  for (const TensorSpec& spec : converted.file().table())
    n_parts += spec.role == Role::kExpert ? 3 : 1;
  size_t n_tensors = 0;
  for (const auto& [name, tensor] : tensors) {
    if (tied && name == "lm_head.weight") continue;
    ++n_tensors;
    ExpectTensor(converted, name, tensor, IsMlaLayer(tensors, name));
  }
  EXPECT_EQ(n_parts, n_tensors);
}

// The reported error of a role against one computed from the file.
void ExpectErrors(const ConvertReport& report, const Tensors& tensors, const std::string& path,
                  double low, double high) {
  const Converted converted(path);
  ASSERT_TRUE(converted.ok());
  std::map<Role, QuantError> measured;
  for (const auto& [name, tensor] : tensors) {
    const TensorSpec* spec = converted.Find(OurName(name, IsMlaLayer(tensors, name)));
    ASSERT_NE(spec, nullptr) << name;
    if (spec->role == Role::kVector) continue;
    const std::string bytes = converted.Bytes(*spec);
    const uint64_t offset = spec->role == Role::kExpert ? PartOffset(*spec, name) : 0;
    const MatrixView view =
        BindMatrix(spec->format, tensor.shape[0], tensor.shape[1], bytes.data() + offset);
    const std::vector<float> exact = Floats(tensor);
    std::vector<float> row(view.cols);
    for (int64_t r = 0; r < view.rows; ++r) {
      DequantizeRow(view, r, row.data());
      measured[spec->role].Add({exact.data() + r * view.cols, row.size()}, row);
    }
  }
  for (const RoleReport& role : report.roles) {
    const double rms = role.error.RelativeRms();
    if (!IsQuantized(role.format)) {
      EXPECT_EQ(role.error.squared_error, 0) << Name(role.role);
      EXPECT_EQ(role.worst, "") << Name(role.role);
      continue;
    }
    EXPECT_NEAR(rms, measured[role.role].RelativeRms(), 1e-9) << Name(role.role);
    EXPECT_GT(rms, low) << Name(role.role);
    EXPECT_LT(rms, high) << Name(role.role);
    EXPECT_GE(role.worst_rms, rms * (1 - 1e-12)) << Name(role.role);
    EXPECT_LT(role.worst_rms, 1.5 * high) << role.worst;
    const TensorSpec* worst = converted.Find(role.worst);
    ASSERT_NE(worst, nullptr) << role.worst;
    EXPECT_EQ(worst->role, role.role);
  }
}

class GoldenTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, Bf16KeepsEveryBit) {
  TempDir out;
  const auto report =
      Convert(Options(GoldenFolder(GetParam()), out / "m.rill", "bf16"), *FileSystem::Posix());
  ASSERT_TRUE(report.ok()) << report.status();
  const Tensors tensors = test::ReadSafetensors(GoldenFolder(GetParam()) + "/model.safetensors");
  ExpectConverted(tensors, out / "m.rill");
  for (const RoleReport& role : report->roles)
    EXPECT_EQ(role.error.squared_error, 0) << Name(role.role);
  EXPECT_EQ(out.Names(), std::set<std::string>{"m.rill"});
  EXPECT_EQ(report->plan.file_bytes, test::ReadFile(out / "m.rill").size());
  ASSERT_EQ(report->plan.notes.size(), 2u);
  EXPECT_NE(report->plan.notes[0].find("tiktoken.model"), std::string::npos)
      << report->plan.notes[0];
  EXPECT_EQ(report->plan.notes[1],
            "reference.safetensors is left out: it is no part of the checkpoint");
}

TEST_P(GoldenTest, LoadsOnADeviceWithTheSameBits) {
  TempDir out;
  const auto report =
      Convert(Options(GoldenFolder(GetParam()), out / "m.rill", "bf16"), *FileSystem::Posix());
  ASSERT_TRUE(report.ok()) << report.status();
  const Converted converted(out / "m.rill");
  ASSERT_TRUE(converted.ok());
  const std::unique_ptr<Device> device = OpenRefDevice();
  const auto weights = LoadWeights(converted.file(), *device, LoadMode::kCopy, true, nullptr);
  ASSERT_TRUE(weights.ok()) << weights.status();
  for (const TensorSpec& spec : converted.file().table()) {
    EXPECT_TRUE(spec.role == Role::kExpert || (*weights)->Has(spec.name)) << spec.name;
    if (spec.role == Role::kExpert || spec.role == Role::kVector) continue;
    const auto view = (*weights)->Matrix(spec.name, spec.rows, spec.cols);
    ASSERT_TRUE(view.ok()) << view.status();
    const std::string bytes = converted.Bytes(spec);
    EXPECT_EQ(
        std::memcmp(view->values, bytes.data(), ValuesBytes(spec.format, spec.rows, spec.cols)), 0)
        << spec.name;
  }
  const ModelConfig& config = converted.file().config();
  const Tensors tensors = test::ReadSafetensors(GoldenFolder(GetParam()) + "/model.safetensors");
  const auto experts =
      (*weights)->Experts("layers.1.moe.expert", static_cast<int>(config.n_experts),
                          config.hidden_size, config.expert_width);
  ASSERT_TRUE(experts.ok()) << experts.status();
  for (int e = 0; e < config.n_experts; ++e) {
    const std::string prefix = "model.layers.1.block_sparse_moe.experts." + std::to_string(e) + ".";
    for (const auto& [name, view] :
         {std::pair{"w1", experts->Gate(e)}, {"w3", experts->Up(e)}, {"w2", experts->Down(e)}}) {
      const StoredTensor& source = tensors.at(prefix + name + ".weight");
      EXPECT_EQ(std::memcmp(view.values, source.bytes.data(), source.bytes.size()), 0)
          << prefix << name;
    }
  }
}

TEST_P(GoldenTest, QuantizedErrorsAreReportedAndSmall) {
  const Tensors tensors = test::ReadSafetensors(GoldenFolder(GetParam()) + "/model.safetensors");
  struct Case {
    const char* recipe;
    double low, high;  // relative RMS of normally distributed weights in groups of 32
  };
  for (const Case& c : {Case{"q8", 0.002, 0.009}, Case{"q4", 0.03, 0.11}}) {
    TempDir out;
    const auto report =
        Convert(Options(GoldenFolder(GetParam()), out / "m.rill", c.recipe), *FileSystem::Posix());
    ASSERT_TRUE(report.ok()) << report.status();
    ExpectConverted(tensors, out / "m.rill");
    ExpectErrors(*report, tensors, out / "m.rill", c.low, c.high);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenTest, ::testing::Values("tiny_a", "tiny_b"));

TEST(ConvertTest, EveryShapeOfCheckpoint) {
  struct Case {
    const char* name;
    TinyShape shape;
    int shards = 1;
    bool index = false;
  };
  const Case cases[] = {
      {"plain", {}},
      {"sharded, index", {}, 3, true},
      {"sharded, no index", {}, 4, false},
      {"one shard, index", {}, 1, true},
      {"F16", {.dtype = "F16", .small_dtype = "F16"}},
      {"F32", {.dtype = "F32"}},
      {"all BF16", {.small_dtype = "BF16"}},
      {"flat A_log and convolutions", {.flat_a_log = true, .flat_conv = true}},
      {"low-rank q", {.q_rank = 20}},
      {"tied", {.tied = true}},
      {"two shared experts", {.shared = 2}},
      {"no shared expert", {.shared = 0}},
      {"three dense layers", {.dense_layers = 3}},
      {"all dense", {.dense_layers = 4}},
      {"no dense layer", {.dense_layers = 0}},
      {"odd sizes",
       {.vocab = 51, .hidden = 37, .dense_width = 41, .kv_rank = 19, .expert_width = 23},
       2},
      {"grouped experts", {.experts = 12, .experts_per_token = 3, .groups = 4, .topk_groups = 2}},
      {"twelve layers", {.mixers = "KKKMKKKMKKKM"}, 5, true},
  };
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    TempDir in, out;
    const TinyCheckpoint checkpoint(c.shape, seed);
    checkpoint.Write(in.path(), c.shards, c.index);
    for (const char* recipe : {"bf16", "q8", "q4"}) {
      SCOPED_TRACE(recipe);
      const auto report = Convert(Options(in.path(), out / "m.rill", recipe), *FileSystem::Posix());
      ASSERT_TRUE(report.ok()) << report.status();
      ExpectConverted(checkpoint.tensors, out / "m.rill");
    }
    EXPECT_EQ(out.Names(), std::set<std::string>{"m.rill"});
  }
}

TEST(ConvertTest, ThreadsDoNotChangeTheFile) {
  TempDir in, out;
  const TinyCheckpoint checkpoint({.vocab = 700, .hidden = 200}, 7);
  checkpoint.Write(in.path());
  std::string first;
  double first_error = 0;
  for (const int threads : {1, 2, 5}) {
    ConvertOptions options = Options(in.path(), out / "m.rill", "q4");
    options.threads = threads;
    const auto report = Convert(options, *FileSystem::Posix());
    ASSERT_TRUE(report.ok()) << report.status();
    const std::string bytes = test::ReadFile(out / "m.rill");
    if (threads == 1) {
      first = bytes;
      first_error = report->roles.back().error.squared_error;
    }
    EXPECT_TRUE(bytes == first) << threads;
    EXPECT_EQ(report->roles.back().error.squared_error, first_error) << threads;
  }
}

TEST(ConvertTest, BlocksDoNotChangeTheMatrix) {
  TempDir in;
  TinyCheckpoint maker({}, 3);
  const int64_t rows = 301, cols = 999;  // several strips a block, a ragged last group
  const StoredTensor tensor = maker.Random("F32", {rows, cols});
  test::SafetensorsWriter writer;
  writer.Add("padding", maker.Random("F16", {3}));
  writer.Add("w", tensor);
  writer.Write(in / "model.safetensors");
  const auto checkpoint = Checkpoint::Open(*FileSystem::Posix(), in.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const CheckpointTensor* source = (*checkpoint)->Find("w");
  ASSERT_NE(source, nullptr);
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kQ8, WeightFormat::kQ4}) {
    const std::string want = Encoded(format, Floats(tensor), rows, cols);
    double squared_error = -1;
    for (const uint64_t block :
         {uint64_t{1}, uint64_t{50'000}, uint64_t{700'000}, uint64_t{16} << 20}) {
      for (const int threads : {1, 3}) {
        ThreadPool pool(threads);
        MatrixEncoder encoder(**checkpoint, pool, block);
        std::string bytes;
        uint64_t read = 0;
        QuantError error;
        const absl::Status status = encoder.Encode(
            *source, format, rows, cols,
            [&](const void* p, size_t n) {
              bytes.append(static_cast<const char*>(p), n);
              return absl::OkStatus();
            },
            [&](uint64_t n) {
              read += n;
              return absl::OkStatus();
            },
            &error);
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_TRUE(bytes == want) << Name(format) << " block " << block << " threads " << threads;
        EXPECT_EQ(read, tensor.bytes.size());
        if (squared_error < 0) squared_error = error.squared_error;
        EXPECT_EQ(error.squared_error, squared_error)
            << Name(format) << " block " << block << " threads " << threads;
      }
    }
  }
}

// What is wrong with values that were put into an otherwise good [rows, cols] tensor.
absl::Status EncodeWith(const std::map<int64_t, float>& values, WeightFormat format) {
  constexpr int64_t kRows = 700, kCols = 250;
  TempDir in;
  TinyCheckpoint maker({}, 4);
  StoredTensor tensor = maker.Random("F32", {kRows, kCols});
  for (const auto& [index, value] : values) {
    tensor.bytes.replace(4 * index, 4, reinterpret_cast<const char*>(&value), 4);
  }
  test::SafetensorsWriter writer;
  writer.Add("w", tensor);
  writer.Write(in / "model.safetensors");
  const auto checkpoint = Checkpoint::Open(*FileSystem::Posix(), in.path());
  if (!checkpoint.ok()) return checkpoint.status();
  ThreadPool pool(2);
  MatrixEncoder encoder(**checkpoint, pool, 4 * kCols * 600);  // blocks of 600 rows, strips of 262
  QuantError error;
  return encoder.Encode(
      *(*checkpoint)->Find("w"), format, kRows, kCols,
      [](const void*, size_t) { return absl::OkStatus(); },
      [](uint64_t) { return absl::OkStatus(); }, &error);
}

TEST(ConvertTest, BadElementsAreFoundWhereverTheyAre) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const int64_t index : {0, 249, 250, 262 * 250, 524 * 250 + 3, 600 * 250, 174'999}) {
    const absl::Status status = EncodeWith({{index, inf}}, WeightFormat::kQ8);
    const std::string want = absl::StrCat("element ", index, " (row ", index / 250, ", column ",
                                          index % 250, ") is infinite");
    EXPECT_NE(status.message().find(want), absl::string_view::npos) << status << "\n" << want;
  }
  // Two in one block, for two threads: the first is named.
  const absl::Status two = EncodeWith({{10'000, inf}, {149'000, inf}}, WeightFormat::kBf16);
  EXPECT_NE(two.message().find("element 10000 "), absl::string_view::npos) << two;
}

TEST(ConvertTest, EveryFormatHoldsItsLargestAndNoMore) {
  struct Case {
    WeightFormat format;
    float largest;
  };
  for (const Case& c :
       {Case{WeightFormat::kF32, std::numeric_limits<float>::max()},
        Case{WeightFormat::kBf16, BitsToFloat(0x7f7f7fff)}, Case{WeightFormat::kQ8, 127 * 65504.0f},
        Case{WeightFormat::kQ4, 8 * 65504.0f}}) {
    for (const float sign : {-1.0f, 1.0f}) {
      EXPECT_TRUE(EncodeWith({{77, sign * c.largest}}, c.format).ok()) << Name(c.format);
      const float more = sign * std::nextafter(c.largest, std::numeric_limits<float>::infinity());
      const absl::Status status = EncodeWith({{77, more}}, c.format);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << Name(c.format) << ": " << status;
      std::vector<float> row(kGroup);
      row[3] = sign * c.largest;
      const std::string bytes = Encoded(c.format, row, 1, kGroup);
      DequantizeRow(BindMatrix(c.format, 1, kGroup, bytes.data()), 0, row.data());
      EXPECT_NEAR(row[3] / c.largest, sign, 0.005) << Name(c.format);
    }
  }
}

TEST(ConvertTest, HiddenFilesAreNoShards) {
  TempDir in, out;
  const TinyCheckpoint checkpoint({}, 1);
  checkpoint.Write(in.path(), 2);
  test::WriteFile(in / "._model-00001-of-00002.safetensors", "what macOS leaves on foreign disks");
  const auto report = Convert(Options(in.path(), out / "m.rill", "bf16"), *FileSystem::Posix());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->plan.notes.size(), 1u);
}

TEST(ConvertTest, TakesTokenizerFilesAlong) {
  TempDir in, out;
  TinyCheckpoint({}, 1).Write(in.path());
  const std::string vocabulary = "aGk= 0\n" + std::string(1, '\0') + "\xff any bytes";
  test::WriteFile(in / "tiktoken.model", vocabulary);
  test::WriteFile(in / "tokenizer_config.json", "{\"a\": 1}");
  auto report = Convert(Options(in.path(), out / "m.rill", "q8"), *FileSystem::Posix());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->plan.notes.empty()) << report->plan.notes[0];
  {
    const Converted converted(out / "m.rill");
    ASSERT_TRUE(converted.ok());
    EXPECT_EQ(converted.file().Blob("tokenizer.tiktoken").value_or("none"), vocabulary);
    EXPECT_EQ(converted.file().Blob("tokenizer.config").value_or("none"), "{\"a\": 1}");
    EXPECT_TRUE(absl::IsNotFound(converted.file().Blob("generation.config").status()));
  }
  test::WriteFile(in / "generation_config.json", "{}");
  std::filesystem::remove(in / "tokenizer_config.json");
  report = Convert(Options(in.path(), out / "m.rill", "q8"), *FileSystem::Posix());
  ASSERT_TRUE(report.ok()) << report.status();
  const Converted converted(out / "m.rill");
  ASSERT_TRUE(converted.ok());
  EXPECT_EQ(converted.file().Blob("generation.config").value_or("none"), "{}");
  ASSERT_EQ(report->plan.notes.size(), 1u);
  EXPECT_NE(report->plan.notes[0].find("no tokenizer_config.json"), std::string::npos)
      << report->plan.notes[0];
  EXPECT_EQ(report->plan.notes[0].find("tiktoken"), std::string::npos) << report->plan.notes[0];
}

TEST(ConvertTest, TiedHeadMayOnlyRepeatTheEmbedding) {
  TempDir in, out;
  TinyCheckpoint checkpoint({.vocab = 9000, .hidden = 64, .tied = true}, 5);  // > 1 MiB each
  StoredTensor& head = checkpoint.tensors["lm_head.weight"] =
      checkpoint.tensors["model.embed_tokens.weight"];
  checkpoint.Write(in.path());
  const auto report = Convert(Options(in.path(), out / "m.rill", "bf16"), *FileSystem::Posix());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->plan.notes.size(), 2u);
  ExpectConverted(checkpoint.tensors, out / "m.rill", true);

  head.bytes[2 * 570'000] ^= 1;
  checkpoint.Write(in.path());
  std::filesystem::remove(out / "m.rill");
  const auto refused = Convert(Options(in.path(), out / "m.rill", "bf16"), *FileSystem::Posix());
  ASSERT_TRUE(absl::IsInvalidArgument(refused.status())) << refused.status();
  EXPECT_NE(refused.status().message().find("lm_head.weight"), std::string::npos)
      << refused.status();
  EXPECT_NE(refused.status().message().find("element 570000 differs"), std::string::npos)
      << refused.status();
  EXPECT_TRUE(out.Names().empty());
}

TEST(ConvertTest, PlanNamesTheSizesThatConvertMakes) {
  TempDir in, out;
  TinyCheckpoint({}, 1).Write(in.path(), 2);
  const auto plan = PlanConversion(Options(in.path(), "", "q4"), *FileSystem::Posix());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(out.Names().empty());
  const auto report = Convert(Options(in.path(), out / "m.rill", "q4"), *FileSystem::Posix());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(plan->file_bytes, test::ReadFile(out / "m.rill").size());
  EXPECT_EQ(plan->table.size(), report->plan.table.size());
  uint64_t bytes = 0;
  for (const RoleReport& role : report->roles) bytes += role.bytes;
  uint64_t table_bytes = 0;
  for (const TensorSpec& spec : plan->table) table_bytes += spec.bytes;
  EXPECT_EQ(bytes, table_bytes);
}

TEST(ConvertTest, ReplacesOnlyModelFiles) {
  TempDir in, out;
  TinyCheckpoint({}, 1).Write(in.path());
  const std::string shard = in / "model.safetensors", before = test::ReadFile(shard);
  const auto onto_input = Convert(Options(in.path(), shard, "q8"), *FileSystem::Posix());
  ASSERT_TRUE(absl::IsAlreadyExists(onto_input.status())) << onto_input.status();
  EXPECT_TRUE(test::ReadFile(shard) == before);
  EXPECT_TRUE(absl::IsAlreadyExists(
      Convert(Options(in.path(), out.path(), "q8"), *FileSystem::Posix()).status()));
  test::WriteFile(out / "m.rill", "");
  ASSERT_TRUE(Convert(Options(in.path(), out / "m.rill", "q8"), *FileSystem::Posix()).ok());
  ASSERT_TRUE(Convert(Options(in.path(), out / "m.rill", "bf16"), *FileSystem::Posix()).ok());
  EXPECT_EQ(Converted(out / "m.rill").file().recipe().name, "bf16");
  EXPECT_FALSE(
      Convert(Options(in.path(), out / "no/such/folder.rill", "q8"), *FileSystem::Posix()).ok());
  EXPECT_FALSE(Convert(Options(in.path(), "", "q8"), *FileSystem::Posix()).ok());
  EXPECT_FALSE(Convert(Options(in.path(), out / "n.rill", "q3"), *FileSystem::Posix()).ok());
  EXPECT_EQ(out.Names(), std::set<std::string>{"m.rill"});
}

TEST(ConvertTest, FailureLeavesTheOldFile) {
  TempDir in, out;
  TinyCheckpoint checkpoint({}, 1);
  checkpoint.Write(in.path());
  ASSERT_TRUE(Convert(Options(in.path(), out / "m.rill", "q8"), *FileSystem::Posix()).ok());
  const std::string before = test::ReadFile(out / "m.rill");
  checkpoint.tensors["lm_head.weight"].bytes[1] = '\x7f';  // with its low bits an infinity or a NaN
  checkpoint.tensors["lm_head.weight"].bytes[0] = '\x80';
  checkpoint.Write(in.path());
  EXPECT_FALSE(Convert(Options(in.path(), out / "m.rill", "q4"), *FileSystem::Posix()).ok());
  EXPECT_TRUE(test::ReadFile(out / "m.rill") == before);
  EXPECT_EQ(out.Names(), std::set<std::string>{"m.rill"});
}

TEST(ConvertTest, CancelsAtAnyMoment) {
  TempDir in, out;
  TinyCheckpoint({}, 1).Write(in.path());
  ConvertOptions options = Options(in.path(), out / "m.rill", "q8");
  int calls = 0;
  uint64_t last = 0;
  options.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, total);
    last = done;
    ++calls;
    return false;
  };
  const auto report = Convert(options, *FileSystem::Posix());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(last, report->plan.input_bytes);
  std::filesystem::remove(out / "m.rill");
  for (int stop = 0; stop < calls; ++stop) {
    int call = 0;
    options.progress = [&](uint64_t, uint64_t) { return call++ == stop; };
    ASSERT_TRUE(absl::IsCancelled(Convert(options, *FileSystem::Posix()).status())) << stop;
    ASSERT_TRUE(out.Names().empty()) << stop;
  }
}

TEST(ConvertTest, AnyFailingFileOperationLeavesNothing) {
  TempDir in, out;
  TinyCheckpoint({.mixers = "KM", .experts = 2}, 1).Write(in.path(), 2, true);
  test::FailingFileSystem counter(*FileSystem::Posix(), test::FailingFileSystem::kNever);
  ASSERT_TRUE(Convert(Options(in.path(), out / "m.rill", "q8"), counter).ok());
  std::filesystem::remove(out / "m.rill");
  ASSERT_GT(counter.operations(), 100);
  for (int64_t n = 0; n < counter.operations(); ++n) {
    test::FailingFileSystem fs(*FileSystem::Posix(), n);
    const auto report = Convert(Options(in.path(), out / "m.rill", "q8"), fs);
    ASSERT_FALSE(report.ok()) << "operation " << n << ": " << fs.failed();
    EXPECT_NE(report.status().message().find(test::FailingFileSystem::kMessage), std::string::npos)
        << fs.failed() << ": " << report.status();
    // The last operations come after the rename, when the new file is whole and in place.
    if (fs.renamed()) continue;
    ASSERT_TRUE(out.Names().empty()) << fs.failed();
  }
}

// One fault each, in an otherwise good checkpoint.
struct Fault {
  const char* name;
  std::function<void(TinyCheckpoint&)> edit;   // before it is written
  std::function<void(const TempDir&)> damage;  // after
  std::vector<std::string> message;
  TinyShape shape = {};
  int shards = 1;
  bool index = false;
};

void SetFloat(TinyCheckpoint& c, const std::string& name, int64_t index, float value) {
  StoredTensor& t = c.tensors.at(name);
  std::string bytes;
  TinyCheckpoint::Append(t.dtype, value, bytes);
  t.bytes.replace(index * bytes.size(), bytes.size(), bytes);
}

constexpr char kQ[] = "model.layers.0.self_attn.q_proj.weight";
constexpr char kExpert[] = "model.layers.1.block_sparse_moe.experts.2.w3.weight";
constexpr char kIndex[] = "/model.safetensors.index.json";

std::vector<Fault> Faults() {
  const float inf = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  const auto edit_index = [](const std::function<void(nlohmann::json&)>& edit) {
    return [edit](const TempDir& in) {
      nlohmann::json index = nlohmann::json::parse(test::ReadFile(in / kIndex));
      edit(index);
      test::WriteFile(in / kIndex, index.dump());
    };
  };
  const auto write = [](const char* name, const std::string& bytes) {
    return [=](const TempDir& in) { test::WriteFile(in / name, bytes); };
  };
  return {
      {"missing", [](TinyCheckpoint& c) { c.tensors.erase(kQ); }, {}, {kQ, "is missing"}},
      {"missing expert part",
       [](TinyCheckpoint& c) { c.tensors.erase(kExpert); },
       {},
       {kExpert, "is missing"}},
      {"missing several",
       [](TinyCheckpoint& c) { c.tensors.erase(kQ), c.tensors.erase(kExpert); },
       {},
       {kQ, "is missing", "and 1 more"}},
      {"missing head",
       [](TinyCheckpoint& c) { c.tensors.erase("lm_head.weight"); },
       {},
       {"lm_head.weight", "is missing"}},
      {"foreign tensor",
       [](TinyCheckpoint& c) { c.tensors["visual.proj.weight"] = c.Random("BF16", {2}); },
       {},
       {"visual.proj.weight", "model.safetensors", "not a tensor of Kimi Linear"}},
      {"tensor of another layer",
       [](TinyCheckpoint& c) {
         c.tensors["model.layers.9.self_attn.k_proj.weight"] = c.Random("BF16", {2});
       },
       {},
       {"model.layers.9.self_attn.k_proj.weight", "surplus", "no place for layers.9.kda.k"}},
      {"one expert too many",
       [](TinyCheckpoint& c) {
         c.tensors["model.layers.1.block_sparse_moe.experts.4.w1.weight"] = c.Random("BF16", {2});
       },
       {},
       {"experts.4.w1", "surplus", "layers.1.moe.expert.4.gate"}},
      {"a bias",
       [](TinyCheckpoint& c) {
         c.tensors["model.layers.0.self_attn.g_b_proj.bias"] = c.Random("BF16", {2});
       },
       {},
       {"g_b_proj.bias", "not a tensor of Kimi Linear"}},
      {"odd spelling of a layer",
       [](TinyCheckpoint& c) {
         c.tensors["model.layers.00.input_layernorm.weight"] = c.Random("BF16", {32});
       },
       {},
       {"model.layers.00.input_layernorm.weight", "not a tensor"}},
      {"wrong rows",
       [](TinyCheckpoint& c) {
         c.tensors[kQ] = c.Random("BF16", {31, 32});
       },
       {},
       {kQ, "shape [31, 32]", "asks for [32, 32]"}},
      {"transposed",
       [](TinyCheckpoint& c) {
         c.tensors[kExpert] = c.Random("BF16", {32, 24});
       },
       {},
       {kExpert, "[32, 24]", "[24, 32]"}},
      {"wrong A_log",
       [](TinyCheckpoint& c) {
         c.tensors["model.layers.0.self_attn.A_log"] = c.Random("F32", {1, 1, 3, 1});
       },
       {},
       {"self_attn.A_log", "[1, 1, 3, 1]", "[1, 1, 2, 1] or [2]"}},
      {"wrong convolution",
       [](TinyCheckpoint& c) {
         c.tensors["model.layers.0.self_attn.q_conv1d.weight"] = c.Random("BF16", {32, 4, 1});
       },
       {},
       {"q_conv1d.weight", "[32, 4, 1]", "[32, 1, 4] or [32, 4]"}},
      {"vector with two dimensions",
       [](TinyCheckpoint& c) {
         c.tensors["model.norm.weight"] = c.Random("BF16", {1, 32});
       },
       {},
       {"model.norm.weight", "[1, 32]", "[32]"}},
      {"integers",
       [](TinyCheckpoint& c) {
         c.tensors[kQ] = {"I8", {32, 32}, std::string(1024, 'x')};
       },
       {},
       {kQ, "type I8", "F32, BF16 and F16"}},
      {"unknown type",
       [](TinyCheckpoint& c) { c.tensors[kQ].dtype = "F4"; },
       {},
       {kQ, "unknown type F4"}},
      {"bytes and shape",
       [](TinyCheckpoint& c) { c.tensors[kQ].bytes.pop_back(); },
       {},
       {kQ, "2048 bytes", "hold 2047"}},
      {"vocabulary",
       [](TinyCheckpoint& c) { c.config["vocab_size"] = 50; },
       {},
       {"model.embed_tokens.weight", "[48, 32]", "[50, 32]"}},
      {"layer kinds",
       [](TinyCheckpoint& c) {
         c.config["linear_attn_config"]["kda_layers"] = {1, 2, 3, 4};
         c.config["linear_attn_config"]["full_attn_layers"] = nlohmann::json::array();
       },
       {},
       {"model.layers.2.self_attn."}},
      {"number of layers",
       [](TinyCheckpoint& c) {
         c.config["num_hidden_layers"] = 3;
         c.config["linear_attn_config"]["kda_layers"] = {1, 2};
       },
       {},
       {"model.layers.3.", "no place for layers.3."}},
      {"tied but different shape",
       [](TinyCheckpoint& c) {
         c.tensors["lm_head.weight"] = c.Random("F32", {48, 32});
       },
       {},
       {"lm_head.weight", "F32 [48, 32]", "BF16 [48, 32]"},
       {.tied = true}},
      {"infinite",
       [=](TinyCheckpoint& c) { SetFloat(c, kExpert, 100, -inf); },
       {},
       {kExpert, "element 100 (row 3, column 4)", "infinite"}},
      {"NaN",
       [=](TinyCheckpoint& c) { SetFloat(c, kQ, 1023, nan); },
       {},
       {kQ, "element 1023", "not a number"}},
      {"NaN in a vector",
       [=](TinyCheckpoint& c) { SetFloat(c, "model.norm.weight", 31, nan); },
       {},
       {"model.norm.weight", "element 31", "not a number"}},
      {"NaN as F16",
       [=](TinyCheckpoint& c) { SetFloat(c, kQ, 5, nan); },
       {},
       {kQ, "element 5", "not a number"},
       {.dtype = "F16"}},
      {"infinite as F32",
       [=](TinyCheckpoint& c) { SetFloat(c, kQ, 5, inf); },
       {},
       {kQ, "element 5", "infinite"},
       {.dtype = "F32"}},
      {"two faults",
       [=](TinyCheckpoint& c) { SetFloat(c, kQ, 900, nan), SetFloat(c, kQ, 40, inf); },
       {},
       {kQ, "element 40 (row 1, column 8)", "infinite"}},
      {"too large for the format",
       [](TinyCheckpoint& c) { SetFloat(c, kQ, 6, 3e38f); },
       {},
       {kQ, "element", "out of range for q8"},
       {.dtype = "F32"}},
      {"no config",
       {},
       [](const TempDir& in) { std::filesystem::remove(in / "config.json"); },
       {"config.json"}},
      {"config is no JSON", {}, write("config.json", "{"), {"config.json"}},
      {"another model",
       [](TinyCheckpoint& c) { c.config["model_type"] = "llama"; },
       {},
       {"config.json", "model_type", "llama"}},
      {"no weights",
       {},
       [](const TempDir& in) { std::filesystem::remove(in / "model.safetensors"); },
       {"no *.safetensors file"}},
      {"truncated shard",
       {},
       [](const TempDir& in) {
         const std::string path = in / TinyCheckpoint::ShardName(1, 2);
         std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
       },
       {"model-00002-of-00002.safetensors: tensor", "ends at byte", "cut short"},
       {},
       2},
      {"shard cut in its header",
       {},
       [](const TempDir& in) { std::filesystem::resize_file(in / "model.safetensors", 100); },
       {"model.safetensors", "in a file of 100", "cut short"}},
      {"empty shard", {}, write("model.safetensors", ""), {"model.safetensors", "file of 0 bytes"}},
      {"not safetensors",
       {},
       write("model.safetensors", "PK\x03\x04 zipped, as older checkpoints are"),
       {"model.safetensors", "not a safetensors file?"}},
      {"a tensor in two shards",
       {},
       [](const TempDir& in) {
         test::SafetensorsWriter again;
         again.Add("model.norm.weight", {"BF16", {32}, std::string(64, '\0')});
         again.Write(in / "extra.safetensors");
       },
       {"model.norm.weight", "in both extra.safetensors and model-0000"},
       {},
       2},
      {"shard missing",
       {},
       [](const TempDir& in) { std::filesystem::remove(in / TinyCheckpoint::ShardName(2, 3)); },
       {"index.json names model-00003-of-00003.safetensors", "not in "},
       {},
       3,
       true},
      {"index leads out of the folder",
       {},
       edit_index([](nlohmann::json& i) { i["weight_map"][kQ] = "../up.safetensors"; }),
       {"index.json names ../up.safetensors", "not in "},
       {},
       2,
       true},
      {"index names another shard",
       {},
       edit_index([](nlohmann::json& i) {
         auto& shard = i["weight_map"][kQ];
         shard = TinyCheckpoint::ShardName(shard == TinyCheckpoint::ShardName(0, 2), 2);
       }),
       {kQ, "is in model-0000", "the index says model-0000"},
       {},
       2,
       true},
      {"index lacks a tensor",
       {},
       edit_index([](nlohmann::json& i) { i["weight_map"].erase(kQ); }),
       {kQ, "is in model-0000", "not in the index"},
       {},
       2,
       true},
      {"index has one more",
       {},
       edit_index([](nlohmann::json& i) { i["weight_map"]["ghost"] = i["weight_map"][kQ]; }),
       {"ghost", "in no shard", "the index says model-0000"},
       {},
       2,
       true},
      {"index without a map",
       {},
       write(kIndex, "{\"metadata\":{\"weight_map\":{}}}"),
       {"index.json", "no weight_map"}},
      {"index is no JSON", {}, write(kIndex, "{\"weight_map\":{"), {"index.json", "not JSON"}},
      {"index is a list", {}, write(kIndex, "[]"), {"index.json", "unexpected an array"}},
      {"index maps to numbers",
       {},
       write(kIndex, "{\"weight_map\":{\"a\":1}}"),
       {"index.json", "after a", "unexpected a number"}},
      {"index maps to lists",
       {},
       write(kIndex, "{\"weight_map\":{\"a\":[]}}"),
       {"index.json", "unexpected an array"}},
      {"index maps to objects",
       {},
       write(kIndex, "{\"weight_map\":{\"a\":{}}}"),
       {"index.json", "after a", "unexpected an object"}},
      {"index is a number", {}, write(kIndex, "7"), {"index.json", "no weight_map"}},
      {"index is a map itself",
       {},
       write(kIndex, "{\"weight_map\":[\"a\"]}"),
       {"index.json", "unexpected an array"}},
      {"index has a tensor twice",
       {},
       write(kIndex, "{\"weight_map\":{\"a\":\"b\",\"a\":\"c\"}}"),
       {"index.json", "a appears twice"}},
      {"index has two maps",
       {},
       write(kIndex, "{\"weight_map\":{},\"weight_map\":{}}"),
       {"index.json", "two weight_map"}},
      {"index is deep",
       {},
       write(kIndex, "{\"metadata\":" + std::string(100'000, '[')),
       {"index.json", "nested deeper than 16"}},
  };
}

TEST(ConvertTest, EveryFaultIsNamedAndLeavesNoFile) {
  for (const Fault& fault : Faults()) {
    SCOPED_TRACE(fault.name);
    TempDir in, out;
    TinyCheckpoint checkpoint(fault.shape, 11);
    if (fault.edit) fault.edit(checkpoint);
    checkpoint.Write(in.path(), fault.shards, fault.index);
    if (fault.damage) fault.damage(in);
    const auto report = Convert(Options(in.path(), out / "m.rill", "q8"), *FileSystem::Posix());
    if (report.ok()) {
      ADD_FAILURE() << "was converted";
      continue;
    }
    const std::string message(report.status().message());
    for (const std::string& part : fault.message) {
      EXPECT_NE(message.find(part), std::string::npos)
          << "  lacks: " << part << "\n  says: " << message;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_TRUE(out.Names().empty());
  }
}

TEST(KimiLinearTest, NamesGoBothWays) {
  for (const TinyShape& shape : {TinyShape{}, TinyShape{.q_rank = 20}}) {
    const TinyCheckpoint checkpoint(shape, 1);
    const auto config = ParseHuggingFaceConfig(checkpoint.config.dump());
    ASSERT_TRUE(config.ok()) << config.status();
    const auto recipe = MakeRecipe("q4");
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    size_t n = 0;
    for (const TensorSpec& spec : MakeTensorTable(*config, *recipe)) {
      const auto sources = SourcesOf(*config, spec);
      ASSERT_TRUE(sources.ok()) << sources.status();
      for (const SourceTensor& source : *sources) {
        ++n;
        EXPECT_TRUE(checkpoint.tensors.contains(source.name)) << source.name;
        const std::string ours = RillNameOf(*config, source.name);
        EXPECT_EQ(ours.substr(0, spec.name.size()), spec.name) << source.name;
        EXPECT_EQ(OurName(source.name, IsMlaLayer(checkpoint.tensors, source.name)), spec.name);
      }
    }
    EXPECT_EQ(n, checkpoint.tensors.size());
    TensorSpec unknown;
    for (const char* name :
         {"layers.0.kda.x", "layers.x.kda.q", "layers.0", "other", "layers.1.moe.expert.x", ""}) {
      unknown.name = name;
      EXPECT_TRUE(absl::IsInternal(SourcesOf(*config, unknown).status())) << name;
      EXPECT_EQ(RillNameOf(*config, name), "") << name;
    }
    for (const char* name :
         {"model.layers.-1.input_layernorm.weight", "model.layers.0.", "model.layers.",
          "model.layers.99999999999999999999.input_layernorm.weight",
          "model.layers.1.block_sparse_moe.experts.01.w1.weight",
          "model.layers.1.block_sparse_moe.experts.1.w4.weight"}) {
      EXPECT_EQ(RillNameOf(*config, name), "") << name;
    }
  }
}

}  // namespace
}  // namespace rill
