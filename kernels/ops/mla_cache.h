// ops/mla_cache.h — the latent cache of Multi-head Latent Attention: rows in fixed pages.
//
// A row is one token of one layer: `latent` normalised latent values, then `rope` shared key values (not normalised,
// not rotated). A page holds 128 tokens of EVERY MLA layer: [layer][128][latent + rope]; a layer finds its part at
// `layer_offset`. Pages do not move, so a session, its forks and a mapped file can share them.
// 128 x 576 x bf16 is exactly 9 x 16 KiB, the largest memory page of the platforms we run on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/base/dtype.h"

namespace rill {

inline constexpr int64_t kPageTokens = 128;

// Borrows the page table and the pages. On host devices `pages` is host memory, else device memory.
struct MlaCacheView {
  DType dtype = DType::kF32;         // f32 or bf16
  int64_t latent = 0;                // R, e.g. 512
  int64_t rope = 0;                  // P, e.g. 64
  void* const* pages = nullptr;      // [ceil(tokens / 128)]
  size_t layer_offset = 0;           // bytes from a page's start to this layer's rows

  int64_t row_bytes() const { return (latent + rope) * SizeOf(dtype); }
  void* row(int64_t token) const {
    return static_cast<char*>(pages[token / kPageTokens]) + layer_offset + (token % kPageTokens) * row_bytes();
  }
};

}  // namespace rill
