#include "tests/bench/cuda/parts.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cuda/decoder_kernel.cuh"
#include "kernels/cuda/launch.h"

namespace rill::bench {
namespace {

using cuda::CudaDevice;
using cuda::GridBarrier;
using cuda::kStepThreads;
using cuda::StepLayer;
using cuda::StepParams;

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

constexpr WeightFormat kFormat = WeightFormat::kQ4;
constexpr bool IsMoe(Part part) { return part == Part::kMoe || part == Part::kKnown; }

template <Part part>
__device__ __forceinline__ void RunPart(cuda::Step s) {
  if (part == Part::kBarrier) GridBarrier::Wait(s), GridBarrier::Arrive(s);
  if (part == Part::kInputs) cuda::InputPhase<kFormat, GridBarrier>(s), GridBarrier::Arrive(s);
  if (part == Part::kKda) cuda::KdaPhase<kFormat, cuda::kUsualRows, GridBarrier>(s);
  if (part == Part::kOutput) cuda::OutputPhase<kFormat, GridBarrier>(s);
  if (part == Part::kMoe) {
    cuda::ExpertPhase<kFormat, GridBarrier>(s);
    cuda::DownPhase<kFormat, GridBarrier>(s);
  }
  if (part == Part::kKnown) {
    cuda::StageNormed<kFormat, GridBarrier>(s, s.l().post_norm, cuda::SharedAddress(s.plain(cuda::kPlainRouter)), false, s.l().x_mark, s.router_mark());
    cuda::MultiplyExperts<kFormat, GridBarrier>(s);
    cuda::DownPhase<kFormat, GridBarrier>(s);
  }
}

// The feeders' side of it.
template <Part part>
__device__ __forceinline__ void FeedPart(cuda::Step s, cuda::Feeder& f) {
  if (part == Part::kInputs) cuda::Feed<kFormat, cuda::InputRows<kFormat>>(s, f);
  if (part == Part::kKda) {
    cuda::PrefetchAhead(s.l().ahead, f);
    cuda::FeedSlices<kFormat>(s, f);
  }
  if (part == Part::kOutput) cuda::Feed<kFormat, cuda::OutputRows<kFormat, cuda::Answer::kMixer>>(s, f);
  if (IsMoe(part)) {
    cuda::Feed<kFormat, cuda::GluRows<kFormat>>(s, f);
    cuda::Feed<kFormat, cuda::ExpertRows<kFormat>>(s, f);
    cuda::Feed<kFormat, cuda::DownRows<kFormat>>(s, f);
  }
}

// A part alone finds what another part would have written: marked 1 by KDA layers, always. Of the residual stream a mixer alone sets the mark that a
// feed-forward alone finds, so it alternates from layer to layer and from launch to launch (`token` counts them).
template <Part part>
__device__ __forceinline__ void SetMarks(const StepParams& params, int i, StepLayer* layer) {
  layer->kda.use = 0;
  layer->x_mark = part == Part::kOutput || IsMoe(part) ? (params.token * params.n_layers + i) & 1 : 1;
}

// As in a step the feeders bring the layers' addresses and go ahead, here by one layer. Two barriers of the block for each of two layers: at one the feeders
// arrive when the layer is there and the workers wait, at the other the workers arrive when they have left it and the feeders wait.
__device__ __forceinline__ int ThereBarrier(int i) { return 6 + i % 2; }
__device__ __forceinline__ int LeftBarrier(int i) { return 9 + i % 2; }
__device__ __forceinline__ void ArriveAt(int barrier) { asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "n"(cuda::kBlockThreads) : "memory"); }
__device__ __forceinline__ void WaitAt(int barrier) { asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"(cuda::kBlockThreads) : "memory"); }

// Experts in place of the router's, by one feeder warp. Those of the layer before have been fed.
__device__ __forceinline__ void ChooseAnyhow(cuda::Step s) {
  const cuda::StepMoe& m = s.l().moe;
  const int lane = threadIdx.x % cuda::kWarp;
  if (lane < m.top_k) {
    s.shared().chosen[lane] = m.experts.record[(s.index * 29 + lane * 31) % m.router.rows];
    s.shared().weights[lane] = 1.0f / static_cast<float>(m.top_k);
  }
  cuda::Arrive(s.shared().has_chosen);
}

template <Part part>
__device__ __forceinline__ void BringLayer(const StepParams& params, int i, const cuda::Feeder& f) {
  const cuda::Step s = {i};
  const auto meet = [] { asm volatile("bar.sync 8, %0;" ::"n"(cuda::kFeederWarps * cuda::kWarp) : "memory"); };
  if (i > 2) WaitAt(LeftBarrier(i - 2));
  StepLayer* layer = &s.shared().layer[i % cuda::kLayersKept];
  cuda::LoadLayer(params.layers + i - 1, layer, threadIdx.x - kStepThreads, cuda::kFeederWarps * cuda::kWarp);
  meet();
  if (threadIdx.x == kStepThreads) SetMarks<part>(params, i, layer);
  meet();
  if (part == Part::kKnown && f.warp == 0) ChooseAnyhow(s);
  if (IsMoe(part)) cuda::KeepRecords(s);
  if (f.warp == 0) cuda::FindPlainRows(s);
  ArriveAt(ThereBarrier(i));
}

template <Part part>
__global__ void __launch_bounds__(cuda::kBlockThreads, 1) PartKernel(const __grid_constant__ StepParams params) {
  cuda::BeginStep(params);
  cuda::Feeder f;
  if (!cuda::IsFeeder()) GridBarrier::Arrive(cuda::Step{0});  // for the first phase, which waits
#pragma unroll 1
  for (int i = 1; i <= params.n_layers; ++i) {  // the first layer's inputs would come from the embedding, without a barrier
    const cuda::Step s = {i};
    if (cuda::IsFeeder()) {
      BringLayer<part>(params, i, f);
      FeedPart<part>(s, f);
    } else {
      WaitAt(ThereBarrier(i));
      cuda::EnterStep(s);
      RunPart<part>(s);
      if (i + 2 <= params.n_layers) ArriveAt(LeftBarrier(i));
    }
  }
}

// Notes three times a barrier, one block's: arriving, waiting, gone on.
struct TimedBarrier {
  __device__ __forceinline__ static void Arrive(cuda::Step s) {
    Note(s);
    GridBarrier::Arrive(s);
  }
  __device__ __forceinline__ static void ArriveMarked(cuda::Step s) {
    Note(s);
    GridBarrier::ArriveMarked(s);
  }
  __device__ __forceinline__ static void Wait(cuda::Step s) {
    Note(s);
    GridBarrier::Wait(s);
    Note(s);
  }
  __device__ __forceinline__ static void Note(cuda::Step s) {
    if (cuda::BlockId() != 0 || cuda::ThreadId() != 0) return;
    long long wall;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(wall));
    long long*& to = s.shared().params.trace;
    to[0] = clock64(), to[1] = wall;
    to += 2;
  }
};

// n values of a few tenths, marked.
absl::Status FillMarked(CudaDevice& device, float* to, uint64_t n, uint32_t mark) {
  std::vector<uint32_t> values(n);
  for (uint64_t i = 0; i < n; ++i) {
    const float x = 0.1f * static_cast<float>(static_cast<int>(i * 37 % 19) - 9);
    std::memcpy(&values[i], &x, sizeof(x));
    values[i] = (values[i] & ~1u) | mark;
  }
  return n == 0 ? absl::OkStatus() : device.CopyIn(to, values.data(), n * sizeof(float));
}

template <Part part>
absl::StatusOr<double> PartMicros(CudaDevice& device, const DecoderSpec& spec, unsigned barriers_per_layer) {
  StepParams params = {};
  size_t shared_bytes = 0;
  RILL_ASSIGN_OR_RETURN(Buffer memory, cuda::PrepareStep(device, spec, &params, &shared_bytes));
  RILL_RETURN_IF_ERROR(cuda::AllowShared(device, reinterpret_cast<const void*>(PartKernel<part>), shared_bytes, "part"));
  const cuda::ScratchSizes sizes = cuda::MeasureScratch(spec);
  RILL_RETURN_IF_ERROR(FillMarked(device, params.scratch.x, spec.hidden, IsMoe(part)));
  RILL_RETURN_IF_ERROR(FillMarked(device, params.scratch.projected, sizes.projected, 1));
  RILL_RETURN_IF_ERROR(FillMarked(device, params.scratch.heads, sizes.heads, 1));
  RILL_RETURN_IF_ERROR(FillMarked(device, params.scratch.squares, sizes.squares, 1));
  const unsigned grid = device.sm_count(), layers = static_cast<unsigned>(spec.layers.size());
  const auto run = [&] {
    void* args[] = {&params};
    const absl::Status status = device.Take(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(PartKernel<part>), dim3(grid), dim3(cuda::kBlockThreads),
                                                                        args, shared_bytes, device.stream()), "part");
    params.barrier_base += grid * (barriers_per_layer * layers + 1);
    params.moe_uses += layers, ++params.token;
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
    case Part::kMoe: return PartMicros<Part::kMoe>(device, moe.spec, 2);
    case Part::kKnown: return PartMicros<Part::kKnown>(device, moe.spec, 2);
  }
  return absl::InternalError("unknown part");
}

// One block's view of whole steps, the last of as many as make the chip as warm as decoding does.
absl::StatusOr<Timeline> StepTimeline(CudaDevice& device, const DecoderSpec& spec, int64_t position) {
  constexpr int kSteps = 48, kNotes = 3;  // a barrier notes three times
  StepParams params = {};
  size_t shared_bytes = 0;
  RILL_ASSIGN_OR_RETURN(Buffer memory, cuda::PrepareStep(device, spec, &params, &shared_bytes));
  const void* kernel = position >= params.wgmma_from ? reinterpret_cast<const void*>(cuda::StepKernel<kFormat, TimedBarrier, true>)
                             : reinterpret_cast<const void*>(cuda::StepKernel<kFormat, TimedBarrier, false>);
  RILL_RETURN_IF_ERROR(cuda::AllowShared(device, kernel, shared_bytes, "timeline"));
  const cuda::StepCounts counts = cuda::CountStep(spec);
  cuda::PlaceStep(position + kSteps - 1, &params);
  const int n_barriers = static_cast<int>(counts.Barriers(params.is_short));
  struct Moment {
    long long cycles, nanos;
  };
  std::vector<Moment> at(kNotes * n_barriers);
  RILL_ASSIGN_OR_RETURN(Buffer trace, Buffer::Allocate(device, at.size() * sizeof(Moment)));
  params.trace = trace.as<long long>();
  const unsigned grid = device.sm_count();
  for (int i = 0; i < kSteps; ++i) {
    params.token = 11 * i + 1;
    cuda::PlaceStep(position + i, &params);
    void* args[] = {&params};
    RILL_RETURN_IF_ERROR(device.Take(cudaLaunchCooperativeKernel(kernel, dim3(grid), dim3(cuda::kBlockThreads), args, shared_bytes, device.stream()), "timeline"));
    cuda::AdvanceParams(counts, grid, &params);
  }
  RILL_RETURN_IF_ERROR(device.CopyOut(at.data(), trace.data(), trace.bytes()));
  RILL_RETURN_IF_ERROR(device.Synchronize());
  int clock_khz = 0;
  RILL_RETURN_IF_ERROR(device.Take(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, 0), "clock rate"));
  const auto micros = [&](int from, int to) { return static_cast<double>(at[to].cycles - at[from].cycles) * 1e3 / clock_khz; };
  Timeline timeline = {{}, params.is_short, clock_khz / 1e3, static_cast<double>(at.back().cycles - at[0].cycles) * 1e3 / static_cast<double>(at.back().nanos - at[0].nanos)};
  for (int i = 0; i < n_barriers; ++i) {
    const int t = kNotes * i;
    timeline.phases.push_back({i == 0 ? 0 : micros(t - 1, t), micros(t, t + 1), micros(t + 1, t + 2)});
  }
  return timeline;
}

}  // namespace rill::bench
