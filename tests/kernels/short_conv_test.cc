#include "kernels/ops/short_conv.h"

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class ShortConvTest : public DeviceTest {};

struct Inputs {
  int64_t T, C, W;
  std::vector<float> x, weight, tail;
};

Inputs RandomInputs(Random& random, int64_t T, int64_t C, int64_t W) {
  return {T, C, W, random.Normal(T * C), random.Normal(C * W), random.Normal(C * (W - 1))};
}

// Input of channel c at time t; times below 0 lie in the tail.
float InputAt(const Inputs& in, int64_t t, int64_t c) {
  return t >= 0 ? in.x[t * in.C + c] : in.tail[c * (in.W - 1) + in.W - 1 + t];
}

std::vector<double> Expected(const Inputs& in) {
  std::vector<double> out(in.T * in.C);
  for (int64_t t = 0; t < in.T; ++t) {
    for (int64_t c = 0; c < in.C; ++c) {
      double y = 0;
      for (int64_t j = 0; j < in.W; ++j)
        y += double{in.weight[c * in.W + j]} * InputAt(in, t - in.W + 1 + j, c);
      out[t * in.C + c] = y / (1 + std::exp(-y));
    }
  }
  return out;
}

std::vector<float> ExpectedTail(const Inputs& in, int64_t after) {
  std::vector<float> tail;
  for (int64_t c = 0; c < in.C; ++c) {
    for (int64_t j = 1; j < in.W; ++j) tail.push_back(InputAt(in, after - in.W + j, c));
  }
  return tail;
}

ShortConvArgs Place(Rig& rig, const Inputs& in) {
  ShortConvArgs args = {};
  args.x = rig.In(in.x, {in.T, in.C});
  args.weight = rig.In(in.weight, {in.C, in.W});
  args.tail = rig.In(in.tail, {in.C, in.W - 1});
  args.out = rig.Out({in.T, in.C});
  return args;
}

TEST_P(ShortConvTest, ConvolvesAndKeepsTheTail) {
  RILL_NEEDS_OP(short_conv);
  for (const int64_t T : {1, 2, 3, 4, 5, 31, 127}) {
    for (const int64_t C : {1, 31, 33, 384}) {
      for (const int64_t W : {2, 4, 7, 8}) {
        const Inputs in = RandomInputs(random_, T, C, W);
        const ShortConvArgs args = Place(rig(), in);
        ASSERT_NO_FATAL_FAILURE(Run(&OpTable::short_conv, args));
        EXPECT_TRUE(Close(rig().Read(args.out), Expected(in), Tolerance(1e-6), 1))
            << T << " x " << C << ", " << W;
        EXPECT_TRUE(SameBits(rig().Read(args.tail), ExpectedTail(in, T)))
            << T << " x " << C << ", " << W;
      }
    }
  }
}

TEST_P(ShortConvTest, PiecesGiveTheBitsOfTheWhole) {
  RILL_NEEDS_OP(short_conv);
  const int64_t T = 67, C = 100, W = 4;
  const Inputs in = RandomInputs(random_, T, C, W);
  const ShortConvArgs whole = Place(rig(), in);
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::short_conv, whole));
  const ShortConvArgs pieces = Place(rig(), in);
  for (int64_t t = 0; t < T;) {
    const int64_t n = std::min<int64_t>(T - t, random_.Int(1, 9));
    ShortConvArgs piece = pieces;
    piece.x = pieces.x.Rows(t, n);
    piece.out = pieces.out.Rows(t, n);
    ASSERT_NO_FATAL_FAILURE(Run(&OpTable::short_conv, piece));
    t += n;
  }
  EXPECT_TRUE(SameBits(rig().Read(pieces.out), rig().Read(whole.out)));
  EXPECT_TRUE(SameBits(rig().Read(pieces.tail), rig().Read(whole.tail)));
}

TEST_P(ShortConvTest, OneTokenMayBeDoneInPlace) {
  RILL_NEEDS_OP(short_conv);
  const Inputs in = RandomInputs(random_, 1, 200, 4);
  ShortConvArgs args = Place(rig(), in);
  args.out = args.x;
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::short_conv, args));
  EXPECT_TRUE(Close(rig().Read(args.out), Expected(in), Tolerance(1e-6), 1));
  EXPECT_TRUE(SameBits(rig().Read(args.tail), ExpectedTail(in, 1)));
}

TEST_P(ShortConvTest, ExportsTailsInsideTheCall) {
  RILL_NEEDS_OP(short_conv);
  const int64_t T = 129, C = 40, W = 4;
  const Inputs in = RandomInputs(random_, T, C, W);
  ShortConvArgs args = Place(rig(), in);
  std::vector<StateExport> exports;
  std::vector<TensorView> targets;
  for (const int64_t after :
       {int64_t{1}, int64_t{2}, int64_t{3}, int64_t{63}, int64_t{64}, int64_t{65}, T}) {
    targets.push_back(rig().Out({C, W - 1}));
    exports.push_back({after, targets.back().data});
  }
  args.exports = exports;
  ASSERT_NO_FATAL_FAILURE(Run(&OpTable::short_conv, args));
  for (size_t i = 0; i < exports.size(); ++i) {
    EXPECT_TRUE(SameBits(rig().Read(targets[i]), ExpectedTail(in, exports[i].after)))
        << "after " << exports[i].after;
  }
}

TEST_P(ShortConvTest, RingKeepsTheLastInputsWhereverItWraps) {
  RILL_NEEDS_OP(short_conv);
  const int64_t C = 33, R = 8;
  for (const int64_t T : {1, 5, 8, 21}) {
    for (const int64_t position : {int64_t{0}, int64_t{6}, int64_t{1000003}}) {
      const Inputs in = RandomInputs(random_, T, C, 4);
      ShortConvArgs args = Place(rig(), in);
      const std::vector<float> before = random_.Normal(R * C);
      args.ring = rig().In(before, {R, C});
      args.position = position;
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::short_conv, args));
      std::vector<float> want = before;
      for (int64_t t = 0; t < T; ++t) {
        for (int64_t c = 0; c < C; ++c) want[(position + t) % R * C + c] = in.x[t * C + c];
      }
      EXPECT_TRUE(SameBits(rig().Read(args.ring), want)) << T << " tokens at " << position;
    }
  }
}

TEST(ShortConvCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(256);
  float* m = memory.data();
  ShortConvArgs good = {};
  good.x = F32View(m, 2, 3);
  good.weight = F32View(m + 8, 3, 4);
  good.tail = F32View(m + 24, 3, 3);
  good.out = F32View(m + 40, 2, 3);
  good.ring = F32View(m + 48, 5, 3);
  using Args = ShortConvArgs;
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "short_conv.x: rank 1", [](Args& a) { a.x.rank = 1; });
  ExpectRefused(good, "short_conv.weight taps: 1, expected at least 2",
                [](Args& a) { a.weight.dim[1] = 1; });
  ExpectRefused(good, "short_conv.weight taps: 9, expected at most 8",
                [](Args& a) { a.weight.dim[1] = 9; });
  ExpectRefused(good, "short_conv.weight: shape [2, 4], expected [3, 4]",
                [](Args& a) { a.weight.dim[0] = 2; });
  ExpectRefused(good, "short_conv.tail: shape [3, 4], expected [3, 3]",
                [](Args& a) { a.tail.dim[1] = 4; });
  ExpectRefused(good, "short_conv.out: shape [1, 3], expected [2, 3]",
                [](Args& a) { a.out.dim[0] = 1; });
  ExpectRefused(good, "short_conv.out: its 24 bytes overlap the 24 bytes of short_conv.x",
                [&](Args& a) { a.out.data = m; });
  ExpectRefused(good, "short_conv.ring: shape [5, 2], expected [5, 3]",
                [](Args& a) { a.ring.dim[1] = 2; });
  ExpectRefused(good, "short_conv.position: -1, expected at least 0",
                [](Args& a) { a.position = -1; });
  ExpectRefused(good, "short_conv.ring: its 60 bytes overlap the 24 bytes of short_conv.out",
                [&](Args& a) { a.ring.data = m + 41; });
  StateExport exports[] = {{1, m + 100}, {3, m + 120}};
  ExpectRefused(good, "short_conv.exports: entry 1 is after 3, expected at most 2",
                [&](Args& a) { a.exports = exports; });
  exports[1].after = 1;
  ExpectRefused(good, "short_conv.exports: entry 1 is after 1, expected more than 1",
                [&](Args& a) { a.exports = exports; });
  exports[1] = {2, nullptr};
  ExpectRefused(good, "short_conv.exports: entry 1 has no target",
                [&](Args& a) { a.exports = exports; });
}

RILL_FOR_EACH_DEVICE(ShortConvTest);

}  // namespace
}  // namespace rill::test
