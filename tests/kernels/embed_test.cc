#include "kernels/ops/embed.h"

#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace rill::test {
namespace {

class EmbedTest : public DeviceTest {};

TEST_P(EmbedTest, CopiesTheRowsOfEveryFormatExactly) {
  RILL_NEEDS_OP(embed);
  for (const WeightFormat format : kAllFormats) {
    for (const int64_t D : {1, 31, 33, 128, 2304}) {
      const int64_t vocab = 17;
      const std::vector<float> table = random_.Normal(vocab * D);
      const std::vector<float> rows = Rounded(format, table, vocab, D);
      const std::vector<int32_t> ids = {16, 0, 5, 5, 11};
      std::vector<float> want;
      for (const int32_t id : ids)
        want.insert(want.end(), rows.begin() + id * D, rows.begin() + (id + 1) * D);
      const EmbedArgs args = {rig().In(ids, {5}), rig().Matrix(format, table, vocab, D),
                              rig().Out({5, D})};
      ASSERT_NO_FATAL_FAILURE(Run(&OpTable::embed, args));
      EXPECT_TRUE(SameBits(rig().Read(args.out), want)) << Name(format) << " D = " << D;
    }
  }
}

TEST(EmbedCheck, NamesTheFieldThatDoesNotFit) {
  std::vector<float> memory(64);
  std::vector<int32_t> ids(4);
  EmbedArgs good = {MakeView(ids.data(), DType::kI32, 4),
                    BindMatrix(WeightFormat::kF32, 5, 3, memory.data()),
                    F32View(memory.data() + 20, 4, 3)};
  EXPECT_EQ(Complaint(good), "");
  ExpectRefused(good, "embed.ids: type f32, expected i32",
                [](EmbedArgs& a) { a.ids.dtype = DType::kF32; });
  ExpectRefused(good, "embed.table: absent", [](EmbedArgs& a) { a.table.values = nullptr; });
  ExpectRefused(good, "embed.table: 0 rows", [](EmbedArgs& a) { a.table.rows = 0; });
  ExpectRefused(good, "embed.table: -3 columns", [](EmbedArgs& a) { a.table.cols = -3; });
  ExpectRefused(good, "embed.table: unknown format 9",
                [](EmbedArgs& a) { a.table.format = static_cast<WeightFormat>(9); });
  ExpectRefused(good, "embed.table: format q8 without scales",
                [](EmbedArgs& a) { a.table.format = WeightFormat::kQ8; });
  ExpectRefused(good, "embed.table: format f32 with scales",
                [&](EmbedArgs& a) { a.table.scales = memory.data(); });
  ExpectRefused(good, "embed.table: values address", [](EmbedArgs& a) {
    a.table.values = static_cast<const char*>(a.table.values) + 2;
  });
  ExpectRefused(good, "embed.out: shape [5, 3], expected [4, 3]",
                [](EmbedArgs& a) { a.out.dim[0] = 5; });
  ExpectRefused(good, "embed.out: its 48 bytes overlap the 16 bytes of embed.ids",
                [&](EmbedArgs& a) { a.ids.data = a.out.data; });
}

RILL_FOR_EACH_DEVICE(EmbedTest);

}  // namespace
}  // namespace rill::test
