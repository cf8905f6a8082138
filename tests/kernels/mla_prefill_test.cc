#include "kernels/ops/mla_prefill.h"

#include "tests/kernels/mla_case.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class MlaPrefillTest : public DeviceTest {};

TEST_P(MlaPrefillTest, MatchesUnabsorbedCausalAttention) {
  RILL_NEEDS_OP(mla_prefill);
  for (const WeightFormat format : kAllFormats) {
    for (const auto& [T, position] :
         {std::pair<int64_t, int64_t>{1, 0}, {2, 0}, {31, 100}, {64, 64}, {127, 3}, {129, 128}}) {
      const MlaShape shape = {2, 16, 8, 24, 40};
      const MlaCase c = MakeMlaCase(random_, shape, T, position, format, DType::kBf16, 2);
      const MlaPrefillArgs args = PrefillArgs(rig(), c);
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_prefill, args));
      EXPECT_TRUE(Close(rig().Read(args.out), ExpectedAttention(c), Tolerance(1e-5), 0.1))
          << Name(format) << " " << T << " tokens at " << position;
    }
  }
}

TEST_P(MlaPrefillTest, MatchesAtTheModelsHeadSize) {
  RILL_NEEDS_OP(mla_prefill);
  const MlaCase c =
      MakeMlaCase(random_, {2, 128, 64, 128, 512}, 20, 120, WeightFormat::kQ8, DType::kBf16);
  const MlaPrefillArgs args = PrefillArgs(rig(), c);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_prefill, args));
  EXPECT_TRUE(Close(rig().Read(args.out), ExpectedAttention(c), Tolerance(1e-5), 0.1));
}

// More queries and heads than a device takes at once.
TEST_P(MlaPrefillTest, MatchesWithManyQueries) {
  RILL_NEEDS_OP(mla_prefill);
  const MlaCase c = MakeMlaCase(random_, {33, 8, 64, 8, 512}, 150, 3, WeightFormat::kQ4, DType::kBf16);
  const MlaPrefillArgs args = PrefillArgs(rig(), c);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_prefill, args));
  EXPECT_TRUE(Close(rig().Read(args.out), ExpectedAttention(c), Tolerance(1e-5), 0.1));
}

TEST_P(MlaPrefillTest, HostDevicesGiveEachRowTheBitsOfDecode) {
  RILL_NEEDS_OP(mla_prefill);
  RILL_NEEDS_OP(mla_decode);
  if (!is_host()) GTEST_SKIP() << "only host devices promise this";
  for (const WeightFormat format : kAllFormats) {
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      for (const auto& [T, position] : {std::pair<int64_t, int64_t>{3, 0}, {35, 110}, {9, 251}}) {
        const MlaCase c = MakeMlaCase(random_, {3, 20, 9, 17, 70}, T, position, format, dtype, 3);
        const MlaPrefillArgs args = PrefillArgs(rig(), c);
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_prefill, args));
        for (int64_t t = 0; t < T; ++t) {
          const MlaDecodeArgs row = DecodeArgs(rig(), args, t);
          ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_decode, row));
          EXPECT_TRUE(SameBits(rig().Read(args.out.Rows(t, 1)), rig().Read(row.out)))
              << Name(format) << " row " << t << " of " << T << " at " << position;
        }
      }
    }
  }
}

// Rows that come after a query must not reach it, not even as NaN times zero.
TEST_P(MlaPrefillTest, LaterRowsAreNotRead) {
  RILL_NEEDS_OP(mla_prefill);
  MlaCase cases[] = {MakeMlaCase(random_, {2, 16, 8, 16, 32}, 5, 126, WeightFormat::kF32, DType::kF32),
                     MakeMlaCase(random_, {2, 8, 64, 8, 512}, 5, 126, WeightFormat::kQ4, DType::kBf16)};
  for (MlaCase& c : cases) {
    const MlaPrefillArgs clean = PrefillArgs(rig(), c);
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_prefill, clean));
    std::fill(c.rows.end() - (c.shape.latent + c.shape.rope), c.rows.end(), NAN);  // the last token's row
    const MlaPrefillArgs spoiled = PrefillArgs(rig(), c);
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_prefill, spoiled));
    EXPECT_TRUE(SameBits(rig().Read(spoiled.out.Rows(0, 4)), rig().Read(clean.out.Rows(0, 4))));
  }
}

TEST(MlaPrefillCheck, NamesTheFieldThatDoesNotFit) {
  Random random;
  const auto device = *OpenTestDevice("ref");
  Rig rig(*device);
  const MlaCase c = MakeMlaCase(random, {2, 16, 8, 24, 40}, 3, 9, WeightFormat::kQ4, DType::kBf16);
  const MlaPrefillArgs good = PrefillArgs(rig, c);
  using Args = MlaPrefillArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "mla_prefill.q: rank 2, expected 3", [](Args& a) { a.q.rank = 2; });
  ExpectRefused(good, "mla_prefill.position: -1", [](Args& a) { a.position = -1; });
  ExpectRefused(good, "mla_prefill.shape.latent: 0", [](Args& a) { a.shape.latent = 0; });
  ExpectRefused(good, "mla_prefill.scale: inf", [](Args& a) { a.scale = INFINITY; });
  ExpectRefused(good, "mla_prefill.kv_b: format q4 without scales",
                [](Args& a) { a.kv_b.scales = nullptr; });
  ExpectRefused(good, "mla_prefill.cache: rope is 9, expected 8",
                [](Args& a) { a.cache.rope = 9; });
  ExpectRefused(good, "mla_prefill.out: shape [2, 2, 24], expected [3, 2, 24]",
                [](Args& a) { a.out.dim[0] = 2; });
  ExpectRefused(good, "mla_prefill.workspace: type f32, expected u8",
                [](Args& a) { a.workspace.dtype = DType::kF32; });
}

RILL_FOR_EACH_DEVICE(MlaPrefillTest);

}  // namespace
}  // namespace rill::test
