// kernels/cuda/decoder_kernel.cuh — the fused decode step as one kernel, for one format of the big matrices. A kernel a format, because a
// step that holds the code of all of them is a megabyte and waits for its own instructions.
#pragma once

#include "kernels/cuda/decoder_walk.cuh"

namespace rill::cuda {

template <WeightFormat F, typename Barrier>
__global__ void __launch_bounds__(kBlockThreads, 1) StepKernel(const __grid_constant__ StepParams params) {
  BeginStep(params);
  if (IsFeeder()) return FeedStep<F>();
#pragma unroll 1
  do {
    InputPhase<F, Barrier>(NextStep());
    Mix<F, Barrier>();
    FeedForward<F, Barrier>();
  } while (NextStep().index < params.n_layers);
  HeadPhase<F, Barrier>(Step{params.n_layers - 1});
}

}  // namespace rill::cuda
