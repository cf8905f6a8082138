#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "kernels/base/cpu_features.h"
#include "kernels/base/philox.h"
#include "kernels/base/status.h"
#include "kernels/base/thread_pool.h"
#include "model/weights/weights.h"

namespace rill {
namespace {

// Random words as a function of (seed, tensor name, plane, row, place in the row): no order of
// filling changes a byte. Only additions, multiplications and square roots follow, which IEEE 754
// fixes to the bit; no libm function does.
class RowRandom {
 public:
  RowRandom(uint64_t seed, std::string_view name, uint32_t plane) : seed_(seed), plane_(plane) {
    name_ = 0xcbf29ce484222325u;  // FNV-1a
    for (char ch : name) name_ = (name_ ^ static_cast<unsigned char>(ch)) * 0x100000001b3u;
  }

  // Four random words.
  void Block(int64_t row, uint32_t block, uint32_t word[4]) const {
    word[0] = block;
    word[1] = static_cast<uint32_t>(row);
    word[2] = static_cast<uint32_t>(name_);
    word[3] = static_cast<uint32_t>(name_ >> 32) ^ plane_;
    Philox4x32(word, static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32));
  }

  void Bytes(int64_t row, void* dst, uint64_t n) const {
    char* out = static_cast<char*>(dst);
    uint32_t word[4];
    for (uint32_t block = 0; n > 0; ++block) {
      Block(row, block, word);
      const uint64_t part = std::min<uint64_t>(n, sizeof word);
      std::memcpy(out, word, part);
      out += part;
      n -= part;
    }
  }

 private:
  uint64_t seed_, name_;
  uint32_t plane_;
};

// Uniform in [-1, 1).
float Signed(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word) >> 8) * (1.0f / 8388608.0f);
}

struct Fill {
  float mean, spread;  // values are uniform in mean +- spread
};

// What keeps activations near one in size through any number of layers, and gates away from both of
// their ends.
Fill VectorFill(std::string_view name, int64_t cols) {
  const auto ends = [&](std::string_view tail) {
    return name.size() >= tail.size() && name.substr(name.size() - tail.size()) == tail;
  };
  if (ends("norm")) return {1.0f, 0.1f};
  if (ends("a_log")) return {1.38629436f, 1.38629436f};  // [0, log 16]
  if (ends("dt_bias")) return {-4.58f, 2.33f};           // softplus of it: 0.001 to 0.1
  if (ends("router_bias")) return {0.0f, 0.01f};
  return {0.0f, std::sqrt(3.0f / static_cast<float>(cols))};  // convolutions
}

float MatrixDeviation(const TensorSpec& spec, bool tied, int64_t cols) {
  if (spec.role == Role::kEmbedding && !tied) return 1.0f;
  return 1.0f / std::sqrt(static_cast<float>(cols));
}

void FillF32(const RowRandom& random, int64_t row, int64_t cols, Fill fill, float* out) {
  uint32_t word[4];
  for (int64_t i = 0; i < cols; ++i) {
    if (i % 4 == 0) random.Block(row, static_cast<uint32_t>(i / 4), word);
    out[i] = fill.mean + fill.spread * Signed(word[i % 4]);
  }
}

void FillBf16(const RowRandom& random, int64_t row, int64_t cols, float spread, Bf16* out) {
  random.Bytes(row, out, 2 * static_cast<uint64_t>(cols));
  const float unit = spread / 32768.0f;
  for (int64_t i = 0; i < cols; ++i)
    out[i] = ToBf16((static_cast<float>(out[i].bits) - 32767.5f) * unit);
}

void FillQ8(const RowRandom& random, int64_t row, int64_t cols, int8_t* out) {
  const int64_t padded = kGroup * GroupsPerRow(cols);
  random.Bytes(row, out, static_cast<uint64_t>(padded));
  for (int64_t i = 0; i < padded; ++i) out[i] = std::max<int8_t>(out[i], -127);
  std::memset(out + cols, 0, static_cast<size_t>(padded - cols));
}

void FillQ4(const RowRandom& random, int64_t row, int64_t cols, uint8_t* out) {
  const int64_t groups = GroupsPerRow(cols);
  random.Bytes(row, out, 16 * static_cast<uint64_t>(groups));
  uint8_t* last = out + 16 * (groups - 1);
  for (int64_t i = cols - kGroup * (groups - 1); i < kGroup; ++i) {  // pad with the code of zero
    uint8_t& byte = last[i % 16];
    byte = i < 16 ? static_cast<uint8_t>((byte & 0xf0u) | 0x08u)
                  : static_cast<uint8_t>((byte & 0x0fu) | 0x80u);
  }
}

// Random signs take the mean out of codes that reach from -8 to 7.
void FillScales(const RowRandom& random, int64_t row, int64_t groups, float scale, F16* out) {
  uint32_t word[4];
  for (int64_t g = 0; g < groups; ++g) {
    if (g % 4 == 0) random.Block(row, static_cast<uint32_t>(g / 4), word);
    const float u = Signed(word[g % 4]);
    out[g] = ToF16(scale * (u < 0.0f ? u * 0.5f - 0.75f : u * 0.5f + 0.75f));
  }
}

struct MatrixFill {
  WeightFormat format;
  int64_t rows, cols;
  Fill fill;  // of f32 vectors; spread only, for the rest
  std::string name;
};

void FillRow(const MatrixFill& m, const RowRandom& values, const RowRandom& scales, int64_t row,
             char* base) {
  char* out = base + RowBytes(m.format, m.cols) * static_cast<uint64_t>(row);
  switch (m.format) {
    case WeightFormat::kF32:
      return FillF32(values, row, m.cols, m.fill, reinterpret_cast<float*>(out));
    case WeightFormat::kBf16:
      return FillBf16(values, row, m.cols, m.fill.spread, reinterpret_cast<Bf16*>(out));
    case WeightFormat::kQ8:
      FillQ8(values, row, m.cols, reinterpret_cast<int8_t*>(out));
      break;
    case WeightFormat::kQ4:
      FillQ4(values, row, m.cols, reinterpret_cast<uint8_t*>(out));
      break;
  }
  // Root mean square of uniform codes: 73.3 over -127..127, 4.64 over -8..7; spread is sqrt(3)
  // deviations.
  const float code_rms = m.format == WeightFormat::kQ8 ? 73.3f : 4.64f;
  const int64_t groups = GroupsPerRow(m.cols);
  F16* plane = reinterpret_cast<F16*>(base + ScalesOffset(m.format, m.rows, m.cols));
  FillScales(scales, row, groups, m.fill.spread / (1.7320508f * code_rms), plane + row * groups);
}

void FillMatrix(uint64_t seed, const MatrixFill& m, ThreadPool& pool, char* base) {
  const RowRandom values(seed, m.name, 0), scales(seed, m.name, 1);
  pool.For(m.rows, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) FillRow(m, values, scales, row, base);
  });
  const uint64_t end_of_values = ValuesBytes(m.format, m.rows, m.cols);
  const uint64_t scales_at = ScalesOffset(m.format, m.rows, m.cols);
  const uint64_t end_of_scales = scales_at + ScalesBytes(m.format, m.rows, m.cols);
  std::memset(base + end_of_values, 0, scales_at - end_of_values);
  std::memset(base + end_of_scales, 0, MatrixBytes(m.format, m.rows, m.cols) - end_of_scales);
}

void FillTensor(uint64_t seed, const TensorSpec& spec, bool tied, ThreadPool& pool, char* base) {
  const auto matrix = [&](int64_t rows, int64_t cols, std::string name) -> MatrixFill {
    if (spec.role == Role::kVector) return {spec.format, rows, cols, VectorFill(name, cols), name};
    return {spec.format, rows, cols, {0.0f, 1.7320508f * MatrixDeviation(spec, tied, cols)}, name};
  };
  if (spec.role != Role::kExpert)
    return FillMatrix(seed, matrix(spec.rows, spec.cols, spec.name), pool, base);
  const int64_t width = spec.rows, hidden = spec.cols;
  const ExpertLayout at = MakeExpertLayout(spec.format, hidden, width);
  FillMatrix(seed, matrix(width, hidden, spec.name + ".gate"), pool, base + at.gate);
  FillMatrix(seed, matrix(width, hidden, spec.name + ".up"), pool, base + at.up);
  FillMatrix(seed, matrix(hidden, width, spec.name + ".down"), pool, base + at.down);
}

absl::Status ShareExperts(const std::vector<TensorSpec>& table, int64_t distinct,
                          WeightsBuilder& builder) {
  size_t first = 0;  // of the layer's experts
  for (size_t i = 0; i < table.size(); ++i) {
    if (table[i].role != Role::kExpert) {
      first = i + 1;
      continue;
    }
    const size_t expert = i - first;
    if (expert < static_cast<size_t>(distinct)) continue;
    RILL_RETURN_IF_ERROR(builder.Share(table[i].name, table[first + expert % distinct].name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Weights>> SynthesizeWeights(Device& device,
                                                                 const ModelConfig& config,
                                                                 const Recipe& recipe,
                                                                 uint64_t seed,
                                                                 int64_t distinct_experts) {
  RILL_RETURN_IF_ERROR(Validate(config));
  RILL_RETURN_IF_ERROR(Validate(recipe));
  const std::vector<TensorSpec> table = MakeTensorTable(config, recipe);
  WeightsBuilder builder(device, table);
  if (distinct_experts > 0) RILL_RETURN_IF_ERROR(ShareExperts(table, distinct_experts, builder));
  RILL_RETURN_IF_ERROR(builder.Allocate());

  ThreadPool own(device.pool() == nullptr ? UsableProcessors() : 1);
  ThreadPool& pool = device.pool() == nullptr ? own : *device.pool();
  uint64_t largest = 0;
  for (const TensorSpec& spec : table) largest = std::max(largest, spec.bytes);
  const std::unique_ptr<char[]> staging(device.is_host() ? nullptr : new char[largest]);

  for (const TensorSpec& spec : table) {
    if (builder.IsShared(spec)) continue;
    void* place = builder.HostAddress(spec);
    char* base = place != nullptr ? static_cast<char*>(place) : staging.get();
    FillTensor(seed, spec, config.tie_embeddings, pool, base);
    if (place == nullptr) RILL_RETURN_IF_ERROR(builder.Upload(spec, base));
  }
  return builder.Build();
}

}  // namespace rill
