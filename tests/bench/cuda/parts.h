// tests/bench/cuda/parts.h — the ceilings of a GPU and the parts of a decode step, timed one by one on its stream.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/ops/fused_decoder.h"

namespace rill::bench {

// Bytes per second of a kernel that only reads, over `bytes` of device memory, with as many blocks as the device may use fill.
absl::StatusOr<double> ReadBandwidth(cuda::CudaDevice& device, size_t bytes);

// Microseconds of one KDA mixer phase (low-rank gates, convolution, gates, recurrence, gated norm) with the barrier behind it, over all KDA layers
// of all `specs` in turn: their states together are larger than the second-level cache.
absl::StatusOr<double> KdaStepMicros(cuda::CudaDevice& device, absl::Span<const DecoderSpec> specs);

// Microseconds of one MoE block (norm, router, top-k, experts, down, sum, residual: three phases and barriers), over all MoE layers in turn.
absl::StatusOr<double> MoeStepMicros(cuda::CudaDevice& device, const DecoderSpec& spec);

// Microseconds of an empty phase: one barrier across the grid.
absl::StatusOr<double> BarrierMicros(cuda::CudaDevice& device, const DecoderSpec& spec);

}  // namespace rill::bench
