// kernels/cuda/table.h — the operators of this folder, as they enter the operator table. One .cu file each family.
#pragma once

#include <memory>

#include "kernels/device/device.h"
#include "kernels/ops/fused_decoder.h"

namespace rill::cuda {

const OpTable& Table();

absl::Status Embed(Device& device, const EmbedArgs& args);
absl::Status Add(Device& device, const AddArgs& args);
absl::Status RmsNorm(Device& device, const RmsNormArgs& args);
absl::Status GatedRmsNorm(Device& device, const GatedRmsNormArgs& args);
absl::Status L2Norm(Device& device, const L2NormArgs& args);
absl::Status ShortConv(Device& device, const ShortConvArgs& args);
absl::Status KdaGate(Device& device, const KdaGateArgs& args);
absl::Status KdaStep(Device& device, const KdaStepArgs& args);
absl::Status KdaChunk(Device& device, const KdaChunkArgs& args);
absl::Status KdaReplay(Device& device, const KdaReplayArgs& args);
absl::Status MlaAppend(Device& device, const MlaAppendArgs& args);
absl::Status MlaDecode(Device& device, const MlaDecodeArgs& args);
absl::Status MlaPrefill(Device& device, const MlaPrefillArgs& args);
absl::Status Router(Device& device, const RouterArgs& args);
absl::Status Experts(Device& device, const ExpertsArgs& args);
absl::Status Swiglu(Device& device, const SwigluArgs& args);
absl::Status Matvec(Device& device, const MatvecArgs& args);
absl::Status Matmul(Device& device, const MatmulArgs& args);
absl::Status Sample(Device& device, const SampleArgs& args);

absl::StatusOr<std::unique_ptr<FusedDecoder>> MakeFusedDecoder(Device& device, const DecoderSpec& spec);
uint64_t FusedDecoderBytes(const DecoderSpec& spec);

}  // namespace rill::cuda
