#include "kernels/ops/experts.h"

#include <algorithm>

#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/weights.h"

namespace rill::cpu {
namespace {

// The (token, choice) pairs of a call, pair t * top_k + j, sorted by expert: each expert's weights
// are read once.
struct Grouping {
  float *gate, *up;  // [pairs, width]
  float* answer;     // [pairs, hidden]
  int32_t* sorted;   // [pairs]
  int32_t* end;      // [n_experts]: expert e has sorted[e == 0 ? 0 : end[e - 1] .. end[e])
};

Grouping LayOut(const ExpertsArgs& args) {
  const uint64_t pairs = args.ids.size();
  char* at = args.workspace.as<char>();
  const auto take = [&at](uint64_t bytes) {
    char* here = at;
    at += AlignUp(bytes, 64);
    return here;
  };
  Grouping grouping;
  grouping.gate = reinterpret_cast<float*>(take(pairs * args.experts.width * sizeof(float)));
  grouping.up = reinterpret_cast<float*>(take(pairs * args.experts.width * sizeof(float)));
  grouping.answer = reinterpret_cast<float*>(take(pairs * args.experts.hidden * sizeof(float)));
  grouping.sorted = reinterpret_cast<int32_t*>(take(pairs * sizeof(int32_t)));
  grouping.end = reinterpret_cast<int32_t*>(take((args.experts.n_experts + 1) * sizeof(int32_t)));
  return grouping;
}

// A counting sort: end[e] first counts, then is where expert e's pairs begin, and has moved to
// their end when done.
void SortByExpert(const ExpertsArgs& args, const Grouping& grouping) {
  const int32_t* ids = args.ids.as<int32_t>();
  const int64_t pairs = args.ids.size();
  std::fill(grouping.end, grouping.end + args.experts.n_experts + 1, 0);
  for (int64_t p = 0; p < pairs; ++p) ++grouping.end[ids[p] + 1];
  for (int e = 0; e < args.experts.n_experts; ++e) grouping.end[e + 1] += grouping.end[e];
  for (int64_t p = 0; p < pairs; ++p)
    grouping.sorted[grouping.end[ids[p]]++] = static_cast<int32_t>(p);
}

// f(expert, its pairs, how many) for the experts that have any.
template <typename F>
void ForExperts(const ExpertsArgs& args, const Grouping& grouping, F&& f) {
  for (int e = 0, begin = 0; e < args.experts.n_experts; begin = grouping.end[e++]) {
    if (grouping.end[e] > begin) f(e, grouping.sorted + begin, grouping.end[e] - begin);
  }
}

// Rows [begin, end) of `matrix` for some pairs; pair p reads row p / share of x and writes row p of
// y.
void ProjectPairs(const Isa& isa, const MatrixView& matrix, int64_t begin, int64_t end,
                  const float* x, int32_t share, const int32_t* pairs, int64_t n, float* y,
                  float* scratch) {
  const Weights weights = MakeWeights(matrix);
  if (n == 1) {
    isa.matvec(weights, begin, end, x + pairs[0] / share * matrix.cols, y + pairs[0] * matrix.rows,
               false);
  } else {
    isa.matmul(weights, begin, end, {x, matrix.cols, n, pairs, share}, y, matrix.rows, false,
               scratch);
  }
}

// Every worker takes the same rows of all experts, so that it does not matter how many tokens each
// one has.
void GateAndUp(CpuDevice& device, const ExpertsArgs& args, const Grouping& grouping) {
  const Isa& isa = device.isa();
  const int64_t width = args.experts.width;
  const int32_t top_k = static_cast<int32_t>(args.ids.dim[1]);
  device.pool()->For(width, 8, [&](int64_t begin, int64_t end, int worker) {
    float* scratch = device.scratch(worker);
    ForExperts(args, grouping, [&](int e, const int32_t* pairs, int64_t n) {
      ProjectPairs(isa, args.experts.Gate(e), begin, end, args.x.f32(), top_k, pairs, n,
                   grouping.gate, scratch);
      ProjectPairs(isa, args.experts.Up(e), begin, end, args.x.f32(), top_k, pairs, n, grouping.up,
                   scratch);
      for (int64_t i = 0; i < n; ++i) {
        float* gate = grouping.gate + pairs[i] * width + begin;
        isa.swiglu(gate, grouping.up + pairs[i] * width + begin, end - begin, gate);
      }
    });
  });
}

void DownAndSum(CpuDevice& device, const ExpertsArgs& args, const Grouping& grouping) {
  const Isa& isa = device.isa();
  const int64_t T = args.ids.dim[0], top_k = args.ids.dim[1], hidden = args.experts.hidden;
  device.pool()->For(hidden, 8, [&](int64_t begin, int64_t end, int worker) {
    float* scratch = device.scratch(worker);
    ForExperts(args, grouping, [&](int e, const int32_t* pairs, int64_t n) {
      ProjectPairs(isa, args.experts.Down(e), begin, end, grouping.gate, 1, pairs, n,
                   grouping.answer, scratch);
    });
    for (int64_t t = 0; t < T; ++t) {
      isa.weighted_sum(grouping.answer + t * top_k * hidden + begin, top_k, hidden,
                       args.weights.f32() + t * top_k, end - begin, args.accumulate,
                       args.out.f32() + t * hidden + begin);
    }
  });
}

}  // namespace

absl::Status Experts(Device& device, const ExpertsArgs& args) {
  RILL_RETURN_IF_ERROR(Check(args));
  const Grouping grouping = LayOut(args);
  SortByExpert(args, grouping);
  GateAndUp(CpuDevice::From(device), args, grouping);
  DownAndSum(CpuDevice::From(device), args, grouping);
  return absl::OkStatus();
}

}  // namespace rill::cpu
