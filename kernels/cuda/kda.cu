// kda_step, kda_chunk and kda_replay: one block carries 16 columns of a head through all tokens of the call.
#include "kernels/cuda/kda.cuh"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/ops/kda_chunk.h"
#include "kernels/ops/kda_replay.h"

namespace rill::cuda {
namespace {

constexpr int kSlice = 16;
constexpr int kThreads = kSlice * kKeyParts;

struct Tokens {
  const float *q, *k, *v, *g, *beta;
  float *state, *out;
  float *ring_k, *ring_u, *ring_g;
  float scale;
  int64_t begin, end, total, R, position;  // tokens [begin, end) of `total`
  int H, K, V;
};

// q . k in the first warp, lanes as a tree.
__device__ float HeadDot(const float* q, const float* k, int K) {
  float sum = 0;
  for (int i = threadIdx.x; i < K; i += kWarp) sum = fmaf(q[i], k[i], sum);
  return LaneSum(sum);
}

__device__ void LoadToken(const Tokens& a, int64_t row, int slice, KdaShared<kSlice>& x) {
  for (int i = threadIdx.x; i < a.K; i += kThreads) {
    x.q[i] = a.q[row * a.K + i];
    x.k[i] = a.k[row * a.K + i];
    x.decay[i] = expf(a.g[row * a.K + i]);
  }
  if (threadIdx.x < kSlice) x.v[threadIdx.x] = a.v[row * a.V + slice * kSlice + threadIdx.x];
  if (threadIdx.x == 0) x.beta = a.beta[row];
}

__device__ void Record(const Tokens& a, int64_t t, int64_t row, int h, int slice, const KdaShared<kSlice>& x) {
  const int64_t slot = (a.position + t) % a.R * a.H + h;
  if (threadIdx.x < kSlice) a.ring_u[slot * a.V + slice * kSlice + threadIdx.x] = x.u[threadIdx.x];
  if (slice != 0) return;
  for (int i = threadIdx.x; i < a.K; i += kThreads) {
    a.ring_k[slot * a.K + i] = x.k[i];
    a.ring_g[slot * a.K + i] = a.g[row * a.K + i];
  }
}

__global__ void __launch_bounds__(kThreads) KdaKernel(Tokens a) {
  __shared__ KdaShared<kSlice> x;
  const int slice = blockIdx.x, h = blockIdx.y;
  float* state = a.state + static_cast<int64_t>(h) * a.K * a.V;
  KdaTile<kSlice> tile;
  tile.Place(a.K, slice);
  tile.Load(state, a.V);
  for (int64_t t = a.begin; t < a.end; ++t) {
    const int64_t row = t * a.H + h;
    LoadToken(a, row, slice, x);
    __syncthreads();
    if (threadIdx.x < kWarp) {
      const float qk = HeadDot(x.q, x.k, a.K);
      if (threadIdx.x == 0) x.qk = qk;
    }
    const float out = KdaToken(tile, x, a.scale);
    if (threadIdx.x < kSlice) a.out[row * a.V + slice * kSlice + threadIdx.x] = out;
    if (t >= a.total - a.R) Record(a, t, row, h, slice, x);
    __syncthreads();
  }
  tile.Store(state, a.V);
}

__global__ void __launch_bounds__(kThreads) ReplayKernel(Tokens a) {
  __shared__ float k[kMaxHeadDim], decay[kMaxHeadDim], u[kSlice];
  const int slice = blockIdx.x, h = blockIdx.y;
  float* state = a.state + static_cast<int64_t>(h) * a.K * a.V;
  KdaTile<kSlice> tile;
  tile.Place(a.K, slice);
  tile.Load(state, a.V);
  for (int64_t t = a.begin; t < a.end; ++t) {
    const int64_t slot = t % a.R * a.H + h;
    for (int i = threadIdx.x; i < a.K; i += kThreads) {
      k[i] = a.ring_k[slot * a.K + i];
      decay[i] = expf(a.ring_g[slot * a.K + i]);
    }
    if (threadIdx.x < kSlice) u[threadIdx.x] = a.ring_u[slot * a.V + slice * kSlice + threadIdx.x];
    __syncthreads();
    float p, r;
    tile.Decay(decay, k, k, &p, &r);
    tile.Write(k, u[threadIdx.x % kSlice]);
    __syncthreads();
  }
  tile.Store(state, a.V);
}

// Args is KdaStepArgs or KdaChunkArgs.
template <typename Args>
Tokens MakeTokens(const Args& args) {
  Tokens a = {};
  a.q = args.q.f32(), a.k = args.k.f32(), a.v = args.v.f32(), a.g = args.g.f32(), a.beta = args.beta.f32();
  a.state = args.state.f32(), a.out = args.out.f32();
  a.ring_k = args.ring.k.f32(), a.ring_u = args.ring.u.f32(), a.ring_g = args.ring.g.f32();
  a.scale = args.scale;
  a.end = a.total = args.q.dim[0];
  a.R = args.ring.k.empty() ? 0 : args.ring.k.dim[0];
  a.position = args.position;
  a.H = args.state.dim[0], a.K = args.state.dim[1], a.V = args.state.dim[2];
  return a;
}

void Launch(CudaDevice& d, const Tokens& a) {
  KdaKernel<<<dim3(a.V / kSlice, a.H), kThreads, 0, d.stream()>>>(a);
}

}  // namespace

absl::Status KdaStep(Device& device, const KdaStepArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  Launch(d, MakeTokens(args));
  return d.Launched("kda_step");
}

// The states asked for are copied between launches; nothing waits.
absl::Status KdaChunk(Device& device, const KdaChunkArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  Tokens a = MakeTokens(args);
  for (const StateExport& x : args.exports) {
    a.end = x.after;
    Launch(d, a);
    RILL_RETURN_IF_ERROR(d.CopyOn(x.state, args.state.data, args.state.bytes()));
    a.begin = x.after;
  }
  a.end = a.total;
  if (a.begin < a.end) Launch(d, a);
  return d.Launched("kda_chunk");
}

absl::Status KdaReplay(Device& device, const KdaReplayArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  if (args.n == 0) return absl::OkStatus();
  Tokens a = {};
  a.ring_k = args.ring.k.f32(), a.ring_u = args.ring.u.f32(), a.ring_g = args.ring.g.f32();
  a.state = args.state.f32();
  a.begin = args.position, a.end = args.position + args.n;
  a.R = args.ring.k.dim[0];
  a.H = args.state.dim[0], a.K = args.state.dim[1], a.V = args.state.dim[2];
  ReplayKernel<<<dim3(a.V / kSlice, a.H), kThreads, 0, d.stream()>>>(a);
  return d.Launched("kda_replay");
}

}  // namespace rill::cuda
