// kernels/cuda/decoder_kernel.cuh — the fused decode step as one kernel, for one format of the big matrices. A kernel a format, because a
// step that holds the code of all of them is a megabyte and waits for its own instructions.
#pragma once

#include "kernels/cuda/decoder_walk.cuh"

namespace rill::cuda {

// The phases' view of layer i. The base is opaque: see OpaqueZero().
__device__ __forceinline__ Step StepOf(int i, int& turn) {
  char* base = block_memory + OpaqueZero();
  StepShared& shared = *reinterpret_cast<StepShared*>(base);
  const StepParams& p = shared.params;
  const JobMemory job = {SharedAddress(base) + p.sums_at, SharedAddress(base) + p.slots_at, SharedAddress(shared.zeros), p.slots};
  return {p, shared.layer[i % 2], shared, base + kPhaseAt, job, turn};
}

template <WeightFormat F, typename Barrier>
__global__ void __launch_bounds__(kStepThreads, 1) StepKernel(const __grid_constant__ StepParams params) {
  {
    StepShared& shared = *reinterpret_cast<StepShared*>(block_memory);
    BeginStep(params, shared);
    LoadLayer(params.layers, &shared.layer[0]);
    __syncthreads();
  }
  Barrier barrier(params);
  int turn = 0;
  {
    const Step s = StepOf(0, turn);
    const InputRows<F> inputs(s);
    BuildFirst(s, inputs);
    __syncthreads();
  }
#pragma unroll 1
  for (int i = 0; i < params.n_layers; ++i) {
    const Step s = StepOf(i, turn);
    {
      InputRows<F> inputs(s);  // built already: the phase before ended in a barrier of the block behind it
      if (i == 0) {
        inputs.Start(s);
        Embed(s);
      } else {
        barrier.Sync([&] { inputs.Start(s); });
      }
      StageNormed<F>(inputs.norm, s.l.input_norm);
      inputs.RunPlain(s);
      BuildAhead<OutputRows<F>>(s, s.l.o, s.l.window.output);  // behind the mixer, which has no job
      RunPasses<F>(s, inputs);
    }
    if (s.l.is_kda) MixKda<F>(s, barrier);
    else MixMla<F>(s, barrier);
    const bool more = i + 1 < params.n_layers;
    const NextLayer after = {more ? params.layers + i + 1 : nullptr, &s.shared.layer[(i + 1) % 2]};
    if (s.l.is_moe) FeedExperts<F>(s, barrier, after);
    else FeedDense<F>(s, barrier, after);
  }
  const Step s = StepOf(0, turn);
  HeadRows<F> head(s);
  barrier.Sync([&] { head.Start(s); });
  head.Finish(s);
}

}  // namespace rill::cuda
