// kernels/device/op_table.h — what a device can compute: one function pointer per operator, null where it cannot.
//
// The graph checks the table when a model is opened, so that a missing operator is named then and not on token 900.
// Every function checks its arguments (the Check() of the operator's header), starts the work and returns; the results
// are there after Device::Synchronize() on asynchronous devices and at once on host devices.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rill {

class Device;
class FusedDecoder;
struct DecoderSpec;

// One row per operator: member name, argument struct. Tests and benchmarks walk this list.
#define RILL_FOR_EACH_OP(X)          \
  X(embed, EmbedArgs)                \
  X(add, AddArgs)                    \
  X(rms_norm, RmsNormArgs)           \
  X(gated_rms_norm, GatedRmsNormArgs)\
  X(l2_norm, L2NormArgs)             \
  X(short_conv, ShortConvArgs)       \
  X(kda_gate, KdaGateArgs)           \
  X(kda_step, KdaStepArgs)           \
  X(kda_chunk, KdaChunkArgs)         \
  X(kda_replay, KdaReplayArgs)       \
  X(mla_append, MlaAppendArgs)       \
  X(mla_decode, MlaDecodeArgs)       \
  X(mla_prefill, MlaPrefillArgs)     \
  X(router, RouterArgs)              \
  X(experts, ExpertsArgs)            \
  X(swiglu, SwigluArgs)              \
  X(matvec, MatvecArgs)              \
  X(matmul, MatmulArgs)              \
  X(sample, SampleArgs)

#define RILL_DECLARE_ARGS(name, Args) struct Args;
RILL_FOR_EACH_OP(RILL_DECLARE_ARGS)
#undef RILL_DECLARE_ARGS

struct OpTable {
#define RILL_DECLARE_OP(name, Args) absl::Status (*name)(Device&, const Args&) = nullptr;
  RILL_FOR_EACH_OP(RILL_DECLARE_OP)
#undef RILL_DECLARE_OP

  // Optional, both or neither: a whole decode step as one piece of work (kernels/ops/fused_decoder.h).
  absl::StatusOr<std::unique_ptr<FusedDecoder>> (*make_fused_decoder)(Device&, const DecoderSpec&) = nullptr;
  uint64_t (*fused_decoder_bytes)(const DecoderSpec&) = nullptr;
};

}  // namespace rill
