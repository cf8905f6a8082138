// mla_append, mla_decode and mla_prefill.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mla_tile.cuh"
#include "kernels/cuda/sm90/mla_tile.cuh"
#include "kernels/cuda/table.h"
#include "kernels/ops/mla_append.h"
#include "kernels/ops/mla_prefill.h"

namespace rill::cuda {
namespace {

constexpr int kThreads = kTileThreads;

__global__ void __launch_bounds__(kThreads) AppendKernel(MlaTask a, const float* kv, const float* weight, float eps, int64_t position) {
  __shared__ float scratch[kMaxWarps];
  const int64_t t = blockIdx.x;
  kv += t * (a.R + a.P), position += t;
  MakeRow(a, [&](int i) { return LoadShared(kv + i); }, weight, eps, scratch, [&](int i, float x) { PutInCache(a, position, i, x); });
}

// Grid (parts of the latent, H, T).
template <WeightFormat F>
__global__ void __launch_bounds__(kThreads) AbsorbKernel(MlaTask a, const float* q, float* absorbed) {
  __shared__ float shared[kAbsorbFloats];
  const int64_t row = blockIdx.z * int64_t{a.H} + blockIdx.y;
  const int h = blockIdx.y, column = blockIdx.x * kAbsorbColumns;
  q += row * (a.N + a.P), absorbed += blockIdx.z * int64_t{a.H} * a.R;
  AbsorbWords words;
  words.Load(a, h, column, AbsorbsWords<F>(a));
  Absorb<F>(a, [q](int i) { return LoadShared(q + i); }, h, column, words, [&](int c, float x) { PutQuery(a, absorbed, h, c, x); }, shared);
}

// Grid (slots, heads or groups of heads, T). Query t sees length + t rows. Partials: [T][slot][head].
struct Attend {
  MlaTask task;
  const float* q;
  const float* absorbed;
  float* partials;
  int64_t length;
  int stages;
};

__device__ float* PartialOf(const Attend& x, int64_t t, int h) {
  return x.partials + ((t * gridDim.x + blockIdx.x) * x.task.H + h) * PartialFloats(x.task.R);
}

__global__ void __launch_bounds__(kThreads) AttendPlainKernel(Attend x) {
  __shared__ float shared[kMlaTile + kMaxWarps];
  const MlaTask& a = x.task;
  const int64_t t = blockIdx.z, row = t * a.H + blockIdx.y, length = x.length + t;
  const TileRange tiles = SlotTiles(length, blockIdx.x, gridDim.x);
  const int64_t end = tiles.end * kMlaTile < length ? tiles.end * kMlaTile : length;
  const float* rope = x.q + row * (a.N + a.P) + a.N;
  AttendPlain(a, x.absorbed + row * a.R, [&](int p) { return LoadShared(rope + p); }, tiles.begin * kMlaTile, end, PartialOf(x, t, blockIdx.y), shared);
}

// With either kind of tiles.
template <typename Tiles>
__device__ __forceinline__ void AttendSlot(const Attend& x, Tiles& tiles) {
  if (threadIdx.x == 0) {
    const MlaTask& a = x.task;
    const int64_t t = blockIdx.z;
    const int length = static_cast<int>(x.length + t), first = static_cast<int>(blockIdx.y) * kTileHeads;
    const TileRange range = SlotTiles(length, blockIdx.x, gridDim.x);
    SetSignals(tiles);
    tiles.plan = {range.begin, range.end, length, length, min(kTileHeads, a.H - first), x.stages, a.scale * kLog2E, true,
                  reinterpret_cast<const Bf16*>(x.absorbed + t * a.H * a.R) + first * kTileRow, PartialOf(x, t, first), a.cache.pages,
                  a.cache.layer_offset};
  }
  __syncthreads();
  AskTiles(tiles);
  AttendTiles(tiles);
  if (threadIdx.x == 0) EndSignals(tiles);
}

__global__ void __launch_bounds__(kThreads) AttendTilesKernel(Attend x) {
  extern __shared__ __align__(128) char shared[];
  AttendSlot(x, *reinterpret_cast<TileShared*>(shared));
}

// Launched where HasWgmma(), only.
__global__ void __launch_bounds__(kThreads) AttendWgmmaKernel(Attend x) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) char shared[];
  AttendSlot(x, *reinterpret_cast<sm90::TileShared*>(shared));
#endif
}

// Grid (1, H, T).
template <WeightFormat F>
__global__ void __launch_bounds__(kThreads) ExpandKernel(MlaTask a, const float* partials, int n_slots, int room, float* out) {
  extern __shared__ __align__(128) char shared[];
  const int64_t t = blockIdx.z, stride = int64_t{a.H} * PartialFloats(a.R);
  const int h = blockIdx.y;
  for (int share = 0; share < ExpandShares(a.R); ++share) {
    Expansion<F> rows = {h, share, a.V};
    rows.Load(a);
    rows.Run(a, partials + t * n_slots * stride + h * PartialFloats(a.R), stride, n_slots, room, out + (t * a.H + h) * a.V, share > 0,
             *reinterpret_cast<ExpandShared*>(shared));
  }
}

template <typename Args>
MlaTask MakeTask(CudaDevice& d, const Args& args) {
  const MlaShape& s = args.shape;
  MlaTask a = {static_cast<int>(s.n_heads), static_cast<int>(s.nope), static_cast<int>(s.rope), static_cast<int>(s.value),
               static_cast<int>(s.latent), args.scale, args.kv_b, args.cache, false};
  a.tiles = HasTileShape(a) && TileSharedBytes(kFewestStages) <= d.max_shared_bytes();
  return a;
}

absl::Status LaunchAttend(CudaDevice& d, const Attend& attend, dim3 grid, void (*kernel)(Attend), size_t bytes, absl::string_view what) {
  RILL_RETURN_IF_ERROR(AllowShared(d, kernel, bytes, what));
  kernel<<<grid, kThreads, bytes, d.stream()>>>(attend);
  return absl::OkStatus();
}

// Queries [0, T) whose first sees `length` rows; partials for n_slots each. F is kv_b's format.
template <WeightFormat F>
absl::Status RunOf(CudaDevice& d, const MlaTask& a, const float* q, int64_t T, int64_t length, int n_slots, float* absorbed,
                 float* partials, float* out, absl::string_view what) {
  const unsigned H = a.H, n = static_cast<unsigned>(T);
  AbsorbKernel<F><<<dim3(AbsorbParts(a.R), H, n), kThreads, 0, d.stream()>>>(a, q, absorbed);
  const Attend attend = {a, q, absorbed, partials, length, CountStages(d.max_shared_bytes())};
  if (const dim3 grid(n_slots, Blocks(a.H, kTileHeads), n); a.tiles && d.has_wgmma() && sm90::TileSharedBytes() <= d.max_shared_bytes()) {
    RILL_RETURN_IF_ERROR(LaunchAttend(d, attend, grid, AttendWgmmaKernel, sm90::TileSharedBytes(), what));
  } else if (a.tiles) {
    RILL_RETURN_IF_ERROR(LaunchAttend(d, attend, grid, AttendTilesKernel, TileSharedBytes(attend.stages), what));
  } else {
    AttendPlainKernel<<<dim3(n_slots, H, n), kThreads, 0, d.stream()>>>(attend);
  }
  const int room = std::min(n_slots, ExpandRoom(d.max_shared_bytes()));
  RILL_RETURN_IF_ERROR(AllowShared(d, ExpandKernel<F>, ExpandBytes(room), what));
  ExpandKernel<F><<<dim3(1, H, n), kThreads, ExpandBytes(room), d.stream()>>>(a, partials, n_slots, room, out);
  return d.Launched(what);
}

template <typename... Rest>
absl::Status Run(CudaDevice& d, const MlaTask& a, Rest... rest) {
  switch (a.kv_b.format) {
    case WeightFormat::kF32: return RunOf<WeightFormat::kF32>(d, a, rest...);
    case WeightFormat::kBf16: return RunOf<WeightFormat::kBf16>(d, a, rest...);
    case WeightFormat::kQ8: return RunOf<WeightFormat::kQ8>(d, a, rest...);
    case WeightFormat::kQ4: return RunOf<WeightFormat::kQ4>(d, a, rest...);
  }
  return absl::InternalError("unknown weight format");
}

}  // namespace

absl::Status MlaAppend(Device& device, const MlaAppendArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  MlaTask a = {};
  a.R = static_cast<int>(args.cache.latent), a.P = static_cast<int>(args.cache.rope);
  a.cache = args.cache;
  AppendKernel<<<args.kv.dim[0], kThreads, 0, d.stream()>>>(a, args.kv.f32(), args.weight.f32(), args.eps, args.position);
  return d.Launched("mla_append");
}

absl::Status MlaDecode(Device& device, const MlaDecodeArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const MlaTask a = MakeTask(d, args);
  const int most = std::min(d.sm_count(), kMaxSlots);
  const int n_slots = static_cast<int>(std::min<int64_t>(most, CeilDiv(args.length, kMlaTile)));
  const uint64_t absorbed_bytes = AlignUp(sizeof(float) * a.H * a.R, 256);
  // As much at the first token as at the last: a growing context allocates nothing.
  RILL_ASSIGN_OR_RETURN(void* scratch, d.Scratch(absorbed_bytes + sizeof(float) * most * a.H * PartialFloats(a.R)));
  float* partials = reinterpret_cast<float*>(static_cast<char*>(scratch) + absorbed_bytes);
  return Run(d, a, args.q.f32(), 1, args.length, n_slots, static_cast<float*>(scratch), partials, args.out.f32(), "mla_decode");
}

// One slot a query, as many queries at once as there are multiprocessors. The workspace is laid out for fewer.
absl::Status MlaPrefill(Device& device, const MlaPrefillArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  const MlaTask a = MakeTask(d, args);
  const int64_t T = args.q.dim[0], most = std::min<int64_t>(T, d.sm_count());
  const uint64_t absorbed_bytes = AlignUp(sizeof(float) * most * a.H * a.R, 256);
  RILL_ASSIGN_OR_RETURN(void* scratch, d.Scratch(absorbed_bytes + sizeof(float) * most * a.H * PartialFloats(a.R)));
  float* partials = reinterpret_cast<float*>(static_cast<char*>(scratch) + absorbed_bytes);
  for (int64_t t = 0; t < T; t += most) {
    const int64_t n = std::min(most, T - t);
    RILL_RETURN_IF_ERROR(Run(d, a, args.q.f32() + t * a.H * (a.N + a.P), n, args.position + t + 1, 1, static_cast<float*>(scratch), partials,
                             args.out.f32() + t * a.H * a.V, "mla_prefill"));
  }
  return absl::OkStatus();
}

}  // namespace rill::cuda
