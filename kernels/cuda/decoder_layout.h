// kernels/cuda/decoder_layout.h — what the fused decode step reads: the layers of a model and the session's state as plain
// structs in device memory, the scratch vectors between the phases, and how many bytes they take.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/staged_layout.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/fused_decoder.h"

namespace rill::cuda {

inline constexpr int kStepThreads = 512;     // workers of a block, one block a multiprocessor
inline constexpr int kStepSlice = 32;        // value columns of a KDA head that a block updates
inline constexpr int kStepWarps = kStepThreads / 32;
inline constexpr int kMaxInputs = 6;
inline constexpr int64_t kNever = INT64_MAX;  // a position that no step has
inline constexpr int kMostPlainRows = 3;     // of a block, that go with the norm
inline constexpr int kKeptValues = 8 * kStepThreads;  // of the hidden vector, eight a thread
inline constexpr int kMaxTopK = 15;          // two segments a chosen expert in one job
inline constexpr int kMaxExperts = 1024;
inline constexpr int kUsualK = 128, kUsualTaps = 4, kUsualRank = 128;  // of the KDA heads that have a phase compiled for them: channels, taps, rank of the gates
inline constexpr int kMostQuickExperts = kStepThreads / 2;  // that the quick choice takes, two threads each

struct StepKda {
  int H, K, W, rank, C;
  float scale, norm_eps;
  bool usual;               // heads in fours, of kUsualK channels and kUsualTaps taps, with bf16 gates of rank kUsualRank
  MatrixView f_b, g_b;
  const float* conv[3];     // [C, W] of q, k, v
  const float *a_log, *dt_bias, *o_norm;
  float* state;             // [H, K, K]
  float* tail;              // [3C, W - 1]
  float *ring_k, *ring_u, *ring_g, *conv_ring;  // null when there is no ring
  int64_t ring_tokens;
  unsigned use;             // KDA layers before this one
};

struct StepMla {
  MlaShape shape;
  float scale, norm_eps;
  const float* kv_norm;
  MatrixView kv_b;
  MlaCacheView cache;
  unsigned use;             // MLA layers before this one
};

// Bytes to ask for ahead, 16-byte aligned; each warp of the grid asks for `each` of them.
struct Ahead {
  const char* data;
  int bytes, each;
};
inline constexpr int kMaxAhead = 5, kMaxBehind = 6;

// Where the matrices of an expert's record lie: values and scales of gate, up, down.
struct RecordOffsets {
  int64_t values[3], scales[3];
};

struct StepMoe {
  RouterActivation activation;
  int top_k, n_groups, topk_groups;
  bool renormalize;
  float scaling;
  MatrixView router;
  const float* router_bias;
  ExpertsView experts;
  RecordOffsets offsets;
  bool with_norm;           // its rows are multiplied while the hidden vector is normed
  bool quick;               // the choice is the usual one (decoder_feed.cuh)
  unsigned use;             // MoE layers before this one
};

// The matrices that meet the layer's normed input: first the `plain` ones (low-rank gates and beta), then the big ones.
struct StepInputs {
  MatrixView weight[kMaxInputs];
  int offset[kMaxInputs];   // in the projection vector
  int end[kMaxInputs];      // rows up to and with this matrix; the big ones are counted anew
  int count, plain;
  int at[kMaxInputs];       // offsets by role: q, k, v, f_a, g_a, b, or q, kv_a
  bool with_norm;           // the plain ones are multiplied while the hidden vector is normed

  RILL_HOST_DEVICE int plain_rows() const { return plain == 0 ? 0 : end[plain - 1]; }
  RILL_HOST_DEVICE int big_rows() const { return end[count - 1]; }
};

// Rows (of experts: tasks) that a pass takes.
struct PassWindows {
  int inputs, output, glu, experts, down;
};

struct alignas(16) StepLayer {
  bool is_kda, is_moe;
  unsigned x_mark;          // of the residual stream behind the mixer; behind the feed-forward it is the other one
  PassWindows window;
  const float *input_norm, *post_norm;
  StepInputs inputs;
  MatrixView o;
  StepKda kda;
  StepMla mla;
  Ahead plain[kMaxInputs];  // what the workers read by themselves: plain inputs
  Ahead ahead[kMaxAhead];   // gates and state, or kv_b and kv_norm; router; empty behind the last
  Ahead behind[kMaxBehind];  // an attention that takes the slots' memory: what would have come by them
  GluWeights glu;           // shared experts of a MoE layer (width 0: none), or the dense block
  StepMoe moe;
};

// Vectors between phases, all float32. Marked ones: marked.cuh.
struct StepScratch {
  float* x;          // [D] residual stream, marked
  float* projected;  // inputs of the mixer, marked; those of MLA behind those of KDA
  float* heads;      // [C] output of the KDA heads, without their roots, marked
  float* squares;    // [H, K / kStepSlice] sums of squares of a KDA head's slices, marked
  float* mixed;      // output of attention in shares to be added up, [ExpandShares(R), H, V]
  float* logits;     // [E] of the router, marked
  float* activated;  // [top_k, width], then the shared expert's, or the dense block's
  float* activated_groups;  // [top_k] experts' activations as integer groups (stage.cuh)
  float* absorbed;   // [H, R]
  float* partials;   // [kMaxSlots, H, PartialFloats(R)]
  // Of attention by heads, marked: absorbed queries with their rope part [H, R + P], the token's row of the cache [R + P], partials
  // [kShortParts, H, PartialFloats(R)], answers [H, V].
  float *short_queries, *short_row, *short_partials, *short_values;
};

struct StepParams {
  const StepLayer* layers;
  int n_layers, hidden, vocab;
  float norm_eps;
  MatrixView embedding, lm_head;
  const float* final_norm;
  float* logits;
  StepScratch scratch;
  unsigned* barrier;         // arrivals so far, never reset (GridBarrier)
  unsigned barrier_base;     // how many when this step begins
  unsigned kda_uses, mla_uses, moe_uses;  // layers of a kind that the steps before this one went through
  unsigned short_uses;       // MLA layers of those steps whose context was short
  int stages;                // of the attention tile in shared memory; 0: there is no room, attention is plain
  // The host's: positions below which attention is by heads, or over tiles by half as many heads a block (0: never), and from which it is by warpgroup
  // products (kNever).
  int64_t short_until, half_until, wgmma_from;
  bool is_short;             // attention of this step is by heads
  int tile_heads;            // over tiles: that a block attends to at a time
  int expand_room;           // partials that shared memory has room for when the latent is expanded
  int staged_bytes;          // of the staged hidden vector
  int slots, slots_at;       // weights on their way: how many units, and where in shared memory they begin
  int max_units, sums_at;    // units a job may have, and where its sums lie
  int head_window;           // rows a pass takes
  uint64_t per_block;        // 2^40 / blocks of the grid, rounded up: n / blocks is n * per_block >> 40
  int32_t token;
  int64_t position;
  long long* trace;          // the bench's: where its barrier notes the time
};

// Sizes in floats.
struct ScratchSizes {
  uint64_t x, projected, heads, squares, mixed, logits, activated, activated_groups, absorbed, partials;
  uint64_t short_queries, short_row, short_partials, short_values;
};

// The format of the big matrices: all of them have the head's.
inline WeightFormat FormatOf(const DecoderSpec& spec) { return spec.lm_head.format; }
// Unimplemented names the first property of the spec that the fused step does not cover.
absl::Status CheckSpec(const DecoderSpec& spec);
ScratchSizes MeasureScratch(const DecoderSpec& spec);
uint64_t ScratchBytes(const ScratchSizes& sizes);
StepScratch PlaceScratch(const ScratchSizes& sizes, void* memory);
// For a grid of `blocks` whose shared memory is shared out as `params` tell.
std::vector<StepLayer> MakeStepLayers(const DecoderSpec& spec, int blocks, const StepParams& params);
// Rows that a pass may take of each of `matrices` matrices with `cols` inputs, when up to `ragged` tiles are not full.
int PassRows(int max_units, int matrices, int64_t cols, int ragged);

// Of one step: barriers across the grid, and layers. Each MLA layer whose attention is by heads has kShortBarriersLess fewer.
inline constexpr unsigned kShortBarriersLess = 2;
struct StepCounts {
  unsigned barriers, kda, mla, moe;

  unsigned Barriers(bool is_short) const { return barriers - (is_short ? kShortBarriersLess * mla : 0); }
};
StepCounts CountStep(const DecoderSpec& spec);
// Of the step at `position`, with which kind of attention.
void PlaceStep(int64_t position, StepParams* params);
// Moves what is counted for ever on by that step, of `blocks` blocks.
void AdvanceParams(const StepCounts& counts, unsigned blocks, StepParams* params);

// Everything of a step but its token: the layers and the scratch in one buffer, the kernel's parameters (the token is the caller's; PlaceStep() and
// AdvanceParams() do the rest) and the shared memory a block needs.
absl::StatusOr<Buffer> PrepareStep(CudaDevice& device, const DecoderSpec& spec, StepParams* params, size_t* shared_bytes);

// From this position on attention is by warpgroup products, where there are any: blocks then have more tiles than a stage of those, and with fewer the
// portable attention is shorter (4.4 us instead of 5.4 for one tile, H200).
int64_t FirstWgmmaPosition(const DecoderSpec& spec, int blocks);
// Below this position portable attention gives a block half as many heads and twice as many tiles: the cache is read twice, but there are half as many
// partials, which on a big GPU take longer to write and to read (1,049 to 1,032 us a step at 4,096 tokens, H200). With few blocks there are few partials.
int64_t HalfHeadsUntil(const DecoderSpec& spec, int blocks);

// The step kernel for big matrices of format F; one file a format (decoder_q4.cu, ...).
template <WeightFormat F>
const void* StepKernelAddress(bool wgmma);
template <>
const void* StepKernelAddress<WeightFormat::kF32>(bool wgmma);
template <>
const void* StepKernelAddress<WeightFormat::kBf16>(bool wgmma);
template <>
const void* StepKernelAddress<WeightFormat::kQ8>(bool wgmma);
template <>
const void* StepKernelAddress<WeightFormat::kQ4>(bool wgmma);

}  // namespace rill::cuda
