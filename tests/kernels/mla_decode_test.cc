#include "kernels/ops/mla_decode.h"

#include "kernels/cuda/open_cuda.h"
#include "tests/kernels/mla_case.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class MlaDecodeTest : public DeviceTest {
 protected:
  void ExpectExact(const MlaCase& c, double tolerance) {
    const MlaDecodeArgs args = DecodeArgs(rig(), PrefillArgs(rig(), c), 0);
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_decode, args));
    EXPECT_TRUE(Close(rig().Read(args.out), ExpectedAttention(c), Tolerance(tolerance), 0.1))
        << Name(c.format) << " weights, " << Name(c.dtype) << " cache, " << c.length()
        << " rows, R = " << c.shape.latent;
  }

  void ExpectExactIn(WeightFormat format) {
    RILL_NEEDS_OP(mla_decode);
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      for (const int64_t length : {1, 2, 127, 128, 129, 300}) {
        const MlaShape shape = {3, 16, 8, 24, 40};
        ASSERT_NO_FATAL_FAILURE(ExpectExact(MakeMlaCase(random_, shape, 1, length - 1, format, dtype), 1e-5));
      }
    }
  }

  void ExpectExactAtTheModelsRows(const std::vector<std::pair<int64_t, int64_t>>& heads_and_lengths) {
    RILL_NEEDS_OP(mla_decode);
    for (const auto& [heads, length] : heads_and_lengths) {
      const MlaShape shape = {heads, 8, 64, 8, 512};
      ASSERT_NO_FATAL_FAILURE(ExpectExact(MakeMlaCase(random_, shape, 1, length - 1, WeightFormat::kQ4, DType::kBf16, 4), 1e-5));
    }
  }

  void ExpectTheSameBits(const MlaCase& c, int n_runs) {
    const MlaDecodeArgs args = DecodeArgs(rig(), PrefillArgs(rig(), c), 0);
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_decode, args));
    const std::vector<float> first = rig().Read(args.out);
    for (int i = 1; i < n_runs; ++i) {
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_decode, args));
      ASSERT_TRUE(SameBits(rig().Read(args.out), first)) << "run " << i;
    }
    EXPECT_TRUE(Close(first, ExpectedAttention(c), Tolerance(1e-5), 0.1));
  }
};

// A case for each format, as for all that take minutes under compute-sanitizer.
TEST_P(MlaDecodeTest, MatchesUnabsorbedAttentionInF32) { ExpectExactIn(WeightFormat::kF32); }
TEST_P(MlaDecodeTest, MatchesUnabsorbedAttentionInBf16) { ExpectExactIn(WeightFormat::kBf16); }
TEST_P(MlaDecodeTest, MatchesUnabsorbedAttentionInQ8) { ExpectExactIn(WeightFormat::kQ8); }
TEST_P(MlaDecodeTest, MatchesUnabsorbedAttentionInQ4) { ExpectExactIn(WeightFormat::kQ4); }

TEST_P(MlaDecodeTest, MatchesAtOtherShapes) {
  RILL_NEEDS_OP(mla_decode);
  for (const MlaShape& shape :
       {MlaShape{1, 1, 0, 1, 1}, {2, 31, 7, 33, 65}, {2, 16, 8, 150, 40}, {4, 128, 64, 128, 512}}) {
    ASSERT_NO_FATAL_FAILURE(
        ExpectExact(MakeMlaCase(random_, shape, 1, 200, WeightFormat::kBf16, DType::kBf16), 1e-5));
  }
}

// Devices with matrix units take tiles of rows and groups of heads: one row, tiles that are not full, more tiles than a device has
// multiprocessors, more heads than a group.
TEST_P(MlaDecodeTest, MatchesAtTheModelsRows) { ExpectExactAtTheModelsRows({{32, 1}, {32, 31}, {33, 33}, {5, 97}, {33, 300}}); }
TEST_P(MlaDecodeTest, MatchesAtManyOfTheModelsRows) { ExpectExactAtTheModelsRows({{2, 6000}}); }
TEST_P(MlaDecodeTest, MatchesAtMoreOfTheModelsRows) { ExpectExactAtTheModelsRows({{2, 24001}}); }

// Whichever block or thread is done first.
TEST_P(MlaDecodeTest, GivesTheSameBitsEveryTime) {
  RILL_NEEDS_OP(mla_decode);
  ExpectTheSameBits(MakeMlaCase(random_, {32, 8, 64, 8, 512}, 1, 4999, WeightFormat::kQ4, DType::kBf16, 4), 21);
}

// Many tiles a block: every stage of its ring is filled again and again while warps still read the stage beside it.
TEST_P(MlaDecodeTest, GivesTheSameBitsOverManyTilesOfABlock) {
  RILL_NEEDS_OP(mla_decode);
  if (is_host()) GTEST_SKIP() << "tiles are the GPU's";
  ExpectTheSameBits(MakeMlaCase(random_, {1, 8, 64, 8, 512}, 1, 60'000, WeightFormat::kQ4, DType::kBf16, 4), 4);
}

// 164 KB of shared memory leave no room for tiles by warpgroup products: where a GPU has those, this compares them with the portable ones, which
// round the same things. Slots of one tile, of two and of a few more than two, for a few heads, for a group of them and for more.
TEST_P(MlaDecodeTest, AgreesWithTilesInLessSharedMemory) {
  RILL_NEEDS_OP(mla_decode);
  if (GetParam() != "cuda") GTEST_SKIP() << "tiles are the GPU's";
  const auto less = OpenCudaDevice(0, SmBudget(), 164 << 10);
  ASSERT_TRUE(less.ok()) << less.status();
  Rig small(**less);
  for (const auto& [heads, length] : {std::pair<int64_t, int64_t>{32, 33}, {5, 4097}, {33, 9000}, {32, 17'000}}) {
    const MlaCase c = MakeMlaCase(random_, {heads, 8, 64, 8, 512}, 1, length - 1, WeightFormat::kBf16, DType::kBf16, 4);
    const MlaDecodeArgs args = DecodeArgs(rig(), PrefillArgs(rig(), c), 0), other = DecodeArgs(small, PrefillArgs(small, c), 0);
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::mla_decode, args));
    ASSERT_TRUE((*less)->ops().mla_decode(**less, other).ok());
    ASSERT_TRUE((*less)->Synchronize().ok());
    EXPECT_TRUE(Close(rig().Read(args.out), small.Read(other.out), 2e-3, 0.1)) << heads << " heads, " << length << " rows";
  }
}

// A sharp softmax moves the running maximum from split to split; a late maximum must not lose the
// early rows' scale.
TEST_P(MlaDecodeTest, SharpSoftmaxAcrossSplits) {
  RILL_NEEDS_OP(mla_decode);
  const MlaShape shape = {2, 32, 16, 16, 64};
  ASSERT_NO_FATAL_FAILURE(
      ExpectExact(MakeMlaCase(random_, shape, 1, 500, WeightFormat::kF32, DType::kF32, 30), 1e-4));
}

TEST(MlaDecodeCheck, NamesTheFieldThatDoesNotFit) {
  Random random;
  const auto device = *OpenTestDevice("ref");
  Rig rig(*device);
  const MlaCase c = MakeMlaCase(random, {2, 16, 8, 24, 40}, 1, 9, WeightFormat::kF32, DType::kF32);
  const MlaDecodeArgs good = DecodeArgs(rig, PrefillArgs(rig, c), 0);
  using Args = MlaDecodeArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "mla_decode.length: 0, expected at least 1", [](Args& a) { a.length = 0; });
  ExpectRefused(good, "mla_decode.shape.n_heads: 0", [](Args& a) { a.shape.n_heads = 0; });
  ExpectRefused(good, "mla_decode.shape.nope: 0", [](Args& a) { a.shape.nope = 0; });
  ExpectRefused(good, "mla_decode.shape.rope: -1", [](Args& a) { a.shape.rope = -1; });
  ExpectRefused(good, "mla_decode.shape.value: 2097152", [](Args& a) { a.shape.value = 1 << 21; });
  ExpectRefused(good, "mla_decode.shape.latent: 0", [](Args& a) { a.shape.latent = 0; });
  ExpectRefused(good, "mla_decode.scale: nan", [](Args& a) { a.scale = NAN; });
  ExpectRefused(good, "mla_decode.q: shape [1, 2, 23], expected [1, 2, 24]",
                [](Args& a) { a.q.dim[2] = 23; });
  ExpectRefused(good, "mla_decode.kv_b: 81 rows, expected 80", [](Args& a) { a.kv_b.rows = 81; });
  ExpectRefused(good, "mla_decode.kv_b: 41 columns, expected 40",
                [](Args& a) { a.kv_b.cols = 41; });
  ExpectRefused(good, "mla_decode.cache: latent is 39, expected 40",
                [](Args& a) { a.cache.latent = 39; });
  ExpectRefused(good, "mla_decode.cache: page table absent",
                [](Args& a) { a.cache.pages = nullptr; });
  ExpectRefused(good, "mla_decode.out: shape [1, 2, 16], expected [1, 2, 24]",
                [](Args& a) { a.out.dim[2] = 16; });
  ExpectRefused(good, "mla_decode.out: its 192 bytes overlap the 192 bytes of mla_decode.q",
                [](Args& a) { a.out.data = a.q.data; });
  ExpectRefused(good, "mla_decode.workspace: absent", [](Args& a) { a.workspace = {}; });
  ExpectRefused(good, "mla_decode.workspace: 63 bytes, expected at least",
                [](Args& a) { a.workspace.dim[0] = 63; });
  ExpectRefused(good, "mla_decode.workspace: address is no multiple of 64",
                [](Args& a) { a.workspace.data = static_cast<char*>(a.workspace.data) + 4; });
}

TEST(MlaWorkspace, IsBoundedInTokensAndContext) {
  const MlaShape shape = {32, 128, 64, 128, 512};
  EXPECT_LE(MlaWorkspaceBytes(shape, 1, 1), MlaWorkspaceBytes(shape, 1, kMlaSplitTokens));
  EXPECT_LE(MlaWorkspaceBytes(shape, 1, kMlaSplitTokens), MlaWorkspaceBytes(shape, 1, 1 << 20));
  EXPECT_EQ(MlaWorkspaceBytes(shape, 1, 1 << 14), MlaWorkspaceBytes(shape, 1, 1 << 20));
  EXPECT_EQ(MlaWorkspaceBytes(shape, 64, 1 << 14), MlaWorkspaceBytes(shape, 4096, 1 << 20));
  EXPECT_LE(MlaWorkspaceBytes(shape, 4096, 1 << 20), uint64_t{8} << 20);
}

RILL_FOR_EACH_DEVICE(MlaDecodeTest);

}  // namespace
}  // namespace rill::test
