// kernels/cuda/decoder_kernel.cuh — the fused decode step as one kernel, for one format of the big matrices. A kernel a format, because a
// step that holds the code of all of them is a megabyte and waits for its own instructions.
#pragma once

#include "kernels/cuda/decoder_walk.cuh"

namespace rill::cuda {

// Two kernels a format: attention by warpgroup products (kWgmma) has to be part of the kernel itself, where it is in the way of all else, so short contexts
// have a kernel without it.
template <WeightFormat F, typename Barrier, bool kWgmma>
__global__ void __launch_bounds__(kBlockThreads, 1) StepKernel(const __grid_constant__ StepParams params) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr bool kThere = true;
#else
  constexpr bool kThere = !kWgmma;  // never launched where HasWgmma() is false
#endif
  if constexpr (kThere) {
    BeginStep(params);
    if (IsFeeder()) return FeedStep<F>();
#pragma unroll 1
    do {
      InputPhase<F, Barrier>(NextStep());
      Mix<F, Barrier, kWgmma>();
      FeedForward<F, Barrier>();
    } while (NextStep().index < params.n_layers);
    HeadPhase<F, Barrier>(Step{params.n_layers - 1});
  }
}

template <WeightFormat F>
const void* StepKernelOf(bool wgmma) {
  return wgmma ? reinterpret_cast<const void*>(StepKernel<F, GridBarrier, true>) : reinterpret_cast<const void*>(StepKernel<F, GridBarrier, false>);
}

}  // namespace rill::cuda
