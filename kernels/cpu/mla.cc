// mla_decode and mla_prefill: blocks of queries against the cache, split by split. Decoding is a
// block of one query.
#include <algorithm>
#include <cstring>

#include "kernels/base/status.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/weights.h"
#include "kernels/ops/mla_decode.h"
#include "kernels/ops/mla_prefill.h"
#include "kernels/ops/mla_workspace.h"

namespace rill::cpu {
namespace {

// The widest latent + rope of which a register tile of rows, besides the scores, fits a worker's
// scratch.
constexpr int64_t kMaxRow = 16 * 1024;

struct Attention {
  const MlaShape& shape;
  float scale;
  MatrixView kv_b;
  const MlaCacheView& cache;
  MlaWorkspaceLayout layout;
  float *absorbed, *running, *partials;
};

// Queries [q, q + n) of [n, H, N + P]; query t sees the first `length + t` rows.
struct QueryBlock {
  const float* q;
  float* out;  // [n, H, V]
  int64_t n;
  int64_t length;

  // Rows of `split` that pair number `pair` sees.
  int64_t Visible(int64_t pair, int64_t n_heads, int64_t split) const {
    const int64_t left = length + pair / n_heads - split * kMlaSplitTokens;
    return std::clamp(left, int64_t{0}, kMlaSplitTokens);
  }
};

void Absorb(CpuDevice& device, const Attention& a, const QueryBlock& block) {
  const int64_t H = a.shape.n_heads, N = a.shape.nope, P = a.shape.rope, R = a.shape.latent;
  device.pool()->For(H, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t h = begin; h < end; ++h) {
      const float* q = block.q + h * (N + P);
      float* absorbed = a.absorbed + h * a.layout.query;
      device.isa().mla_absorb(MakeWeights(a.kv_b.Rows(h * (N + a.shape.value), N)), N,
                              {q, H * (N + P), block.n}, absorbed, H * a.layout.query,
                              device.scratch(worker));
      for (int64_t t = 0; t < block.n; ++t) {
        float* rope = absorbed + t * H * a.layout.query + R;
        memcpy(rope, q + t * H * (N + P) + N, sizeof(float) * P);
        std::fill(rope + P, rope - R + a.layout.query, 0.0f);
      }
    }
  });
}

// Partials of splits [first, first + n_splits) for every pair, slot (split - first) * pairs + pair.
void AttendSplits(CpuDevice& device, const Attention& a, const QueryBlock& block, int64_t first,
                  int64_t n_splits) {
  const int64_t H = a.shape.n_heads, pairs = block.n * H;
  // All pairs at once read a row once; fewer, when there would be too little to share out.
  const bool few = n_splits * CeilDiv(pairs, kMlaQueriesAtOnce) < 2 * device.pool()->size();
  const int64_t at_once = few ? kMlaQueriesAtOnce / 4 : kMlaQueriesAtOnce;
  const int64_t groups = CeilDiv(pairs, at_once);
  device.pool()->For(n_splits * groups, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t split = first + unit / groups, pair = unit % groups * at_once;
      const int64_t n = std::min(at_once, pairs - pair);
      int64_t visible[kMlaQueriesAtOnce];
      for (int64_t i = 0; i < n; ++i) visible[i] = block.Visible(pair + i, H, split);
      if (visible[n - 1] == 0) continue;
      CacheRows rows = {a.cache.dtype == DType::kBf16,
                        a.cache.row(split * kMlaSplitTokens),
                        visible[n - 1],
                        a.shape.latent + a.shape.rope,
                        nullptr,
                        0};
      if (unit % groups == groups - 1 && unit + 1 < end) {
        rows.next = a.cache.row((split + 1) * kMlaSplitTokens);
        rows.next_bytes = kMlaSplitTokens * a.cache.row_bytes();
      }
      device.isa().mla_split(rows, a.shape.latent, a.scale, a.absorbed + pair * a.layout.query, n,
                             visible,
                             a.partials + ((split - first) * pairs + pair) * a.layout.partial,
                             a.layout.partial, device.scratch(worker));
    }
  });
}

void JoinSplits(CpuDevice& device, const Attention& a, const QueryBlock& block, int64_t first,
                int64_t n_splits) {
  const int64_t H = a.shape.n_heads, pairs = block.n * H, partial = a.layout.partial;
  device.pool()->For(pairs, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t pair = begin; pair < end; ++pair) {
      float* running = a.running + pair * partial;
      for (int64_t split = first; split < first + n_splits && block.Visible(pair, H, split) > 0;
           ++split) {
        const float* next = a.partials + ((split - first) * pairs + pair) * partial;
        if (split == 0) {
          memcpy(running, next, sizeof(float) * partial);
        } else {
          device.isa().mla_combine(running, next, a.shape.latent);
        }
      }
    }
  });
}

// out[t, h] = W_V (running / sum)
void Expand(CpuDevice& device, const Attention& a, const QueryBlock& block) {
  const int64_t H = a.shape.n_heads, N = a.shape.nope, V = a.shape.value,
                partial = a.layout.partial;
  device.pool()->For(H, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t h = begin; h < end; ++h) {
      float* running = a.running + h * partial;
      for (int64_t t = 0; t < block.n; ++t)
        device.isa().mla_finish(running + t * H * partial, a.shape.latent);
      const Weights values = MakeWeights(a.kv_b.Rows(h * (N + V) + N, V));
      if (block.n == 1) {
        device.isa().matvec(values, 0, V, running, block.out + h * V, false);
      } else {
        device.isa().matmul(values, 0, V, {running, H * partial, block.n}, block.out + h * V, H * V,
                            false, device.scratch(worker));
      }
    }
  });
}

void AttendBlock(CpuDevice& device, const Attention& a, const QueryBlock& block) {
  const int64_t n_splits = CeilDiv(block.length + block.n - 1, kMlaSplitTokens);
  const int64_t at_once = a.layout.slots / a.layout.pairs;
  Absorb(device, a, block);
  for (int64_t split = 0; split < n_splits; split += at_once) {
    const int64_t n = std::min(at_once, n_splits - split);
    AttendSplits(device, a, block, split, n);
    JoinSplits(device, a, block, split, n);
  }
  Expand(device, a, block);
}

// T queries, the first of which sees `length` rows.
template <typename Args>
absl::Status Attend(CpuDevice& device, const Args& args, int64_t length) {
  const MlaShape& shape = args.shape;
  if (shape.latent + shape.rope > kMaxRow) {
    return absl::InvalidArgumentError(absl::StrCat("device cpu: latent + rope is ",
                                                   shape.latent + shape.rope, ", expected at most ",
                                                   kMaxRow));
  }
  const int64_t T = args.q.dim[0];
  const MlaWorkspaceLayout layout = MakeMlaWorkspaceLayout(shape, T, length + T - 1);
  float* absorbed = args.workspace.f32();
  float* running = absorbed + layout.pairs * layout.query;
  const Attention attention = {
      shape,  args.scale, args.kv_b, args.cache,
      layout, absorbed,   running,   running + layout.pairs * layout.partial};
  const int64_t q_row = args.q.dim[1] * args.q.dim[2], out_row = args.out.dim[1] * args.out.dim[2];
  for (int64_t t = 0; t < T; t += layout.queries) {
    AttendBlock(device, attention,
                {args.q.f32() + t * q_row, args.out.f32() + t * out_row,
                 std::min(layout.queries, T - t), length + t});
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MlaDecode(Device& device, const MlaDecodeArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  return Attend(CpuDevice::From(device), args, args.length);
}

absl::Status MlaPrefill(Device& device, const MlaPrefillArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  return Attend(CpuDevice::From(device), args, args.position + 1);
}

}  // namespace rill::cpu
