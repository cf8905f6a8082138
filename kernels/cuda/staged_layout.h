// kernels/cuda/staged_layout.h — the sizes of stage.cuh, tile_job.cuh, job_queue.cuh, mla.cuh and mla_tile.cuh that host code needs as well.
#pragma once

namespace rill::cuda {

inline constexpr int kStagedGroupBytes = 80;

inline constexpr int kTileRows = 16;
inline constexpr int kTaskTiles = 4;      // of 32 rows of an expert: gate, gate, up, up
inline constexpr int kBlockGroups = 4;
inline constexpr int kPartBlocks = 4;
inline constexpr int kMostTiles = 80;     // of a job: what a share of 48B's head has, and no more, so that attention has room for five stages
inline constexpr int kMostUnits = 1024;
inline constexpr int kFeederWarps = 4;    // of a block, that bring its weights (job_queue.cuh)

// Floats of a head's partial of the attention (mla.cuh), whole sectors of memory; the last two are its statistics.
constexpr int PartialFloats(int latent) { return (latent + 2 + 7) / 8 * 8; }
constexpr int StatisticsAt(int latent) { return PartialFloats(latent) - 2; }
inline constexpr int kTileHeads = 32;         // that attention over tiles takes at once (mla_tile.cuh), and
inline constexpr int kWgmmaRows = 64;         // rows of the cache that warpgroup products do (sm90/mla_tile.cuh)
inline constexpr int kMaxSlots = 160;         // partials of a head: blocks that share the context
inline constexpr int kAbsorbColumns = 128;    // latent columns that a block absorbs, and
inline constexpr int kExpandColumns = 256;    // expands at a time
inline constexpr int kShortContext = 512;      // tokens up to which attention is by heads (decoder_mla_short.cuh)
inline constexpr int kShortParts = 4;         // blocks that a head then has
constexpr int AbsorbParts(int latent) { return (latent + kAbsorbColumns - 1) / kAbsorbColumns; }
constexpr int ExpandShares(int latent) { return (latent + kExpandColumns - 1) / kExpandColumns; }

constexpr int BlocksOf(int cols) { return (cols + 32 * kBlockGroups - 1) / (32 * kBlockGroups); }
constexpr int PartsOf(int cols) { return (BlocksOf(cols) + kPartBlocks - 1) / kPartBlocks; }

}  // namespace rill::cuda
