// kernels/cpu/table.h — every operator of the cpu device. One .cc each; shapes and formulas are in
// kernels/ops.
#pragma once

#include "absl/status/status.h"
#include "kernels/device/op_table.h"

namespace rill::cpu {

absl::Status Embed(Device&, const EmbedArgs& args);
absl::Status Add(Device&, const AddArgs& args);
absl::Status RmsNorm(Device&, const RmsNormArgs& args);
absl::Status GatedRmsNorm(Device&, const GatedRmsNormArgs& args);
absl::Status L2Norm(Device&, const L2NormArgs& args);
absl::Status ShortConv(Device&, const ShortConvArgs& args);
absl::Status KdaGate(Device&, const KdaGateArgs& args);
absl::Status KdaStep(Device&, const KdaStepArgs& args);
absl::Status KdaChunk(Device&, const KdaChunkArgs& args);
absl::Status KdaReplay(Device&, const KdaReplayArgs& args);
absl::Status MlaAppend(Device&, const MlaAppendArgs& args);
absl::Status MlaDecode(Device&, const MlaDecodeArgs& args);
absl::Status MlaPrefill(Device&, const MlaPrefillArgs& args);
absl::Status Router(Device&, const RouterArgs& args);
absl::Status Experts(Device&, const ExpertsArgs& args);
absl::Status Swiglu(Device&, const SwigluArgs& args);
absl::Status Matvec(Device&, const MatvecArgs& args);
absl::Status Matmul(Device&, const MatmulArgs& args);
absl::Status Sample(Device&, const SampleArgs& args);

const OpTable& Table();

}  // namespace rill::cpu
