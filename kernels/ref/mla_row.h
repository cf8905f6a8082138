// kernels/ref/mla_row.h — attention of one query row against the latent cache, shared by mla_decode
// and mla_prefill.
#pragma once

#include "kernels/ops/mla_decode.h"

namespace rill::ref {

struct MlaRow {
  const MlaShape& shape;
  float scale;
  const float* q;  // [H, N + P]
  const MatrixView& kv_b;
  const MlaCacheView& cache;
  int64_t length;
  float* out;        // [H, V]
  float* workspace;  // the first MlaWorkspaceBytes(shape, 1, length) bytes of the call's
};

void AttendRow(const MlaRow& row);

}  // namespace rill::ref
