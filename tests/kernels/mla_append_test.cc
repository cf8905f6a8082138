#include "kernels/ops/mla_append.h"

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class MlaAppendTest : public DeviceTest {};

TEST_P(MlaAppendTest, NormalisesTheLatentAndCopiesTheKey) {
  RILL_NEEDS_OP(mla_append);
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    for (const auto& [R, P] : {std::pair<int64_t, int64_t>{16, 8}, {33, 0}, {512, 64}}) {
      for (const auto& [position, T] : {std::pair<int64_t, int64_t>{0, 1}, {127, 2}, {100, 200}}) {
        const std::vector<float> kv = random_.Normal(T * (R + P)),
                                 weight = random_.Floats(R, 0.2f, 2);
        const MlaCacheView cache = rig().Cache(dtype, R, P, 384, 3, 1);
        const MlaAppendArgs args = {1e-6f, rig().In(kv, {T, R + P}), rig().In(weight, {R}), cache,
                                    position};
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_append, args));
        std::vector<double> want;
        for (int64_t t = 0; t < T; ++t) {
          const float* row = kv.data() + t * (R + P);
          double sum = 0;
          for (int64_t r = 0; r < R; ++r) sum += double{row[r]} * row[r];
          const double rms = std::sqrt(sum / static_cast<double>(R) + 1e-6f);
          for (int64_t r = 0; r < R; ++r) want.push_back(row[r] / rms * weight[r]);
          for (int64_t p = R; p < R + P; ++p) want.push_back(row[p]);
        }
        const double step =
            dtype == DType::kBf16 ? 1.0 / 256 : 1e-5;  // half a unit of bf16 is 2^-9 of the value
        std::vector<float> rows = rig().ReadCacheRows(cache, 384);
        const auto written = absl::MakeConstSpan(rows).subspan(position * (R + P), T * (R + P));
        EXPECT_TRUE(CloseEach(written, want, Tolerance(step), 1e-9))
            << Name(dtype) << " " << R << " + " << P;
        // Every other row of this layer is as it was.
        std::fill_n(rows.begin() + position * (R + P), T * (R + P), NAN);
        for (const float x : rows)
          ASSERT_TRUE(std::isnan(x)) << "a row outside the tokens was written";
      }
    }
  }
}

// bf16 storage of a row is the float32 row rounded to nearest even.
TEST_P(MlaAppendTest, Bf16RoundsTheFloat32Row) {
  RILL_NEEDS_OP(mla_append);
  if (!is_host()) GTEST_SKIP() << "only host devices promise this";
  const int64_t T = 5, R = 96, P = 16;
  const TensorView kv = rig().In(random_.Normal(T * (R + P)), {T, R + P}),
                   weight = rig().In(random_.Normal(R), {R});
  const MlaCacheView wide = rig().Cache(DType::kF32, R, P, T);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_append, MlaAppendArgs{1e-6f, kv, weight, wide, 0}));
  std::vector<float> want = rig().ReadCacheRows(wide, T);
  for (float& x : want) x = ToFloat(ToBf16(x));
  const MlaCacheView narrow = rig().Cache(DType::kBf16, R, P, T);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_append, MlaAppendArgs{1e-6f, kv, weight, narrow, 0}));
  EXPECT_TRUE(SameBits(rig().ReadCacheRows(narrow, T), want));
}

TEST(MlaAppendCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(256);
  void* pages[] = {memory.data()};
  MlaCacheView cache;
  cache.latent = 4;
  cache.rope = 2;
  cache.pages = pages;
  const MlaAppendArgs good = {1e-6f, F32View(memory.data(), 3, 6), F32View(memory.data(), 4), cache,
                              0};
  using Args = MlaAppendArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "mla_append.eps: 0", [](Args& a) { a.eps = 0; });
  ExpectRefused(good, "mla_append.kv: rank 1, expected 2", [](Args& a) { a.kv.rank = 1; });
  ExpectRefused(good, "mla_append.cache.latent: 7, expected at most 6",
                [](Args& a) { a.cache.latent = 7; });
  ExpectRefused(good, "mla_append.cache.latent: 0, expected at least 1",
                [](Args& a) { a.cache.latent = 0; });
  ExpectRefused(good, "mla_append.weight: shape [5], expected [4]",
                [](Args& a) { a.weight.dim[0] = 5; });
  ExpectRefused(good, "mla_append.cache: rope is 3, expected 2", [](Args& a) { a.cache.rope = 3; });
  ExpectRefused(good, "mla_append.cache: page table absent",
                [](Args& a) { a.cache.pages = nullptr; });
  ExpectRefused(good, "mla_append.cache: type f16, expected f32 or bf16",
                [](Args& a) { a.cache.dtype = DType::kF16; });
  ExpectRefused(good, "mla_append.cache: layer_offset 2 is no multiple of 4",
                [](Args& a) { a.cache.layer_offset = 2; });
  ExpectRefused(good, "mla_append.position: -5, expected at least 0",
                [](Args& a) { a.position = -5; });
}

RILL_FOR_EACH_DEVICE(MlaAppendTest);

}  // namespace
}  // namespace rill::test
