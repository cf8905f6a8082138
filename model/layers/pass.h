// model/layers/pass.h — what every layer of one pass shares: the device, where the tokens stand, how to project them.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "absl/status/status.h"
#include "kernels/device/device.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/matvec.h"

namespace rill {

struct Pass {
  Device& device;
  int64_t position;   // of the first token
  int64_t n_tokens;   // T

  const OpTable& ops() const { return device.ops(); }

  // out_i (+)= x W_i^T for all projections at once.
  absl::Status Project(const TensorView& x, std::initializer_list<Projection> projections, bool accumulate = false) const {
    const absl::Span<const Projection> span(projections.begin(), projections.size());
    if (n_tokens == 1) return ops().matvec(device, MatvecArgs{x, span, accumulate});
    return ops().matmul(device, MatmulArgs{x, span, accumulate});
  }
};

}  // namespace rill
