// tests/bench/cuda/parts.h — the ceilings of a GPU and the parts of a decode step, timed one by one on its stream.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/ops/fused_decoder.h"

namespace rill::bench {

// Bytes per second of a kernel that only reads, over `bytes` of device memory, with as many blocks as the device may use fill.
absl::StatusOr<double> ReadBandwidth(cuda::CudaDevice& device, size_t bytes);

// Phases of a layer; each begins with the barrier across the grid that precedes it in a step (KDA with its marks), and with what is asked for in front of
// it. As in a step the feeders have the layer's addresses by then.
enum class Part {
  kBarrier,  // nothing else
  kInputs,   // norm and input projections of a KDA layer
  kKda,      // low-rank gates, convolution, gates, recurrence, gated norm
  kOutput,   // output projection and residual
  kMoe,      // the whole MoE block: router, choice, shared experts and gate/up, down; two barriers
  kKnown,    // the same without a choice: the feeders know the experts before the layer begins, others in each layer. What the choice costs is the difference.
};

// Microseconds of one such phase in one layer, over the layers in turn. KDA phases rotate over the sessions in `specs`, whose states
// together are larger than the second-level cache.
absl::StatusOr<double> StepPartMicros(cuda::CudaDevice& device, absl::Span<const DecoderSpec> specs, Part part);

// One barrier of a step as its first block saw it, microseconds: the work in front of it (since the last one let go), what was asked for in
// its shadow, the wait.
struct PhaseTime {
  double work, meanwhile, wait;
};
// The last of many steps in a row. Times of phases are cycles at the nominal clock; under load the real one is lower, so both are reported.
struct Timeline {
  std::vector<PhaseTime> phases;
  bool is_short;  // attention was by heads
  double nominal_mhz, measured_mhz;
};
absl::StatusOr<Timeline> StepTimeline(cuda::CudaDevice& device, const DecoderSpec& spec, int64_t position);

}  // namespace rill::bench
