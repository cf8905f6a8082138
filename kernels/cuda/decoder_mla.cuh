// kernels/cuda/decoder_mla.cuh — the MLA mixer within a fused decode step: append and absorb, attend, expand, and what of the output
// projection knows how the values lie.
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

// The projected query of head h.
__device__ __forceinline__ const float* Queries(Step s, int h) {
  const MlaShape& shape = s.l().mla.shape;
  return s.p().scratch.projected + s.l().inputs.at[0] + h * static_cast<int>(shape.nope + shape.rope);
}

// ---- absorb: a unit is kAbsorbColumns columns of a head's q~; behind the last unit comes the new row of the cache -----------------------

__device__ __forceinline__ int CountAbsorbUnits(Step s) { return TaskOf(s).H * AbsorbParts(TaskOf(s).R); }

inline __device__ __noinline__ void MlaAppend(Step s) {
  AppendRow(TaskOf(s), s.p().scratch.projected + s.l().inputs.at[1], s.l().mla.kv_norm, s.l().mla.norm_eps, s.p().position, s.shared().scratch);
}

struct AbsorbUnit {
  int h, column;
  AbsorbWords words;

  // What needs no query.
  template <WeightFormat F>
  __device__ __forceinline__ void Load(Step s, int unit) {
    const MlaTask a = TaskOf(s);
    h = unit / AbsorbParts(a.R), column = unit % AbsorbParts(a.R) * kAbsorbColumns;
    words.Load(a, h, column, h < a.H && AbsorbsWords<F>(a));
  }
  template <WeightFormat F>
  __device__ __forceinline__ void Run(Step s) {
    const MlaTask a = TaskOf(s);
    Absorb<F>(a, Queries(s, h), h, column, words, s.p().scratch.absorbed, reinterpret_cast<float*>(s.memory()));
  }
};

// ---- attend: a unit is a slot of tiles and, when the matrix units take it, up to kTileHeads heads, else one -------------------------

struct AttendUnits {
  int slots, sharers;

  __device__ __forceinline__ explicit AttendUnits(Step s) {
    const MlaTask a = TaskOf(s);
    sharers = a.tiles ? (a.H + kTileHeads - 1) / kTileHeads : a.H;
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
      range.begin, range.end, length, length - 1, min(kTileHeads, static_cast<int>(m.shape.n_heads) - sharer * kTileHeads), s.p().stages,
      m.scale * kLog2E, unit + GridSize() >= units.count(), reinterpret_cast<const Bf16*>(s.p().scratch.absorbed) + sharer * (kTileHeads * kTileRow),
      PartialOf(s, slot, sharer * kTileHeads), m.cache.pages, m.cache.layer_offset};
}

inline __device__ __noinline__ void MlaAttendPlain(Step s) {
  const MlaTask a = TaskOf(s);
  const AttendUnits units(s);
  const int length = static_cast<int>(s.p().position) + 1;
#pragma unroll 1
  for (int unit = BlockId(); unit < units.count(); unit += GridSize()) {
    const int slot = unit % units.slots, h = unit / units.slots;
    const TileRange range = SlotTiles(length, slot, units.slots);
    AttendPlain(a, s.p().scratch.absorbed + h * a.R, Queries(s, h) + a.N, range.begin * kMlaTile,
                min(range.end * kMlaTile, length), PartialOf(s, slot, h), s.shared().partial);
    SyncWorkers();
  }
}

// ---- expand: a unit is a share of a head's latent and half of its values -------------------------------------------------------------

__device__ __forceinline__ int CountExpandUnits(Step s) { return TaskOf(s).H * ExpandShares(TaskOf(s).R) * 2; }

template <WeightFormat F>
struct ExpandUnit {
  int slots;
  Expansion<F> rows;

  // What needs no attention.
  __device__ __forceinline__ void Load(Step s, int unit) {
    const MlaTask a = TaskOf(s);
    const int shares = ExpandShares(a.R), half = unit % 2;
    slots = AttendUnits(s).slots;
    rows.h = unit / 2 / shares, rows.share = unit / 2 % shares;
    rows.begin = half * a.V / 2, rows.end = rows.h < a.H ? (half + 1) * a.V / 2 : 0;
    rows.Load(a);
  }
  __device__ __forceinline__ void Run(Step s) const {
    const MlaTask a = TaskOf(s);
    const int stride = PartialFloats(a.R);
    rows.Run(a, s.p().scratch.partials + rows.h * stride, static_cast<int64_t>(a.H) * stride, slots, s.p().expand_room,
             s.p().scratch.mixed + (rows.share * a.H + rows.h) * a.V, false, *reinterpret_cast<ExpandShared*>(s.memory()));
  }
};

}  // namespace rill::cuda
