#include "tests/bench/cuda/parts.h"

#include <algorithm>
#include <vector>

#include "kernels/cuda/decoder_walk.cuh"
#include "kernels/cuda/launch.h"

namespace rill::bench {
namespace {

using cuda::CudaDevice;
using cuda::GridBarrier;
using cuda::kStepThreads;
using cuda::StepLayer;
using cuda::StepParams;
using cuda::StepShared;

constexpr int kRepeats = 7;

// The median time in microseconds of `run`, which starts work on the device's stream.
template <typename F>
absl::StatusOr<double> Micros(CudaDevice& device, F run) {
  cudaEvent_t begin, end;
  RILL_RETURN_IF_ERROR(device.Take(cudaEventCreate(&begin), "event"));
  RILL_RETURN_IF_ERROR(device.Take(cudaEventCreate(&end), "event"));
  std::vector<float> times;
  for (int i = 0; i < kRepeats + 1; ++i) {
    cudaEventRecord(begin, device.stream());
    RILL_RETURN_IF_ERROR(run());
    cudaEventRecord(end, device.stream());
    RILL_RETURN_IF_ERROR(device.Synchronize());
    float ms = 0;
    cudaEventElapsedTime(&ms, begin, end);
    if (i > 0) times.push_back(ms);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::sort(times.begin(), times.end());
  return 1000.0 * times[times.size() / 2];
}

__global__ void __launch_bounds__(1024) ReadKernel(const uint4* p, int64_t n, uint32_t* sink) {
  constexpr int kUnroll = 8;
  uint32_t sum = 0;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  for (; i + (kUnroll - 1) * stride < n; i += kUnroll * stride) {
    uint4 v[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) v[u] = cuda::LoadWeights(p + i + u * stride);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) sum ^= v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
  }
  if (sum == 0x12345678u) *sink = sum;  // keeps the loads alive
}

// A layer whose experts do not come from a router: other ones in every layer.
__device__ void PretendChoice(const cuda::Step& s, int layer) {
  if (cuda::ThreadId() < s.l.moe.top_k) {
    s.shared.ids[cuda::ThreadId()] = (cuda::ThreadId() * 31 + layer * 7) % s.l.moe.experts.n_experts;
    s.shared.weights[cuda::ThreadId()] = 0.125f;
  }
  __syncthreads();
}

template <Part part>
__device__ void RunPart(const cuda::Step& s, int layer, GridBarrier& barrier) {
  if (part == Part::kBarrier) barrier.Sync([] {});
  if (part == Part::kInputs) {
    cuda::InputsPhase inputs;
    barrier.Sync([&] { inputs.Start(s); });
    inputs.Finish(s, cuda::StageHidden(s, s.l.input_norm));
  }
  if (part == Part::kKda) {
    barrier.Arrive();
    cuda::KdaLoads loads;
    cuda::LoadSlice(s, cuda::BlockId(), loads);
    barrier.Wait();
    cuda::KdaMix(s, loads);
  }
  if (part == Part::kOutput) {
    cuda::OutputPhase output;
    barrier.Sync([&] { output.Start(s, s.l.o); });
    const cuda::Staged y = s.Place(s.memory, s.l.kda.C);
    cuda::StageHeads(s, y);
    __syncthreads();
    output.Finish(s, s.l.o, y);
    cuda::AdvanceTails(s);
  }
  if (part == Part::kMoe) cuda::FeedExperts(s, barrier);
  if (part == Part::kRoute) {
    cuda::RoutePhase route;
    barrier.Sync([&] { route.Start(s); });
    route.Finish(s, cuda::StageHidden(s, s.l.post_norm));
  }
  if (part == Part::kChoose) {
    cuda::QuickChoice quick;
    barrier.Sync([&] { quick.Load(s.l.moe); });
    cuda::ChooseExperts(s, quick, s.memory + s.p.staged_bytes);
  }
  if (part == Part::kGlu) {
    barrier.Sync([] {});
    const cuda::Staged x = cuda::StageHidden(s, s.l.post_norm);
    PretendChoice(s, layer);
    cuda::ExpertGlu(s, x);
  }
  if (part == Part::kDown) {
    PretendChoice(s, layer);
    cuda::DownPhase down;
    barrier.Sync([&] { down.Start(s); });
    down.Finish(s);
  }
}

template <Part part>
__global__ void __launch_bounds__(kStepThreads, 1) PartKernel(const __grid_constant__ StepParams params) {
  extern __shared__ __align__(128) char memory[];
  StepShared& shared = *reinterpret_cast<StepShared*>(memory);
  char* phase_memory = memory + AlignUp(sizeof(StepShared), 128);
  GridBarrier barrier(params.barrier, params.barrier_base);
  cuda::LoadParams(params, &shared.params);
  cuda::StartLoad(params.layers, &shared.layer[0]);
  cuda::FinishLoads();
  __syncthreads();
  const StepParams& p = shared.params;
  for (int i = 0; i < p.n_layers; ++i) {
    const cuda::Step s = {p, shared.layer[i % 2], shared, phase_memory};
    if (i + 1 < p.n_layers) cuda::StartLoad(p.layers + i + 1, &shared.layer[(i + 1) % 2]);
    RunPart<part>(s, i, barrier);
    cuda::FinishLoads();
    __syncthreads();
  }
}

template <Part part>
absl::StatusOr<double> PartMicros(CudaDevice& device, const DecoderSpec& spec, int barriers_per_layer) {
  StepParams params = {};
  size_t shared_bytes = 0;
  RILL_ASSIGN_OR_RETURN(Buffer memory, cuda::PrepareStep(device, spec, &params, &shared_bytes));
  RILL_RETURN_IF_ERROR(cuda::AllowShared(device, PartKernel<part>, shared_bytes, "part"));
  std::vector<float> x(spec.hidden);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.1f * static_cast<float>(static_cast<int>(i * 37 % 19) - 9);
  RILL_RETURN_IF_ERROR(device.CopyIn(params.scratch.x, x.data(), x.size() * sizeof(float)));
  const unsigned grid = device.sm_count();
  const auto run = [&] {
    void* args[] = {&params};
    const absl::Status status = device.Take(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(PartKernel<part>), dim3(grid), dim3(kStepThreads),
                                                                        args, shared_bytes, device.stream()), "part");
    params.barrier_base += grid * static_cast<unsigned>(barriers_per_layer * spec.layers.size());
    return status;
  };
  RILL_ASSIGN_OR_RETURN(const double micros, Micros(device, run));
  return micros / static_cast<double>(spec.layers.size());
}

// The layers that `wanted` takes, of all specs, as one long model.
struct Selection {
  std::vector<LayerWeights> layers;
  std::vector<DecoderLayerState> states;
  DecoderSpec spec;
};

template <typename Wanted>
Selection Select(absl::Span<const DecoderSpec> specs, Wanted wanted) {
  Selection s;
  for (const DecoderSpec& spec : specs) {
    for (size_t i = 0; i < spec.layers.size(); ++i) {
      if (!wanted(spec.layers[i])) continue;
      s.layers.push_back(spec.layers[i]);
      s.states.push_back(spec.states[i]);
    }
  }
  s.spec = specs[0];
  s.spec.layers = s.layers;
  s.spec.states = s.states;
  return s;
}

}  // namespace

absl::StatusOr<double> ReadBandwidth(CudaDevice& device, size_t bytes) {
  RILL_ASSIGN_OR_RETURN(Buffer memory, Buffer::Allocate(device, bytes));
  RILL_RETURN_IF_ERROR(device.Fill(memory.data(), 0x5A, bytes));
  RILL_ASSIGN_OR_RETURN(const double micros, Micros(device, [&] {
                          ReadKernel<<<2 * device.sm_count(), 1024, 0, device.stream()>>>(memory.as<uint4>(), bytes / 16, memory.as<uint32_t>());
                          return device.Launched("read");
                        }));
  return static_cast<double>(bytes) / micros * 1e6;
}

absl::StatusOr<double> StepPartMicros(CudaDevice& device, absl::Span<const DecoderSpec> specs, Part part) {
  const Selection kda = Select(specs, [](const LayerWeights& w) { return w.is_kda; });
  const Selection moe = Select(specs.subspan(0, 1), [](const LayerWeights& w) { return w.is_moe; });
  switch (part) {
    case Part::kBarrier: return PartMicros<Part::kBarrier>(device, kda.spec, 1);
    case Part::kInputs: return PartMicros<Part::kInputs>(device, kda.spec, 1);
    case Part::kKda: return PartMicros<Part::kKda>(device, kda.spec, 1);
    case Part::kOutput: return PartMicros<Part::kOutput>(device, kda.spec, 1);
    case Part::kMoe: return PartMicros<Part::kMoe>(device, moe.spec, 3);
    case Part::kRoute: return PartMicros<Part::kRoute>(device, moe.spec, 1);
    case Part::kChoose: return PartMicros<Part::kChoose>(device, moe.spec, 1);
    case Part::kGlu: return PartMicros<Part::kGlu>(device, moe.spec, 1);
    case Part::kDown: return PartMicros<Part::kDown>(device, moe.spec, 1);
  }
  return absl::InternalError("unknown part");
}

}  // namespace rill::bench
