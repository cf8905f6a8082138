// kernels/cuda/decoder_kda_slice.cuh — what a slice of a usual KDA head needs that no other block makes in this step: state, convolutions' taps and tails,
// gates, norm. With q4 the feeders bring it by way of the slots, a job a slice: its trip to memory would be the longest part of the phase.
#pragma once

#include <cstddef>

#include "kernels/cuda/decoder_step.cuh"
#include "kernels/cuda/kda.cuh"

namespace rill::cuda {

inline constexpr int kUsualRows = kUsualK / kKeyParts;  // of the state, that a thread has
inline constexpr int kUsualItems = 2 * kUsualK + kStepSlice, kUsualSlices = kUsualK / kStepSlice;
static_assert(kUsualRows * kKeyParts == kUsualK && kUsualTaps == 4, "a channel's taps are a float4");
inline constexpr int kGateRowBytes = 2 * kUsualRank;
inline constexpr int kStateRows = kTileRows * kGateRowBytes / (kStepSlice * 4);  // of the state, that a unit has
enum SliceUnit {
  kTapsUnit,                              // of q, k and v: SliceTaps
  kTailUnit,                              // SliceTail
  kGateUnit,                              // sixteen rows each: of the decay gate for every key channel, then of the output gate
  kStateUnit = kGateUnit + kUsualRows + kStepSlice / kTileRows,  // the slice's columns of kStateRows rows each
  kSliceUnits = kStateUnit + kUsualK / kStateRows
};
static_assert(kSliceUnits == kStepWarps, "a warp gives back a unit");
// A feeder warp copies a row of these, 32 pieces of sixteen bytes, at a time.
inline constexpr int kWarpBytes = kWarp * 16;
struct SliceTaps {
  float4 taps[kUsualItems];
};
struct SliceTail {
  float tail[kUsualItems][3];
  alignas(kWarpBytes) float dt_bias[kUsualK];
  alignas(kWarpBytes) float o_norm[kStepSlice];
  float a_log[4];  // of four heads
};
static_assert(sizeof(SliceTaps) <= kSlotBytes && sizeof(SliceTail) <= kSlotBytes);
template <WeightFormat F>
__device__ __forceinline__ bool SliceBySlots(Step s) { return F == WeightFormat::kQ4 && s.queue().memory.slots >= kSliceUnits && s.l().kda.usual; }

// kCopies rows of a unit, `step` bytes apart in device memory; `to` and `from` are the lane's.
template <int kCopies>
__device__ __forceinline__ void CopyRows(uint32_t to, const void* from, int step) {
#pragma unroll
  for (int i = 0; i < kCopies; ++i) CopyAsync16(to + i * kWarpBytes, static_cast<const char*>(from) + i * step);
}
__device__ __forceinline__ void FillTaps(const StepKda& k, int head, int column, uint32_t to) {
  constexpr int kHead = kUsualK * 16 / kWarpBytes;
  const int lane = ThreadId() % kWarp;
  CopyRows<kHead>(to, k.conv[0] + (head + lane) * 4, kWarpBytes);
  CopyRows<kHead>(to + kHead * kWarpBytes, k.conv[1] + (head + lane) * 4, kWarpBytes);
  CopyRows<1>(to + 2 * kHead * kWarpBytes, k.conv[2] + (head + column + lane) * 4, 0);
}
__device__ __forceinline__ void FillTail(const StepKda& k, int head, int column, uint32_t to) {
  constexpr int kHead = kUsualK * 12 / kWarpBytes;
  const int lane = ThreadId() % kWarp;
  const float* tail = k.tail + lane * 4;
  CopyRows<kHead>(to, tail + head * 3, kWarpBytes);
  CopyRows<kHead>(to + kHead * kWarpBytes, tail + (k.C + head) * 3, kWarpBytes);
  if (lane < kStepSlice * 3 / 4) CopyRows<1>(to + 2 * kHead * kWarpBytes, tail + (2 * k.C + head + column) * 3, 0);
  CopyRows<1>(to + offsetof(SliceTail, dt_bias), k.dt_bias + head + lane * 4, 0);
  constexpr int kNorm = kStepSlice / 4;
  const float* last = lane < kNorm ? k.o_norm + column + lane * 4 : k.a_log + head / kUsualK / 4 * 4;
  if (lane <= kNorm) CopyRows<1>(to + offsetof(SliceTail, o_norm), last, 0);
}
// Sixteen rows of a gate's matrix, or kStateRows of the state; `u` counts from kGateUnit.
__device__ __forceinline__ void FillGateOrState(const StepKda& k, int head, int column, int u, uint32_t to) {
  constexpr int kGates = kStateUnit - kGateUnit, kRowPieces = kStepSlice / 4, kCopies = kTileRows * kGateRowBytes / kWarpBytes;
  const int lane = ThreadId() % kWarp;
  const bool is_gate = u < kGates, decay = u < kUsualRows;
  const int gate_row = decay ? head + u * kTileRows : head + column + (u - kUsualRows) * kTileRows;
  const void* gate = static_cast<const char*>(decay ? k.f_b.values : k.g_b.values) + gate_row * kGateRowBytes + lane * 16;
  const void* state = k.state + (head + (u - kGates) * kStateRows + lane / kRowPieces) * kUsualK + column + lane % kRowPieces * 4;
  CopyRows<kCopies>(to, is_gate ? gate : state, is_gate ? kWarpBytes : kWarp / kRowPieces * kUsualK * 4);
}

// The feeders' side of it: the slices of this block.
template <WeightFormat F>
__device__ __forceinline__ void FeedSlices(Step s, Feeder& f) {
  if (!SliceBySlots<F>(s)) return;
  const StepKda& k = s.l().kda;
#pragma unroll 1
  for (int unit = BlockId(); unit < k.H * kUsualSlices; unit += GridSize()) {
    PassJob(s.queue(), f, [](Job&) {}, [&](const Job& job) {
      const int head = unit / kUsualSlices * kUsualK, column = unit % kUsualSlices * kStepSlice, lane_at = ThreadId() % kWarp * 16;
      FillPlain(s.queue(), job.first, kSliceUnits, [&](int u, uint32_t slot) {
        if (u >= kGateUnit) FillGateOrState(k, head, column, u - kGateUnit, slot + lane_at);
        else if (u == kTapsUnit) FillTaps(k, head, column, slot + lane_at);
        else FillTail(k, head, column, slot + lane_at);
      });
      return static_cast<int>(kSliceUnits);
    });
  }
}

// The workers' side: unit `u` of job `job_index`, when it is there.
template <typename T>
__device__ __forceinline__ const T& SlicePart(const JobQueue& q, int job_index, int u) {
  return SharedAt<const T>(AwaitUnit(q, q.job[job_index % kQueuedJobs].first + u));
}
// All units, behind a barrier of the workers.
__device__ __forceinline__ void GiveSliceBack(JobQueue& q, int job_index) {
  Arrive(q.empty[SlotOf(q, q.job[job_index % kQueuedJobs].first + ThreadId() / kWarp)]);
  LeaveJob(q, job_index);
  EndJob(q, job_index);
}

}  // namespace rill::cuda
