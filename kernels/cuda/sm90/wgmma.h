// kernels/cuda/sm90/wgmma.h — whether the products of whole warpgroups can be had.
#pragma once

namespace rill::cuda {

// True when the code that the calling thread's GPU has loaded was compiled for sm_90a, the only target with warpgroup products (wgmma). What
// was compiled for sm_90 or any other chip, or comes from PTX, has the portable kernels alone.
bool HasWgmma();

}  // namespace rill::cuda
