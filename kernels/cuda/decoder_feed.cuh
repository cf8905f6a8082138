// kernels/cuda/decoder_feed.cuh — the feed-forward half of a layer within a fused decode step: shared and dense gated units, the choice of
// experts, the chosen experts.
#pragma once

#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/decoder_step.cuh"

namespace rill::cuda {

// Gate and up of the shared experts or of a dense block: out = silu(gate x) * (up x), x the staged hidden vector.
template <WeightFormat F>
struct GluRows {
  static constexpr bool kDeep = false;
  Share share;
  int window;

  __device__ __forceinline__ explicit GluRows(Step s) : share(ShareOfTiles(s.p(), static_cast<int>(s.l().glu.width))), window(s.l().window.glu) {}
  // Tiles 2 i and 2 i + 1 are gate and up of the same rows.
  __device__ __noinline__ static void Build(Step s, Job& job, int first, int n) {
    const uint32_t x = HiddenForm<F>(s);
    BuildJob(job, 2 * TilesOf(n), s.p().hidden, [&](int i) { return TileOf<F>(i % 2 == 0 ? s.l().glu.gate : s.l().glu.up, first, n, i / 2, x, 0); });
  }
  template <bool>
  __device__ __forceinline__ static void Done(Step s, const Job& job, float) {
    // Shared experts write behind the chosen ones' activations.
    float* out = s.p().scratch.activated + (s.l().is_moe ? s.l().moe.top_k * static_cast<int>(s.l().moe.experts.width) : 0) + job.row;
#pragma unroll 1
    for (int r = ThreadId(); r < job.rows; r += kStepThreads) {
      const int tile = r / kTileRows * 2, row = r % kTileRows;
      out[r] = Silu(RowSum<kHiddenParts>(job, s.queue().memory, tile, row)) * RowSum<kHiddenParts>(job, s.queue().memory, tile + 1, row);
    }
  }
};

// The usual choice (up to 256 experts, no groups, sigmoid): each warp brings sixteen experts. Who is below the largest keys of top_k warps is not
// chosen; the first warp ranks the few candidates that are left. Should there be too many of them, the choice is made again, slowly.
namespace quick_choice {

inline constexpr int kCandidates = kWarp, kUsualCandidates = 16;
struct Candidates {
  ulonglong2 rank[kCandidates / 2];  // key and, among equals, the lowest id first; 0: none
  float score[kCandidates];
};
__device__ __forceinline__ Candidates& Place(Step s) { return *reinterpret_cast<Candidates*>(s.shared().partial); }
__device__ __forceinline__ unsigned long long RankOf(uint32_t key, int id) { return static_cast<unsigned long long>(key) << 32 | ~static_cast<uint32_t>(id); }
__device__ __forceinline__ int IdOf(unsigned long long rank) { return static_cast<int>(~static_cast<uint32_t>(rank)); }

// Ends behind a barrier of the workers. False when there are too many candidates.
__device__ __forceinline__ bool Select(Step s) {
  const StepMoe& m = s.l().moe;
  const int e = ThreadId() / 2, lane = ThreadId() % kWarp, top_k = m.top_k;
  const bool is_expert = e < static_cast<int>(m.router.rows);
  const float bias = s.records().bias[e];
  const float score = is_expert ? Sigmoid(AwaitMarked(s.p().scratch.logits + e, s.router_mark())) : 0.0f;
  const uint32_t key = is_expert ? OrderedKey(score + bias) : 0, most = __reduce_max_sync(0xffffffffu, key);
  if (lane == 0) reinterpret_cast<uint32_t*>(s.shared().scratch)[ThreadId() / kWarp] = most;
  if (ThreadId() == 0) s.shared().candidates = 0;
  if (ThreadId() < kCandidates / 2) Place(s).rank[ThreadId()] = make_ulonglong2(0, 0);
  SyncWorkers();
  int above = 0;
#pragma unroll
  for (int i = 0; i < kStepWarps / 4; ++i) {
    const uint4 largest = reinterpret_cast<const uint4*>(s.shared().scratch)[i];
    above += (largest.x > key) + (largest.y > key) + (largest.z > key) + (largest.w > key);
  }
  const bool mine = is_expert && lane % 2 == 0 && above < top_k;
  const unsigned all = __ballot_sync(0xffffffffu, mine);
  int at = 0;
  if (lane == 0 && all != 0) at = atomicAdd(&s.shared().candidates, __popc(all));
  at = __shfl_sync(0xffffffffu, at, 0) + __popc(all & ((1u << lane) - 1));
  if (mine && at < kCandidates) {
    reinterpret_cast<unsigned long long*>(Place(s).rank)[at] = RankOf(key, e);
    Place(s).score[at] = score;
  }
  SyncWorkers();
  return s.shared().candidates <= kCandidates;
}

// The first warp. A candidate's place is the number of those in front of it. The feeders learn the records before the weights are ready.
__device__ __forceinline__ void Settle(Step s) {
  const int lane = ThreadId() % kWarp, n = s.shared().candidates;
  const Candidates& all = Place(s);
  const unsigned long long mine = reinterpret_cast<const unsigned long long*>(all.rank)[lane];
  float score = all.score[lane];
  int place = 0;
  const auto count = [&](int begin) {
#pragma unroll
    for (int i = 0; i < kUsualCandidates / 2; ++i) {
      const ulonglong2 two = all.rank[begin + i];
      place += (two.x > mine) + (two.y > mine);
    }
  };
  count(0);
  if (n > kUsualCandidates) count(kUsualCandidates / 2);
  const StepMoe& m = s.l().moe;
  const int top_k = m.top_k;
  const bool chosen = lane < n && place < top_k;
  if (chosen) s.shared().chosen[place] = s.records().at[IdOf(mine)], s.shared().weights[place] = score;
  Arrive(s.shared().has_chosen);
  __syncwarp();
  score = lane < top_k ? s.shared().weights[lane] : 0.0f;
  const float sum = LaneSum(score);
  if (m.renormalize && top_k > 1) score = __fdividef(score, sum + 1e-20f);
  __syncwarp();
  if (lane < top_k) s.shared().weights[lane] = score * m.scaling;
}

}  // namespace quick_choice

// The layer's records come to shared memory, by the feeders.
static_assert(kMostRecords >= kMostQuickExperts && kMostRecords == 2 * kFeederWarps * kWarp);
__device__ __forceinline__ void KeepRecords(Step s) {
  const StepMoe& m = s.l().moe;
  if (!s.l().is_moe) return;
  const void* at[2];
  float bias[2];
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int i = min(static_cast<int>(ThreadId()) - kWorkers + j * kFeederWarps * kWarp, static_cast<int>(m.router.rows) - 1);
    at[j] = m.experts.record[i], bias[j] = m.router_bias != nullptr ? __ldg(m.router_bias + i) : 0.0f;
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int i = ThreadId() - kWorkers + j * kFeederWarps * kWarp;
    s.records().at[i] = at[j], s.records().bias[i] = bias[j];
  }
}

// Any number of experts and groups.
inline __device__ __noinline__ void ChooseSlowly(Step s, char* memory) {
  const StepMoe& m = s.l().moe;
  const int E = static_cast<int>(m.router.rows);
  float* scores = reinterpret_cast<float*>(memory);
  for (int e = ThreadId(); e < E; e += kStepThreads) scores[e] = AwaitMarked(s.p().scratch.logits + e, s.router_mark());
  SyncWorkers();
  if (ThreadId() < kWarp) {
    const Choice choice = {m.activation, m.top_k, m.n_groups, m.topk_groups, E, m.renormalize, m.scaling};
    Choose(choice, m.router_bias, scores, s.shared().ids, s.shared().weights, scores + E);
    __syncwarp();
    if (ThreadId() < m.top_k) s.shared().chosen[ThreadId()] = m.experts.record[s.shared().ids[ThreadId()]];
    Arrive(s.shared().has_chosen);
  }
  SyncWorkers();  // a short part's products look, in vain, behind the staged vector
}

// Every block makes the same choice for itself. The weights are there behind the next barrier of the workers.
__device__ __forceinline__ void ChooseExperts(Step s, char* memory) {
  if (!s.l().moe.quick || !quick_choice::Select(s)) {
    ChooseSlowly(s, memory);
  } else if (ThreadId() < kWarp) {
    quick_choice::Settle(s);
  }
}

// ---- the chosen experts ----------------------------------------------------------------------------------------------

// True when the chosen experts' activations travel as integer groups.
template <WeightFormat F>
__device__ __forceinline__ bool TravelsAsGroups(const StepMoe& m) { return IsQuantized(F) && m.experts.width % kGroup == 0; }

// A matrix of the expert whose record is at `record`.
__device__ __forceinline__ MatrixView MatrixOf(const StepMoe& m, uintptr_t record, ExpertPart part) {
  const int i = static_cast<int>(part);
  const bool down = part == ExpertPart::kDown;
  return {m.experts.format, down ? m.experts.hidden : m.experts.width, down ? m.experts.width : m.experts.hidden,
          reinterpret_cast<const void*>(record + m.offsets.values[i]), reinterpret_cast<const void*>(record + m.offsets.scales[i])};
}

// Gate and up of the chosen experts. A task is 32 neighbouring rows of one expert: one group of the down projection's input, which this
// phase also brings into integer form.
template <WeightFormat F>
struct ExpertRows {
  static constexpr bool kDeep = true;
  int window;  // tasks a pass
  Share share;

  __device__ __forceinline__ explicit ExpertRows(Step s) {
    const StepMoe& m = s.l().moe;
    share = ShareOf(s.p(), m.top_k * static_cast<int>((m.experts.width + kGroup - 1) / kGroup));
    window = s.l().window.experts;
  }
  // A task's tiles: gate, gate, up, up. Where they lie in a record is known before the record is: the experts' choice is waited for here.
  __device__ __noinline__ static void Build(Step s, Job& job, int first, int n) {
    const uint32_t x = HiddenForm<F>(s);
    const StepMoe& moe = s.l().moe;
    const int width = static_cast<int>(moe.experts.width), each = (width + kGroup - 1) / kGroup;
    BuildJob(job, kTaskTiles * n, s.p().hidden, [&](int i) {
      const int task = first + i / kTaskTiles, j = task / each, begin = (task - j * each) * kGroup + i % 2 * kTileRows;
      const MatrixView m = MatrixOf(moe, 0, i % kTaskTiles < 2 ? ExpertPart::kGate : ExpertPart::kUp);
      Tile tile = TileOf<F>(m, min(begin, width - 1), max(1, min(kTileRows, width - begin)), 0, x, 0);
      Await(s.shared().has_chosen, moe.use);
      const uintptr_t record = reinterpret_cast<uintptr_t>(s.shared().chosen[j]);
      tile.values = reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(tile.values) + record);
      tile.scales = reinterpret_cast<const uint16_t*>(reinterpret_cast<uintptr_t>(tile.scales) + record);
      return tile;
    });
  }
  template <bool>
  __device__ __forceinline__ static void Done(Step s, const Job& job, float) {
    const int lane = ThreadId() % kWarp, n = job.rows;
#pragma unroll 1
    for (int t = ThreadId() / kWarp; t < n; t += kStepWarps) {  // a warp a task
      const int tile = kTaskTiles * t + lane / kTileRows, task = job.row + t;
      const float gate = RowSum<kHiddenParts>(job, s.queue().memory, tile, lane % kTileRows);
      const float y = Silu(gate) * RowSum<kHiddenParts>(job, s.queue().memory, tile + 2, lane % kTileRows);
      if (TravelsAsGroups<F>(s.l().moe)) QuantizeGroup(reinterpret_cast<char*>(s.p().scratch.activated_groups) + task * kStagedGroupBytes, y);
      else Leave(s, task, y);
    }
  }
  // As floats: an expert's last task may have fewer rows.
  __device__ __noinline__ static void Leave(Step s, int task, float y) {
    const int width = static_cast<int>(s.l().moe.experts.width), each = (width + kGroup - 1) / kGroup;
    const int j = task / each, row = (task - j * each) * kGroup + ThreadId() % kWarp;
    if (row < width) s.p().scratch.activated[j * width + row] = y;
  }
};

// True when the shared experts are as wide as the others: one more answer of the same job. Else they get a job of their own.
__device__ __forceinline__ bool SharedIsOneOf(Step s) { return s.l().glu.width == s.l().moe.experts.width; }

// True when shared experts have a down projection of their own.
__device__ __forceinline__ bool SharedApart(Step s) { return s.l().glu.width > 0 && !SharedIsOneOf(s); }

// x += sum_j weight_j Down_j a_j + the shared experts' answer, for this block's rows.
template <WeightFormat F>
struct DownRows {
  static constexpr bool kDeep = false;
  static constexpr int kWidthParts = PartsOf(1024);  // of the 48B model's experts
  static constexpr int kSharedThreads = 128;
  Share share;
  int window;

  __device__ __forceinline__ explicit DownRows(Step s) : share(ShareOf(s.p(), s.p().hidden)), window(s.l().window.down) {}
  // Tile i is rows 16 (i / experts) .. of answer i % experts.
  __device__ __noinline__ static void Build(Step s, Job& job, int first, int n) {
    Await(s.shared().has_chosen, s.l().moe.use);  // a block without a task of the experts has not
    const int width = static_cast<int>(s.l().moe.experts.width), experts = s.l().moe.top_k + SharedIsOneOf(s);
    BuildJob(job, TilesOf(n) * experts, width, [&](int i) {
      const int j = i % experts;
      const StepMoe& moe = s.l().moe;
      const MatrixView m = j < moe.top_k ? MatrixOf(moe, reinterpret_cast<uintptr_t>(s.shared().chosen[j]), ExpertPart::kDown) : s.l().glu.down;
      return TileOf<F>(m, first, n, i / experts, s.memory_at() + j * static_cast<uint32_t>(FormBytes<F>(width)), 0);
    });
  }
  // Sixteen lanes a row: one an answer, added as a tree.
  template <bool kFirst>
  __device__ __forceinline__ static void Done(Step s, const Job& job, float before) {
    const int j = ThreadId() % kTileRows, top_k = s.l().moe.top_k, experts = top_k + SharedIsOneOf(s), n = job.rows;
    const float weight = j < top_k ? s.shared().weights[j] : j < experts ? 1.0f : 0.0f;
#pragma unroll 1
    for (int base = 0; base < n; base += kStepThreads / kTileRows) {
      const int r = base + ThreadId() / kTileRows;
      float* x = s.p().scratch.x + job.row + r;
      const bool mine = r < n && j < experts;
      float old = before;
      if ((!kFirst || base != 0) && j == 0 && r < n) old = AwaitMarked(x, s.l().x_mark);
      const float sum = LaneSum<kTileRows>(mine ? weight * RowSum<kWidthParts>(job, s.queue().memory, r / kTileRows * experts + j, r % kTileRows) : 0.0f);
      if (j == 0 && r < n) *x = Marked(old + sum, s.l().x_mark ^ 1);
    }
  }
  // Of the first pass's first rows, before the wait for the activations.
  __device__ __forceinline__ static float Ask(Step s) {
    const Share share = ShareOf(s.p(), s.p().hidden);
    const int row = share.begin + ThreadId() / kTileRows;
    return row < share.end ? AwaitMarked(s.p().scratch.x + row, s.l().x_mark) : 0.0f;
  }
  // Ends behind a barrier of the workers. The last warps bring the shared experts' activations to integer form while the others copy the groups.
  __device__ __forceinline__ static void StageActivated(Step s) {
    const StepMoe& m = s.l().moe;
    const int width = static_cast<int>(m.experts.width);
    if (!TravelsAsGroups<F>(m) || !SharedIsOneOf(s) || width > 8 * kSharedThreads) return StageSlowly(s);
    const int thread = ThreadId() - (kStepThreads - kSharedThreads);
    if (thread < 0) {
      CopyGroups<kStepThreads - kSharedThreads>(s.memory(), reinterpret_cast<const char*>(s.p().scratch.activated_groups), m.top_k * (width / kGroup));
    } else if (8 * (thread - thread % kWarp) < width) {
      const Eight value = LoadEight<true>(s.p().scratch.activated + m.top_k * width, thread, width);
      StageEight<F>(s.memory() + m.top_k * FormBytes<F>(width), value, thread, width);
    }
    SyncWorkers();
  }
  __device__ __noinline__ static void StageSlowly(Step s) {
    const StepMoe& m = s.l().moe;
    const int width = static_cast<int>(m.experts.width), shared_width = static_cast<int>(s.l().glu.width);
    const float* from = s.p().scratch.activated;
    if (TravelsAsGroups<F>(m)) {
      // The experts' groups follow each other, here and there.
      CopyGroups<kStepThreads>(s.memory(), reinterpret_cast<const char*>(s.p().scratch.activated_groups), m.top_k * (width / kGroup));
    } else {
#pragma unroll 1
      for (int j = 0; j < m.top_k; ++j) StageShares<F>(s.memory_at() + j * static_cast<uint32_t>(FormBytes<F>(width)), from + j * width, width, 1);
    }
    if (SharedIsOneOf(s)) StageShares<F>(s.memory_at() + m.top_k * static_cast<uint32_t>(FormBytes<F>(width)), from + m.top_k * width, shared_width, 1);
    SyncWorkers();
  }
};

}  // namespace rill::cuda
