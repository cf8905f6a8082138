// Every body, for the namespace and instruction set of the file that includes this, and the table
// of them.
//
// In the order of use, which is not the alphabet's.
// clang-format off
#include "kernels/cpu/isa.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/math.inl.h"
#include "kernels/cpu/rows.inl.h"
#include "kernels/cpu/weights.inl.h"
#include "kernels/cpu/matvec.inl.h"
#include "kernels/cpu/tile.inl.h"
#include "kernels/cpu/matmul.inl.h"
#include "kernels/cpu/short_conv.inl.h"
#include "kernels/cpu/kda.inl.h"
#include "kernels/cpu/mla.inl.h"
// clang-format on

namespace rill::RILL_SIMD_NAMESPACE {

constexpr cpu::Isa MakeIsa(CpuIsa id) {
  return {
      .id = id,
      .matvec = Matvec,
      .matmul = Matmul,
      .decode_row = DecodeRow,
      .add = AddRow,
      .rms_norm = RmsNorm,
      .l2_norm = L2Norm,
      .gated_rms_norm = GatedRmsNorm,
      .swiglu = Swiglu,
      .sigmoid = SigmoidRow,
      .softmax = Softmax,
      .kda_decay = KdaDecay,
      .weighted_sum = WeightedSum,
      .mla_row = MlaRow,
      .largest = Largest,
      .sum_exp = SumExp,
      .short_conv = ShortConv,
      .kda_run = KdaRun,
      .kda_replay = KdaReplay,
      .mla_absorb = MlaAbsorb,
      .mla_split = MlaSplit,
      .mla_combine = MlaCombine,
      .mla_finish = MlaFinish,
  };
}

}  // namespace rill::RILL_SIMD_NAMESPACE
