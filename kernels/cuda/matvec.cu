// matvec: one launch for each format among the matrices. A block stages the row once and takes neighbouring rows of the matrices laid end to
// end, as jobs that its feeders bring to its workers (job_queue.cuh). Where the chip can, a launch begins to bring weights while the one before it still
// runs.
#include "kernels/ops/matvec.h"

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/cuda/job_queue.cuh"

namespace rill::cuda {
namespace {

constexpr int kMost = 16;

struct Projections {
  MatrixView weight[kMost];
  float* out[kMost];
  int end[kMost];  // rows up to and with this matrix
  int count, K, window;
  bool accumulate;
  int sums_at, slots_at, slots;
};

// [JobQueue | zeros | the staged row, kBeyondRow | sums | slots]
constexpr size_t kZerosAt = AlignUp(sizeof(JobQueue), 128), kStagedAt = AlignUp(kZerosAt + kZeroBytes, 128);

template <WeightFormat F>
__global__ void __launch_bounds__(kBlockThreads, 1) MatvecKernel(const __grid_constant__ Projections p, const float* x) {
  char* shared = block_memory;
  JobQueue& q = *reinterpret_cast<JobQueue*>(shared);
  const uint32_t base = SharedAddress(shared);
  const int64_t rows = p.end[p.count - 1];
  const int begin = static_cast<int>(rows * blockIdx.x / gridDim.x), end = static_cast<int>(rows * (blockIdx.x + 1) / gridDim.x);
  if (IsFeeder()) BeginQueue(q, {base + p.sums_at, base + p.slots_at, base + static_cast<uint32_t>(kZerosAt), static_cast<unsigned>(p.slots)});
  __syncthreads();
  LetNextGridStart();
  if (IsFeeder()) {
    Feeder f;
    for (int first = begin; first < end; first += p.window) {
      // A tile's `out` is its first row among all rows.
      FeedJob<F>(q, f, true, [&](Job& job) {
        BuildEndToEnd<F>(job, p.weight, p.end, p.count, p.K, base + static_cast<uint32_t>(kStagedAt), first, min(p.window, end - first),
                         [&](int i, int row) { return (i == 0 ? 0 : p.end[i - 1]) + row; });
      });
    }
    return;
  }
  ClearZeros(shared + kZerosAt);
  AwaitGridsBefore();  // the row may be theirs, and so may what is accumulated
  Staged staged;
  if constexpr (IsQuantized(F)) staged.q = shared + kStagedAt;
  else staged.f = reinterpret_cast<float*>(shared + kStagedAt);
  Stage<kWorkers>(staged, p.K, [&](int i) { return x[i]; });
  for (int first = begin; first < end; first += p.window) {
    SyncWorkers();
    const int n = AwaitJob(q);
    RunJob<F>(base, n);
    TileSums(q.job[n % kQueuedJobs], q.memory, [&](int row, float y) {
      int i = 0;
      while (row >= p.end[i]) ++i;
      float* out = p.out[i] + row - (i == 0 ? 0 : p.end[i - 1]);
      *out = p.accumulate ? *out + y : y;
    });
    EndJob(q, n);
  }
}

template <WeightFormat F>
absl::Status Launch(CudaDevice& d, const MatvecArgs& args) {
  Projections p = {};
  int64_t rows = 0;
  for (const Projection& projection : args.projections) {
    if (projection.weight.format != F) continue;
    p.weight[p.count] = projection.weight;
    p.out[p.count] = projection.out.f32();
    rows += projection.weight.rows;
    if (rows > INT32_MAX / 2) return absl::InvalidArgumentError(absl::StrCat("matvec: ", rows, " rows"));
    p.end[p.count++] = static_cast<int>(rows);
  }
  if (p.count == 0) return absl::OkStatus();
  p.K = static_cast<int>(args.x.dim[1]);
  p.accumulate = args.accumulate;
  const int blocks = static_cast<int>(Blocks(rows, kTileRows, d.sm_count())), parts = PartsOf(p.K);
  const int64_t tiles = std::min<int64_t>(CeilDiv(CeilDiv(rows, blocks), kTileRows) + 1 + p.count, kMostTiles);
  const size_t staged = AlignUp(IsQuantized(F) ? StagedQuantBytes(p.K) + kBeyondRow : StagedFloatBytes(p.K), 128);
  const auto bytes = [&](int64_t units) { return AlignUp(kStagedAt + staged + units * kUnitBytes, 128) + static_cast<size_t>(p.slots) * kSlotBytes; };
  const int64_t least = int64_t{parts} * (2 + p.count);
  p.slots = F == WeightFormat::kQ4 ? kMostSlots : 0;
  while (p.slots > 0 && bytes(least) > d.max_shared_bytes()) p.slots = FewerSlots(p.slots);
  const int64_t room = (static_cast<int64_t>(d.max_shared_bytes()) - static_cast<int64_t>(bytes(0)) - 128) / kUnitBytes;
  const int64_t units = std::max(least, std::min({tiles * parts, room, int64_t{kMostUnits}}));
  p.window = static_cast<int>(units / parts - 1 - p.count) * kTileRows;
  p.sums_at = static_cast<int>(kStagedAt + staged);
  p.slots_at = static_cast<int>(bytes(units) - static_cast<size_t>(p.slots) * kSlotBytes);
  RILL_RETURN_IF_ERROR(AllowShared(d, MatvecKernel<F>, bytes(units), "matvec"));
  static const bool early = CanStartEarly(MatvecKernel<F>);
  return LaunchEarly(d, MatvecKernel<F>, blocks, kBlockThreads, bytes(units), early, "matvec", p, args.x.f32());
}

}  // namespace

absl::Status Matvec(Device& device, const MatvecArgs& args) {
  CudaDevice& d = Cast(device);
  RILL_RETURN_IF_ERROR(Enter(d, args));
  RILL_RETURN_IF_ERROR(Launch<WeightFormat::kF32>(d, args));
  RILL_RETURN_IF_ERROR(Launch<WeightFormat::kBf16>(d, args));
  RILL_RETURN_IF_ERROR(Launch<WeightFormat::kQ8>(d, args));
  return Launch<WeightFormat::kQ4>(d, args);
}

}  // namespace rill::cuda
