// kernels/cuda/staged_layout.h — the sizes of stage.cuh and tile_job.cuh that host code needs as well.
#pragma once

namespace rill::cuda {

inline constexpr int kStagedGroupBytes = 80;

inline constexpr int kTileRows = 16;
inline constexpr int kTaskTiles = 4;      // of 32 rows of an expert: gate, gate, up, up
inline constexpr int kBlockGroups = 4;
inline constexpr int kPartBlocks = 4;
inline constexpr int kMostTiles = 96;     // of a job
inline constexpr int kMostUnits = 1024;

constexpr int BlocksOf(int cols) { return (cols + 32 * kBlockGroups - 1) / (32 * kBlockGroups); }
constexpr int PartsOf(int cols) { return (BlocksOf(cols) + kPartBlocks - 1) / kPartBlocks; }

}  // namespace rill::cuda
