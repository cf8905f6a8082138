#include "tests/bench/bench_fma.h"

#include "benchmark/benchmark.h"
#include "kernels/base/cpu_features.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace rill::bench {
namespace {

#if defined(__x86_64__)
__attribute__((target("avx512f"))) double Wide(int64_t rounds) {
  __m512 sums[12], a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
  for (__m512& sum : sums)
    benchmark::DoNotOptimize(sum = a);  // equal chains would be computed once
  for (int64_t i = 0; i < rounds; ++i) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, a, b);
  }
  for (__m512& sum : sums) benchmark::DoNotOptimize(sum);
  return 12.0 * 16 * static_cast<double>(rounds);
}

__attribute__((target("avx2,fma"))) double Medium(int64_t rounds) {
  __m256 sums[12], a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
  for (__m256& sum : sums)
    benchmark::DoNotOptimize(sum = a);  // equal chains would be computed once
  for (int64_t i = 0; i < rounds; ++i) {
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, a, b);
  }
  for (__m256& sum : sums) benchmark::DoNotOptimize(sum);
  return 12.0 * 8 * static_cast<double>(rounds);
}
#elif defined(__aarch64__)
double Medium(int64_t rounds) {
  float32x4_t sums[16], a = vdupq_n_f32(0.5f), b = vdupq_n_f32(0.25f);
  for (float32x4_t& sum : sums)
    benchmark::DoNotOptimize(sum = a);  // equal chains would be computed once
  for (int64_t i = 0; i < rounds; ++i) {
    for (float32x4_t& sum : sums) sum = vfmaq_f32(b, sum, a);
  }
  for (float32x4_t& sum : sums) benchmark::DoNotOptimize(sum);
  return 16.0 * 4 * static_cast<double>(rounds);
}
#endif

double Plain(int64_t rounds) {
  float sums[16], a = 0.5f, b = 0.25f;
  benchmark::DoNotOptimize(a);
  for (float& sum : sums) benchmark::DoNotOptimize(sum = a);
  for (int64_t i = 0; i < rounds; ++i) {
    for (float& sum : sums) sum = sum * a + b;
  }
  for (float& sum : sums) benchmark::DoNotOptimize(sum);
  return 16.0 * static_cast<double>(rounds);
}

}  // namespace

double BusyFmas(int64_t rounds) {
  switch (BestCpuIsa()) {
#if defined(__x86_64__)
    case CpuIsa::kAvx512:
      return Wide(rounds);
    case CpuIsa::kAvx2:
      return Medium(rounds);
#elif defined(__aarch64__)
    case CpuIsa::kNeon:
      return Medium(rounds);
#endif
    default:
      return Plain(rounds);
  }
}

}  // namespace rill::bench
