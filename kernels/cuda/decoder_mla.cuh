// kernels/cuda/decoder_mla.cuh — the MLA mixer within a fused decode step: append and absorb, attend, expand.
#pragma once

#include "kernels/cuda/decoder_step.cuh"
#include "kernels/cuda/mla_tile.cuh"

namespace rill::cuda {

__device__ __forceinline__ MlaTask TaskOf(Step s) {
  const StepMla& m = s.l().mla;
  return {static_cast<int>(m.shape.n_heads), static_cast<int>(m.shape.nope), static_cast<int>(m.shape.rope),
          static_cast<int>(m.shape.value), static_cast<int>(m.shape.latent), m.scale, m.kv_b, m.cache};
}

// The new row of the cache, and q~ of every head.
template <WeightFormat F>
__device__ __forceinline__ void MlaAbsorb(Step s) {
  const MlaTask a = TaskOf(s);
  const float* q = s.p().scratch.projected;
  const int columns = (a.R + kAbsorbColumns - 1) / kAbsorbColumns, units = a.H * columns;
#pragma unroll 1
  for (int unit = BlockId(); unit <= units; unit += GridSize()) {
    if (unit == units) {
      AppendRow(a, q + s.l().inputs.at[1], s.l().mla.kv_norm, s.l().mla.norm_eps, s.p().position, s.shared().scratch);
      __syncthreads();
    } else {
      const int h = unit / columns;
      Absorb<F>(a, q + h * (a.N + a.P), h, unit % columns * kAbsorbColumns, s.p().scratch.absorbed, reinterpret_cast<float*>(s.memory()));
    }
  }
}

// How many partials a head gets: as many as there are blocks and tiles to go round.
__device__ __forceinline__ int CountSlots(Step s, const MlaTask& a) {
  const int64_t n_tiles = (s.p().position + kMlaTile) / kMlaTile;  // ceil((position + 1) / kMlaTile)
  const int sharers = FitsTile(a) ? (a.H + kTileHeads - 1) / kTileHeads : a.H;
  const int blocks = max(1, min(static_cast<int>(GridSize()), kMaxSlots) / sharers);
  return n_tiles < blocks ? static_cast<int>(n_tiles) : blocks;
}

__device__ __forceinline__ void MlaAttend(Step s) {
  const MlaTask a = TaskOf(s);
  const int n_slots = CountSlots(s, a);
  const int64_t length = s.p().position + 1;
  const bool tiles = FitsTile(a);
  const int sharers = tiles ? (a.H + kTileHeads - 1) / kTileHeads : a.H;
#pragma unroll 1
  for (int unit = BlockId(); unit < n_slots * sharers; unit += GridSize()) {
    const int slot = unit % n_slots, sharer = unit / n_slots;
    const TileRange range = SlotTiles(length, slot, n_slots);
    const int h = tiles ? sharer * kTileHeads : sharer;
    float* partial = s.p().scratch.partials + (static_cast<int64_t>(slot) * a.H + h) * PartialFloats(a);
    const float* q = s.p().scratch.projected;
    if (tiles) {
      AttendTiles(a, s.p().scratch.absorbed, h, min(kTileHeads, a.H - h), length, range, partial, PartialFloats(a), s.memory(), s.p().stages);
    } else {
      const int64_t end = range.end * kMlaTile < length ? range.end * kMlaTile : length;
      AttendPlain(a, s.p().scratch.absorbed + h * a.R, q + h * (a.N + a.P) + a.N, range.begin * kMlaTile, end, partial, s.shared().partial);
    }
    __syncthreads();
  }
}

template <WeightFormat F>
__device__ __forceinline__ void MlaExpand(Step s) {
  const MlaTask a = TaskOf(s);
  const int n_slots = CountSlots(s, a);
  const int parts = a.V >= 64 ? 4 : 1;
#pragma unroll 1
  for (int unit = BlockId(); unit < a.H * parts; unit += GridSize()) {
    const int h = unit / parts, part = unit % parts;
    ExpandHead<F>(a, h, s.p().scratch.partials + h * PartialFloats(a), a.H * PartialFloats(a), n_slots, a.V * part / parts,
               a.V * (part + 1) / parts, s.p().scratch.mixed + h * a.V, s.memory());
  }
}

}  // namespace rill::cuda
