// kernels/cuda/decoder_mla.cuh — the MLA mixer within a fused decode step: append and absorb, attend, expand, and what of the output
// projection knows how the values lie.
#pragma once

#include "kernels/cuda/decoder_step.cuh"
#include "kernels/cuda/mla_tile.cuh"

namespace rill::cuda {

__device__ __forceinline__ MlaTask TaskOf(Step s) {
  const StepMla& m = s.l().mla;
  return {static_cast<int>(m.shape.n_heads), static_cast<int>(m.shape.nope), static_cast<int>(m.shape.rope),
          static_cast<int>(m.shape.value), static_cast<int>(m.shape.latent), m.scale, m.kv_b, m.cache};
}

// A unit of absorbing and of expanding: kLatentPart latent columns of a head. Units are counted by parts within heads.
struct HeadPart {
  int h, part;

  __device__ __forceinline__ HeadPart(Step s, int unit) {
    const int parts = LatentParts(TaskOf(s).R);
    h = unit / parts, part = unit % parts;
  }
};
__device__ __forceinline__ int CountHeadParts(Step s) { return TaskOf(s).H * LatentParts(TaskOf(s).R); }

// ---- absorb: q~ of every head, and behind the last unit the new row of the cache -----------------------------------------------

inline __device__ __noinline__ void MlaAppend(Step s) {
  AppendRow(TaskOf(s), s.p().scratch.projected + s.l().inputs.at[1], s.l().mla.kv_norm, s.l().mla.norm_eps, s.p().position, s.shared().scratch);
}

template <WeightFormat F>
__device__ __forceinline__ void MlaAbsorb(Step s, HeadPart unit, AbsorbWords& words) {
  const MlaTask a = TaskOf(s);
  Absorb<F>(a, s.p().scratch.projected + unit.h * (a.N + a.P), unit.h, unit.part * kLatentPart, words, s.p().scratch.absorbed,
            reinterpret_cast<float*>(s.memory()));
}

// ---- attend: a unit is a slot of tiles and, when the matrix units take it, up to kTileHeads heads, else one -------------------------

struct AttendUnits {
  int slots, sharers;

  __device__ __forceinline__ AttendUnits(Step s) {
    const MlaTask a = TaskOf(s);
    const int tiles = CountTiles(static_cast<int>(s.p().position) + 1);
    sharers = FitsTile(a) ? (a.H + kTileHeads - 1) / kTileHeads : a.H;
    const int blocks = max(1, min(static_cast<int>(GridSize()), kMaxSlots) / sharers);
    slots = min(tiles, blocks);
  }
  __device__ __forceinline__ int count() const { return slots * sharers; }
};

__device__ __forceinline__ float* PartialOf(Step s, int slot, int h) {
  const MlaShape& shape = s.l().mla.shape;
  return s.p().scratch.partials + (slot * shape.n_heads + h) * PartialFloats(static_cast<int>(shape.latent));
}

struct StepPlace {
  Step s;
  int unit;

  __device__ __forceinline__ int sharer() const { return unit / AttendUnits(s).slots; }
  __device__ __forceinline__ int slot() const { return unit % AttendUnits(s).slots; }
  __device__ __forceinline__ const char* Rows(int tile) const { return CacheRow(s.l().mla.cache, int64_t{tile} * kMlaTile, kTileRow * 2); }
  __device__ __forceinline__ int Length() const { return static_cast<int>(s.p().position) + 1; }
  __device__ __forceinline__ int Known() const { return static_cast<int>(s.p().position); }
  __device__ __forceinline__ float Scale() const { return s.l().mla.scale; }
  __device__ __forceinline__ int Heads() const { return min(kTileHeads, static_cast<int>(s.l().mla.shape.n_heads) - sharer() * kTileHeads); }
  __device__ __forceinline__ const Bf16* Queries() const {
    return reinterpret_cast<const Bf16*>(s.p().scratch.absorbed) + sharer() * (kTileHeads * kTileRow);
  }
  __device__ __forceinline__ float* Partials() const { return PartialOf(s, slot(), sharer() * kTileHeads); }
  __device__ __forceinline__ TileTask Task() const {
    const TileRange range = SlotTiles(Length(), slot(), AttendUnits(s).slots);
    return {range.begin, range.end, s.p().stages, s.memory()};
  }
};

// The first unit's rows of earlier steps.
__device__ __forceinline__ void AskAttend(Step s) {
  if (!FitsTile(TaskOf(s)) || BlockId() >= AttendUnits(s).count()) return;
  const StepPlace place = {s, BlockId()};
  AskTiles(place.Task(), place);
}

inline __device__ __noinline__ void MlaAttendPlain(Step s) {
  const MlaTask a = TaskOf(s);
  const AttendUnits units(s);
  const int length = static_cast<int>(s.p().position) + 1;
#pragma unroll 1
  for (int unit = BlockId(); unit < units.count(); unit += GridSize()) {
    const int slot = unit % units.slots, h = unit / units.slots;
    const TileRange range = SlotTiles(length, slot, units.slots);
    AttendPlain(a, s.p().scratch.absorbed + h * a.R, s.p().scratch.projected + h * (a.N + a.P) + a.N, range.begin * kMlaTile,
                min(range.end * kMlaTile, length), PartialOf(s, slot, h), s.shared().partial);
    __syncthreads();
  }
}

__device__ __forceinline__ void MlaAttend(Step s) {
  if (!FitsTile(TaskOf(s))) {
    MlaAttendPlain(s);
    return;
  }
#pragma unroll 1
  for (int unit = BlockId(); unit < AttendUnits(s).count(); unit += GridSize()) {
    const StepPlace place = {s, unit};
    if (unit != BlockId()) AskTiles(place.Task(), place);
    AttendTiles(place.Task(), place);
    __syncthreads();
  }
}

// ---- expand: the values lie in LatentParts(R) shares [H, V], to be added up ------------------------------------------------------

// `slots` are the attention's.
template <WeightFormat F>
__device__ __forceinline__ void MlaExpand(Step s, HeadPart unit, int slots, const Expansion<F>& rows) {
  const MlaTask a = TaskOf(s);
  const int stride = PartialFloats(a.R);
  rows.Run(a, unit.h, unit.part, s.p().scratch.partials + unit.h * stride, static_cast<int64_t>(a.H) * stride, slots,
           s.p().scratch.mixed + (unit.part * a.H + unit.h) * a.V, false, *reinterpret_cast<ExpandShared*>(s.memory()));
}

// The shares' sum, staged for the output projection. Ends without a barrier.
template <WeightFormat F>
__device__ __forceinline__ void StageValues(Step s) {
  constexpr int kAtOnce = 8;
  const int n = static_cast<int>(s.l().o.cols), parts = LatentParts(static_cast<int>(s.l().mla.shape.latent));
  const int padded = (n + kGroup - 1) / kGroup * kGroup;
  const float* from = s.p().scratch.mixed;
  const Staged staged = PlaceForm<F>(s.memory());
#pragma unroll 1
  for (int first = ThreadId(); first < padded; first += kAtOnce * kStepThreads) {
    float sums[kAtOnce] = {};
#pragma unroll 4
    for (int part = 0; part < parts; ++part) {
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        const int i = first + j * kStepThreads;
        if (i < n) sums[j] += LoadShared(from + part * n + i);
      }
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * kStepThreads;
      if (i >= padded) break;
      StageGroup(staged, i / kGroup, sums[j]);
    }
  }
}

}  // namespace rill::cuda
