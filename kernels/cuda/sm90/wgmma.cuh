// kernels/cuda/sm90/wgmma.cuh — products of a warpgroup, four warps whose first is a multiple of four, by sm_90a's matrix units. Both factors lie
// in shared memory; the instruction runs on while the warps go on. ptxas starts them one by one (C7510, C7520: each waits for the one before) in a
// function that is called, and in a loop without a group of its own in each round; a build that says so is a slow one.
//
// Factors are panels: rows of 128 bytes, one behind the other, a panel at a multiple of kAtomBytes. Within a row the sixteen bytes of chunk c lie at
// place c ^ (row % 8), so that neither eight rows of a chunk nor eight chunks of a row meet in a bank. A factor whose row is an output's row is taken
// as it is, 16 columns at a time; a factor whose column is an output's row is taken transposed, 16 rows at a time.
#pragma once

#include <cstdint>

#include "kernels/cuda/signal.cuh"

namespace rill::cuda::sm90 {

inline constexpr int kWarpgroup = 128;
inline constexpr int kPanelRow = 128;    // bytes
inline constexpr int kAtomBytes = 1024;  // eight rows, after which places repeat

// Where chunk `chunk` of row `row` lies in its panel.
__device__ __forceinline__ uint32_t PlaceOf(int row, int chunk) { return row * kPanelRow + (chunk ^ (row & 7)) * 16; }

// What the matrix units are told of a factor: where it begins, in units of sixteen bytes. What is the same for all: that eight rows further lie
// kAtomBytes further, and how places are found. Instructions take it from registers of the warp: one lane's makes that known.
__device__ __forceinline__ uint32_t Describe(uint32_t address) {
  return __shfl_sync(0xffffffffu, kAtomBytes / 16 << 16 | (address & 0x3ffff) / 16, 0);
}
// The same `bytes` further.
__device__ __forceinline__ uint32_t Further(uint32_t factor, int bytes) { return factor + bytes / 16; }

// d += a b: 64 x 16 times 16 x 32, bf16. A thread has rows 16 w + lane / 4 + 8 r of warp w and columns 8 j + lane % 4 * 2 + i at d[4 j + 2 r + i].
// kTransposed: an output's row is a column of a's panel. Of b an output's column is always a row.
template <bool kTransposed>
__device__ __forceinline__ void MultiplyAsync(float (&d)[16], uint32_t a, uint32_t b) {
  constexpr uint32_t kSwizzle128 = 1 << 30;
  asm volatile(
      "{\n\t.reg .pred add;\n\t.reg .b64 a, b;\n\tsetp.eq.u32 add, 0, 0;\n\tmov.b64 a, {%16, %19};\n\tmov.b64 b, {%17, %19};\n\t"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, a, b, add, 1, 1, %18, 0;\n\t}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]),
        "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
      : "r"(a), "r"(b), "n"(kTransposed ? 1 : 0), "n"(kSwizzle128 | kAtomBytes / 16)
      : "memory");
}
// Before the first product, and whenever sums were touched otherwise.
__device__ __forceinline__ void BeginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void CommitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// All but the newest kLeft groups of products are done. Whose sums are needed then must go through Take().
template <int kLeft>
__device__ __forceinline__ void AwaitProducts() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory"); }
// Keeps what reads or changes the sums behind the wait before it, or in front of the products behind it: for the compiler they were there at once.
__device__ __forceinline__ void Take(float (&d)[16]) {
#pragma unroll
  for (int i = 0; i < 16; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// What this thread wrote to shared memory, copies that have landed among it, is there for the matrix units; an arrival behind it says so.
__device__ __forceinline__ void ShowToProducts() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Four 8 x 8 matrices of bf16 as the warp's lanes have them in products' sums, stored with rows and columns exchanged: lane l says where row l % 8
// of matrix l / 8 goes.
__device__ __forceinline__ void StoreTransposed(uint32_t address, const uint32_t (&pairs)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
               ::"r"(address), "r"(pairs[0]), "r"(pairs[1]), "r"(pairs[2]), "r"(pairs[3]) : "memory");
}

}  // namespace rill::cuda::sm90
