// kernels/cuda/decoder_mla.cuh — the MLA mixer within a fused decode step: append and absorb, attend, expand. Short contexts: decoder_mla_short.cuh.
#pragma once

#include "kernels/cuda/decoder_step.cuh"
#include "kernels/cuda/mla_tile.cuh"
#include "kernels/cuda/sm90/mla_tile.cuh"

namespace rill::cuda {

__device__ __forceinline__ MlaTask TaskOf(Step s) {
  const StepMla& m = s.l().mla;
  MlaTask a = {static_cast<int>(m.shape.n_heads), static_cast<int>(m.shape.nope), static_cast<int>(m.shape.rope),
               static_cast<int>(m.shape.value), static_cast<int>(m.shape.latent), m.scale, m.kv_b, m.cache, false};
  a.tiles = s.p().stages > 0 && HasTileShape(a);
  return a;
}

// The projected query of head h, marked.
__device__ __forceinline__ const float* Queries(Step s, int h) {
  const MlaShape& shape = s.l().mla.shape;
  return s.p().scratch.projected + s.l().inputs.at[0] + h * static_cast<int>(shape.nope + shape.rope);
}
// Projected values of the token's row of the cache, before their norm, marked.
__device__ __forceinline__ const float* NewRow(Step s) { return s.p().scratch.projected + s.l().inputs.at[1]; }

// ---- absorb: a unit is kAbsorbColumns columns of a head's q~; behind the last unit comes the new row of the cache -----------------------

__device__ __forceinline__ int CountAbsorbUnits(Step s) { return TaskOf(s).H * AbsorbParts(TaskOf(s).R); }

// put(i, x) gets the row's values as the cache does.
template <typename Put>
__device__ __forceinline__ void MlaAppend(Step s, Put put) {
  const MlaTask a = TaskOf(s);
  const float* row = NewRow(s);
  const unsigned mark = s.mla_mark();
  MakeRow(a, [&](int i) { return AwaitMarked(row + i, mark); }, s.l().mla.kv_norm, s.l().mla.norm_eps, s.shared().scratch, [&](int i, float x) {
    PutInCache(a, s.p().position, i, x);
    put(i, x);
  });
}

template <WeightFormat F>
struct AbsorbUnit {
  int h, column;
  AbsorbWords words;

  // Asks for what needs no query.
  __device__ __forceinline__ AbsorbUnit(Step s, int unit) {
    const MlaTask a = TaskOf(s);
    h = unit / AbsorbParts(a.R), column = unit % AbsorbParts(a.R) * kAbsorbColumns;
    words.Load(a, h, column, AbsorbsWords<F>(a));
  }
  // put(c, x) as Absorb() has it. The query comes to shared memory behind what Absorb() uses there.
  template <typename Put>
  __device__ __forceinline__ void Run(Step s, Put put) const {
    const MlaTask a = TaskOf(s);
    float *shared = reinterpret_cast<float*>(s.memory()), *query = shared + kAbsorbFloats;
    const float* from = Queries(s, h);
    const unsigned mark = s.mla_mark();
#pragma unroll 1
    for (int i = ThreadId(); i < a.N + a.P; i += kStepThreads) query[i] = AwaitMarked(from + i, mark);
    SyncWorkers();
    Absorb<F>(a, [query](int i) { return query[i]; }, h, column, words, put, shared);
  }
};
constexpr size_t AbsorbBytes(int64_t nope, int64_t rope) { return (kAbsorbFloats + nope + rope) * sizeof(float); }

// ---- attend: a unit is a slot of tiles and, when the matrix units take it, up to tile_heads heads, else one --------------------------

struct AttendUnits {
  int slots, sharers, heads;

  __device__ __forceinline__ explicit AttendUnits(Step s) {
    const MlaTask a = TaskOf(s);
    heads = a.tiles ? s.p().tile_heads : 1;
    sharers = (a.H + heads - 1) / heads;
    int blocks = min(GridSize(), kMaxSlots);
    if (sharers > 1) blocks = max(1, blocks / sharers);
    slots = min(CountTiles(static_cast<int>(s.p().position) + 1), blocks);
  }
  __device__ __forceinline__ int count() const { return slots * sharers; }
};

__device__ __forceinline__ float* PartialOf(Step s, int slot, int h) {
  const MlaShape& shape = s.l().mla.shape;
  return s.p().scratch.partials + (slot * shape.n_heads + h) * PartialFloats(static_cast<int>(shape.latent));
}

// One thread, for either kind of tiles. A unit that there is not has none.
template <typename Tiles>
__device__ __forceinline__ void PlanTiles(Step s, Tiles& x, int unit) {
  const AttendUnits units(s);
  const StepMla& m = s.l().mla;
  const int length = static_cast<int>(s.p().position) + 1;
  const int sharer = units.sharers > 1 ? unit / units.slots : 0, slot = unit - sharer * units.slots;
  const TileRange range = unit < units.count() ? SlotTiles(length, slot, units.slots) : TileRange{0, 0};
  if (range.begin < range.end) SetSignals(x);
  x.plan = {
      range.begin, range.end, length, length - 1, min(units.heads, static_cast<int>(m.shape.n_heads) - sharer * units.heads), s.p().stages,
      m.scale * kLog2E, unit + GridSize() >= units.count(), reinterpret_cast<const Bf16*>(s.p().scratch.absorbed) + sharer * (units.heads * kTileRow),
      PartialOf(s, slot, sharer * units.heads), m.cache.pages, m.cache.layer_offset};
}

inline __device__ __noinline__ void MlaAttendPlain(Step s) {
  const MlaTask a = TaskOf(s);
  const AttendUnits units(s);
  const int length = static_cast<int>(s.p().position) + 1;
#pragma unroll 1
  for (int unit = BlockId(); unit < units.count(); unit += GridSize()) {
    const int slot = unit % units.slots, h = unit / units.slots;
    const TileRange range = SlotTiles(length, slot, units.slots);
    const float* rope = Queries(s, h) + a.N;
    AttendPlain(a, s.p().scratch.absorbed + h * a.R, [&](int p) { return Unmarked(LoadShared(rope + p)); }, range.begin * kMlaTile,
                min(range.end * kMlaTile, length), PartialOf(s, slot, h), s.shared().partial);
    SyncWorkers();
  }
}

// ---- expand: a unit is a share of a head's latent --------------------------------------------------------------------------------------

__device__ __forceinline__ int CountExpandUnits(Step s) { return TaskOf(s).H * ExpandShares(TaskOf(s).R); }

template <WeightFormat F>
struct ExpandUnit {
  int slots;
  Expansion<F> rows;

  // What needs no attention.
  __device__ __forceinline__ void Load(Step s, int unit) {
    const MlaTask a = TaskOf(s);
    const int shares = ExpandShares(a.R);
    slots = AttendUnits(s).slots;
    rows.h = unit / shares, rows.share = unit % shares;
    rows.end = rows.h < a.H ? a.V : 0;
    rows.Load(a);
  }
  __device__ __forceinline__ void Run(Step s) const {
    const MlaTask a = TaskOf(s);
    const int stride = PartialFloats(a.R);
    rows.Run(a, s.p().scratch.partials + rows.h * stride, static_cast<int64_t>(a.H) * stride, slots, s.p().expand_room,
             s.p().scratch.mixed + (rows.share * a.H + rows.h) * a.V, false, *reinterpret_cast<ExpandShared*>(s.memory()));
  }
};

// The heads' values staged for the output projection. Ends behind a barrier of the workers.
template <WeightFormat F>
__device__ __forceinline__ void StageMixed(Step s) {
  StageShares<F>(s.memory_at(), s.p().scratch.mixed, static_cast<int>(s.l().o.cols), ExpandShares(TaskOf(s).R));
  SyncWorkers();
}

}  // namespace rill::cuda
