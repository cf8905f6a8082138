// kda_step, kda_chunk and kda_replay: one recurrence, cut by heads and value columns, which never
// meet.
#include <algorithm>
#include <cstring>

#include "kernels/base/status.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/table.h"
#include "kernels/ops/kda_chunk.h"
#include "kernels/ops/kda_replay.h"
#include "kernels/ops/kda_step.h"

namespace rill::cpu {
namespace {

constexpr int64_t kColumns = 64;  // the least a worker takes: four cache lines of every state row

// f(head, begin, end, scratch) over all value columns of all heads, in parallel.
template <typename F>
void ForColumns(CpuDevice& device, int64_t H, int64_t V, F&& f) {
  device.pool()->For(H * V, std::min(V, kColumns), [&](int64_t begin, int64_t end, int worker) {
    for (int64_t h = begin / V; h * V < end; ++h) {
      f(h, std::max(begin - h * V, int64_t{0}), std::min(end - h * V, V), device.scratch(worker));
    }
  });
}

template <typename Args>
KdaHead MakeHead(const Args& args, int64_t h, int64_t begin, int64_t end) {
  const int64_t T = args.q.dim[0], H = args.state.dim[0], K = args.state.dim[1],
                V = args.state.dim[2];
  KdaHead head{};
  head.T = T;
  head.K = K;
  head.V = V;
  head.begin = begin;
  head.end = end;
  head.scale = args.scale;
  head.q = args.q.f32() + h * K;
  head.k = args.k.f32() + h * K;
  head.g = args.g.f32() + h * K;
  head.key_stride = H * K;
  head.beta = args.beta.f32() + h;
  head.beta_stride = H;
  head.v = args.v.f32() + h * V;
  head.out = args.out.f32() + h * V;
  head.value_stride = H * V;
  head.state = args.state.f32() + h * K * V;
  if (args.ring.k.empty()) return head;
  head.ring_k = args.ring.k.f32() + h * K;
  head.ring_u = args.ring.u.f32() + h * V;
  head.ring_g = args.ring.g.f32() + h * K;
  head.ring_size = args.ring.k.dim[0];
  head.ring_position = args.position % head.ring_size;
  head.first_recorded = std::max<int64_t>(T - head.ring_size, 0);
  return head;
}

// Tokens [from, to) of a head as a head of their own.
KdaHead Slice(const KdaHead& head, int64_t from, int64_t to) {
  KdaHead part = head;
  part.T = to - from;
  part.q += from * head.key_stride;
  part.k += from * head.key_stride;
  part.g += from * head.key_stride;
  part.beta += from * head.beta_stride;
  part.v += from * head.value_stride;
  part.out += from * head.value_stride;
  part.ring_position += from;
  part.first_recorded = std::max<int64_t>(head.first_recorded - from, 0);
  return part;
}

void CopyColumns(const KdaHead& head, int64_t h, void* target) {
  float* to = static_cast<float*>(target) + h * head.K * head.V;
  for (int64_t i = 0; i < head.K; ++i) {
    memcpy(to + i * head.V + head.begin, head.state + i * head.V + head.begin,
           sizeof(float) * (head.end - head.begin));
  }
}

}  // namespace

absl::Status KdaStep(Device& device, const KdaStepArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  ForColumns(cpu, args.state.dim[0], args.state.dim[2],
             [&](int64_t h, int64_t begin, int64_t end, float* scratch) {
               cpu.isa().kda_run(MakeHead(args, h, begin, end), scratch);
             });
  return absl::OkStatus();
}

absl::Status KdaChunk(Device& device, const KdaChunkArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  ForColumns(cpu, args.state.dim[0], args.state.dim[2],
             [&](int64_t h, int64_t begin, int64_t end, float* scratch) {
               const KdaHead head = MakeHead(args, h, begin, end);
               int64_t done = 0;
               for (const StateExport& target : args.exports) {
                 cpu.isa().kda_run(Slice(head, done, target.after), scratch);
                 CopyColumns(head, h, target.state);
                 done = target.after;
               }
               if (done < head.T) cpu.isa().kda_run(Slice(head, done, head.T), scratch);
             });
  return absl::OkStatus();
}

absl::Status KdaReplay(Device& device, const KdaReplayArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  CpuDevice& cpu = CpuDevice::From(device);
  const int64_t H = args.state.dim[0], K = args.state.dim[1], V = args.state.dim[2],
                R = args.ring.k.dim[0];
  ForColumns(cpu, H, V, [&](int64_t h, int64_t begin, int64_t end, float*) {
    cpu.isa().kda_replay({args.n, K, V, begin, end, args.state.f32() + h * K * V,
                          args.ring.k.f32() + h * K, args.ring.u.f32() + h * V,
                          args.ring.g.f32() + h * K, H * K, H * V, R, args.position % R});
  });
  return absl::OkStatus();
}

}  // namespace rill::cpu
