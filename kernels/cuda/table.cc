#include "kernels/cuda/table.h"

namespace rill::cuda {

const OpTable& Table() {
  static constexpr OpTable kTable = {
      .embed = Embed,
      .add = Add,
      .rms_norm = RmsNorm,
      .gated_rms_norm = GatedRmsNorm,
      .l2_norm = L2Norm,
      .short_conv = ShortConv,
      .kda_gate = KdaGate,
      .kda_step = KdaStep,
      .kda_chunk = KdaChunk,
      .kda_replay = KdaReplay,
      .mla_append = MlaAppend,
      .mla_decode = MlaDecode,
      .mla_prefill = MlaPrefill,
      .router = Router,
      .experts = Experts,
      .swiglu = Swiglu,
      .matvec = Matvec,
      .matmul = Matmul,
      .sample = Sample,
      .make_fused_decoder = MakeFusedDecoder,
      .fused_decoder_bytes = FusedDecoderBytes,
  };
  return kTable;
}

}  // namespace rill::cuda
