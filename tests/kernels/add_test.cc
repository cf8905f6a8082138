#include "kernels/ops/add.h"

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class AddTest : public DeviceTest {};

TEST_P(AddTest, AddsEveryElementAndRoundsOnce) {
  RILL_NEEDS_OP(add);
  for (const int64_t T : {1, 2, 31}) {
    for (const int64_t D : {1, 7, 33, 128, 2304}) {
      const std::vector<float> x = random_.Normal(T * D), y = random_.Normal(T * D);
      std::vector<float> want(x);
      for (size_t i = 0; i < x.size(); ++i) want[i] += y[i];
      const AddArgs args = {rig().In(x, {T, D}), rig().In(y, {T, D})};
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::add, args));
      EXPECT_TRUE(SameBits(rig().Read(args.x), want)) << T << " x " << D;
    }
  }
}

TEST(AddCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(64);
  const AddArgs good = {F32View(memory.data(), 2, 3), F32View(memory.data() + 6, 2, 3)};
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "add.x: absent", [](AddArgs& a) { a.x.data = nullptr; });
  ExpectRefused(good, "add.x: type bf16, expected f32",
                [](AddArgs& a) { a.x.dtype = DType::kBf16; });
  ExpectRefused(good, "add.x: rank 1, expected 2", [](AddArgs& a) { a.x.rank = 1; });
  ExpectRefused(good, "add.x: dimension 0 is 0", [](AddArgs& a) { a.x.dim[0] = 0; });
  ExpectRefused(good, "add.x: shape [4611686018427387904, 4]", [](AddArgs& a) {
    a.x.dim[0] = int64_t{1} << 62;
    a.x.dim[1] = 4;
  });
  ExpectRefused(good, "add.x: address",
                [](AddArgs& a) { a.x.data = static_cast<char*>(a.x.data) + 1; });
  ExpectRefused(good, "add.y: shape [2, 4], expected [2, 3]", [](AddArgs& a) { a.y.dim[1] = 4; });
  ExpectRefused(good, "add.y: its 24 bytes overlap the 24 bytes of add.x",
                [&](AddArgs& a) { a.y.data = memory.data() + 5; });
}

RILL_FOR_EACH_DEVICE(AddTest);

}  // namespace
}  // namespace rill::test
