#include "tests/bench/bench_support.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/base/thread_pool.h"
#include "tests/bench/bench_fma.h"

namespace rill::bench {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Asks for memory well ahead, as the kernels do: a ceiling that they could beat would be none.
uint64_t SumWords(const uint64_t* words, int64_t n) {
  constexpr int64_t kAhead = 8192 / sizeof(uint64_t);
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= n; i += 8) {
    __builtin_prefetch(words + i + kAhead, 0, 2);
    for (int j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  for (int j = 1; j < 8; ++j) sums[0] += sums[j];
  return sums[0];
}

[[noreturn]] void Give(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

char* Bytes(size_t n) {
  absl::StatusOr<void*> memory = BenchDevice().Allocate(n);
  if (!memory.ok()) Give(memory.status());
  return static_cast<char*>(*memory);
}

uint32_t Next(uint32_t* seed) { return *seed = *seed * 1664525u + 1013904223u; }

double MeasureRead() {
  char* memory = Bytes(kRotation);
  memset(memory, 1, kRotation);
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const double start = Now();
    BenchDevice().pool()->For(kRotation / 8, 4096, [&](int64_t begin, int64_t end, int) {
      benchmark::DoNotOptimize(
          SumWords(reinterpret_cast<const uint64_t*>(memory) + begin, end - begin));
    });
    best = std::max(best, kRotation / (Now() - start));
  }
  BenchDevice().Free(memory, kRotation);
  return best;
}

double MeasureFma() {
  constexpr int64_t kRounds = 2'000'000;
  const int n_threads = BenchDevice().info().n_threads;
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const double start = Now();
    double fmas = 0;
    BenchDevice().pool()->For(n_threads, 1, [&](int64_t, int64_t, int worker) {
      const double done = BusyFmas(kRounds);
      if (worker == 0) fmas = done * n_threads;
    });
    best = std::max(best, fmas / (Now() - start));
  }
  return best;
}

}  // namespace

Device& BenchDevice() {
  static Device* const device = [] {
    const char* name = std::getenv("RILL_BENCH_DEVICE");
    const char* threads = std::getenv("RILL_BENCH_THREADS");
    auto opened =
        OpenDevice(name == nullptr ? "cpu" : name, threads == nullptr ? 0 : std::atoi(threads));
    if (!opened.ok()) Give(opened.status());
    benchmark::AddCustomContext("device", (*opened)->info().description);
    return opened->release();
  }();
  return *device;
}

double ReadCeiling() {
  static const double ceiling = MeasureRead();
  return ceiling;
}

double FmaCeiling() {
  static const double ceiling = MeasureFma();
  return ceiling;
}

float* Floats(int64_t n) {
  float* p = reinterpret_cast<float*>(Bytes(sizeof(float) * n));
  uint32_t seed = 1;
  for (int64_t i = 0; i < n; ++i) p[i] = static_cast<float>(Next(&seed) >> 8) * 0x1p-24f - 0.5f;
  return p;
}

TensorView Tensor(std::initializer_list<int64_t> dims) {
  TensorView view{nullptr, DType::kF32, static_cast<int>(dims.size()), {}};
  std::copy(dims.begin(), dims.end(), view.dim);
  view.data = Floats(view.size());
  return view;
}

TensorView Workspace(uint64_t bytes) { return MakeView(Bytes(bytes + 64), DType::kU8, bytes); }

void FillMatrix(WeightFormat format, int64_t rows, int64_t cols, void* to) {
  uint32_t seed = 7;
  const int64_t n = static_cast<int64_t>(ValuesBytes(format, rows, cols));
  const auto small = [&seed] { return static_cast<float>(Next(&seed) >> 8) * 0x1p-24f - 0.5f; };
  if (format == WeightFormat::kF32) {
    for (int64_t i = 0; i < n / 4; ++i) static_cast<float*>(to)[i] = small();
  } else if (format == WeightFormat::kBf16) {
    for (int64_t i = 0; i < n / 2; ++i) static_cast<Bf16*>(to)[i] = ToBf16(small());
  } else {
    for (int64_t i = 0; i < n; ++i)
      static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(Next(&seed) >> 24);
    F16* scales = reinterpret_cast<F16*>(static_cast<char*>(to) + ScalesOffset(format, rows, cols));
    for (int64_t i = 0; i < rows * GroupsPerRow(cols); ++i)
      scales[i] = ToF16(0.01f + 0.001f * small());
  }
}

std::vector<MatrixView> RotatingMatrices(WeightFormat format, int64_t rows, int64_t cols) {
  const size_t bytes = MatrixBytes(format, rows, cols);
  const size_t copies = std::max<size_t>(2, kRotation / bytes);
  std::vector<MatrixView> matrices;
  for (size_t i = 0; i < copies; ++i) {
    char* memory = Bytes(bytes);
    if (i == 0) {
      FillMatrix(format, rows, cols, memory);
    } else {
      memcpy(memory, matrices[0].values, bytes);
    }
    matrices.push_back(BindMatrix(format, rows, cols, memory));
  }
  return matrices;
}

void Report(benchmark::State& state, double bytes_per_call, double fmas_per_call) {
  using benchmark::Counter;
  const double n = static_cast<double>(state.iterations());
  const auto add = [&](const char* rate, const char* percent, double per_call, double ceiling) {
    if (per_call == 0) return;
    state.counters[rate] = Counter(n * per_call * 1e-9, Counter::kIsRate);
    state.counters[percent] = Counter(100 * n * per_call / ceiling, Counter::kIsRate);
  };
  add("GB/s", "%read", bytes_per_call, ReadCeiling());
  add("GFMA/s", "%fma", fmas_per_call, FmaCeiling());
}

bool Ok(benchmark::State& state, const absl::Status& status) {
  if (!status.ok()) state.SkipWithError(std::string(status.message()).c_str());
  return status.ok();
}

}  // namespace rill::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  char text[64];
  std::snprintf(text, sizeof text, "%.1f GB/s", rill::bench::ReadCeiling() * 1e-9);
  benchmark::AddCustomContext("read ceiling", text);
  std::snprintf(text, sizeof text, "%.1f GFMA/s", rill::bench::FmaCeiling() * 1e-9);
  benchmark::AddCustomContext("multiply-add ceiling", text);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
