// kernels/cuda/job_queue.cuh — jobs (tile_job.cuh) on their way from the feeders of a block to its workers.
//
// Four warps of a block, the feeders, do nothing but build the jobs of a step in their order and bring their weights into a ring of slots,
// as far ahead as the ring has room: across phases, and across the barriers of the grid that the workers wait at. They ask for little at a
// time. A block that asks for all its 130 KB at once makes everyone's loads wait behind them: a load from the second-level cache then takes
// 1.0 us instead of 0.24, and barriers and activations are such loads (ADR 11).
//
// Units are numbered through all jobs that use slots; unit n comes into slot n % slots. Signals: a job is built; a job is over, so that its
// table may be built anew; a slot is full; a slot is empty.
#pragma once

#include "kernels/cuda/signal.cuh"
#include "kernels/cuda/tile_job.cuh"

namespace rill::cuda {

inline constexpr int kBlockThreads = kWorkers + kFeederWarps * kWarp;  // 96 registers each
inline constexpr int kQueuedJobs = 4;
inline constexpr unsigned kMostSlots = 32;
// Units that a feeder warp has on their way when it asks for one more: a few while the workers have loads of their own, more when they wait for
// nothing but these; of what is no weights and comes from DRAM unasked, one more (KDA alone: 3.7 us instead of 4.0, H200).
inline constexpr int kFeedAhead = 1, kFeedDeep = 4, kFeedPlain = 2;

// Half as many, or none: fewer than one for each worker warp are no use.
constexpr int FewerSlots(int slots) { return slots > kWorkerWarps ? slots / 2 : 0; }

struct JobQueue {
  JobMemory memory;
  int taken[kWorkerWarps];  // jobs that a worker warp has multiplied: each reads its own, so that no barrier need lie between two jobs
  Job job[kQueuedJobs];
  uint64_t built[kQueuedJobs], over[kQueuedJobs], full[kMostSlots], empty[kMostSlots];
};

__device__ __forceinline__ bool IsFeeder() { return ThreadId() >= kWorkers; }

// By the feeders, before anything else; a barrier of the whole block follows.
__device__ __forceinline__ void BeginQueue(JobQueue& q, const JobMemory& memory) {
  const int i = ThreadId() - kWorkers;
  if (i < static_cast<int>(kMostSlots)) {
    SetSignal(q.full[i], kWarp);
    SetSignal(q.empty[i], kWarp);
  } else if (i < static_cast<int>(kMostSlots) + kQueuedJobs) {
    SetSignal(q.built[i - kMostSlots], kFeederWarps * kWarp);
    SetSignal(q.over[i - kMostSlots], kWorkers);
  } else if (i == kFeederWarps * kWarp - 1) {
    q.memory = memory;
    for (int& taken : q.taken) taken = 0;
  }
}

// True when the job's weights go by way of the slots.
template <WeightFormat F>
__device__ __forceinline__ bool UsesSlots(const Job& job, const JobMemory& memory) {
  return F == WeightFormat::kQ4 && memory.slots > 0 && job.groups % kBlockGroups == 0;
}

// ---- feeders ---------------------------------------------------------------------------------------------------------

// What a feeder knows: all of them go through the same jobs in the same order.
struct Feeder {
  int jobs = 0;        // fed so far
  unsigned units = 0;  // the same
  int warp = ThreadId() / kWarp - kWorkerWarps;
};

// Brings a job's weights, a unit a warp in turn.
template <WeightFormat F>
__device__ __noinline__ void FillSlots(uint32_t queue_at, int job_index, bool deep) {
  const JobQueue& q = SharedAt<const JobQueue>(queue_at);
  const Job& job = q.job[job_index % kQueuedJobs];
  const int n_units = job.n_units, groups = job.groups;
  const unsigned first = job.first, slots = q.memory.slots;
  const uint32_t slots_at = q.memory.slots_at;
  const Units units(job);
  if (!UsesSlots<F>(job, q.memory)) return;
#pragma unroll 1
  for (int u = ThreadId() / kWarp - kWorkerWarps; u < n_units; u += kFeederWarps) {
    const unsigned n = first + u, slot = n & (slots - 1);
    Await(q.empty[slot], (n & slots) == 0 ? 1 : 0);  // the use before; there is none before the first
    FillSlot(units.At(u), groups, slots_at + slot * kSlotBytes);
    ArriveWithCopies(q.full[slot]);
    CommitCopies();
    if (deep) asm volatile("cp.async.wait_group %0;" ::"n"(kFeedDeep) : "memory");
    else asm volatile("cp.async.wait_group %0;" ::"n"(kFeedAhead) : "memory");
  }
}

// Brings `units` units into slots, a unit a warp in turn: fill(u, to) starts the copies of unit u to the slot at `to`.
template <typename Fill>
__device__ __forceinline__ void FillPlain(const JobQueue& q, unsigned first, int units, Fill fill) {
  const unsigned slots = q.memory.slots;
#pragma unroll 1
  for (int u = ThreadId() / kWarp - kWorkerWarps; u < units; u += kFeederWarps) {
    const unsigned n = first + u, slot = n & (slots - 1);
    Await(q.empty[slot], (n & slots) == 0 ? 1 : 0);
    fill(u, q.memory.slots_at + slot * kSlotBytes);
    ArriveWithCopies(q.full[slot]);
    CommitCopies();
    asm volatile("cp.async.wait_group %0;" ::"n"(kFeedPlain) : "memory");
  }
}

// The next job: build(job) by the first feeder, then fill(job) by all, which returns how many units went by way of the slots.
template <typename Build, typename Fill>
__device__ __forceinline__ void PassJob(JobQueue& q, Feeder& f, Build build, Fill fill) {
  const int at = f.jobs % kQueuedJobs;
  Job& job = q.job[at];
  Await(q.over[at], f.jobs / kQueuedJobs + 1);  // of the job before in this place
  if (f.warp == 0) {
    build(job);
    if (ThreadId() % kWarp == 0) job.first = f.units;
  }
  Arrive(q.built[at]);
  Await(q.built[at], f.jobs / kQueuedJobs);
  f.units += fill(job);
  ++f.jobs;
}
// One whose weights the feeders bring, `deep` when the workers wait for nothing else.
template <WeightFormat F, typename Build>
__device__ __forceinline__ void FeedJob(JobQueue& q, Feeder& f, bool deep, Build build) {
  PassJob(q, f, build, [&](const Job& job) {
    FillSlots<F>(SharedAddress(&q), f.jobs, deep);
    return UsesSlots<F>(job, q.memory) ? job.n_units : 0;
  });
}

// ---- workers ---------------------------------------------------------------------------------------------------------

// The number of the warp's next job, when it is built. With it comes what the feeders wrote before it.
__device__ __forceinline__ int AwaitJob(const JobQueue& q) {
  const int n = *static_cast<const volatile int*>(&q.taken[ThreadId() / kWarp]);
  Await(q.built[n % kQueuedJobs], n / kQueuedJobs);
  return n;
}
// The warp goes on to the next job.
__device__ __forceinline__ void LeaveJob(JobQueue& q, int job_index) {
  __syncwarp();
  if (ThreadId() % kWarp == 0) q.taken[ThreadId() / kWarp] = job_index + 1;
  __syncwarp();
}

// Where a unit that went by way of the slots lies, when it is there; it is given back by 32 arrivals at empty[slot].
__device__ __forceinline__ unsigned SlotOf(const JobQueue& q, unsigned unit) { return unit & (q.memory.slots - 1); }
__device__ __forceinline__ uint32_t AwaitUnit(const JobQueue& q, unsigned unit) {
  Await(q.full[SlotOf(q, unit)], (unit & q.memory.slots) == 0 ? 0 : 1);
  return q.memory.slots_at + SlotOf(q, unit) * kSlotBytes;
}

// Unit u's sums: four lanes share rows l / 4 and l / 4 + 8, and two of them add up one of the two.
__device__ __forceinline__ void LeaveUnit(const JobMemory& memory, int u, float low, float high) {
  const int lane = ThreadId() % kWarp;
  const bool has_high = (lane & 2) != 0;
  float sum = has_high ? high : low;
  sum += __shfl_xor_sync(0xffffffffu, has_high ? low : high, 2);
  sum += __shfl_xor_sync(0xffffffffu, sum, 1);
  if (lane % 2 == 0) SharedAt<float>(memory.sums_at + (u * kTileRows + lane / 4 + (has_high ? 8 : 0)) * sizeof(float)) = sum;
}

// All units of the job; the staged rows are there. Ends behind a barrier of the workers: RowSum() has the sums. Slots have a loop of their own, in which both
// kinds of tiles share an end (ADR 19).
template <WeightFormat F>
__device__ __noinline__ void RunJob(uint32_t queue_at, int job_index) {
  JobQueue& q = SharedAt<JobQueue>(queue_at);
  const Job& job = q.job[job_index % kQueuedJobs];
  const int n_units = job.n_units;
  const JobMemory memory = q.memory;
  if (!UsesSlots<F>(job, memory)) {
#pragma unroll 1
    for (int u = ThreadId() / kWarp; u < n_units; u += kWorkerWarps) {
      const float2 sums = TakeRows<F>(SharedAddress(&job), u);
      LeaveUnit(memory, u, sums.x, sums.y);
    }
    LeaveJob(q, job_index);
    return SyncWorkers();
  }
  const unsigned first = job.first;
  const Units units(job);
#pragma unroll 1
  for (int u = ThreadId() / kWarp; u < n_units; u += kWorkerWarps) {
    const unsigned n = first + u, slot = n & (memory.slots - 1);
    const Unit unit = units.At(u);
    const uint32_t slot_at = memory.slots_at + slot * kSlotBytes;
    Await(q.full[slot], (n & memory.slots) == 0 ? 0 : 1);
    float sums[2] = {0, 0};
    if (unit.tile->last < kFewRows) {
      const float sum = TakeFew(unit, slot_at);
      const int lane = LaneNow();
      sums[0] = __shfl_sync(0xffffffffu, sum, lane < 4 ? lane : 16 + lane % 4);  // row 1 belongs to lane 4
    } else {
      TakeSlot(unit, slot_at, memory.zeros_at, sums);
    }
    Arrive(q.empty[slot]);
    LeaveUnit(memory, u, sums[0], sums[1]);
  }
  LeaveJob(q, job_index);
  SyncWorkers();
}

// The thread reads nothing of the job any more.
__device__ __forceinline__ void EndJob(JobQueue& q, int job_index) { Arrive(q.over[job_index % kQueuedJobs]); }

}  // namespace rill::cuda
