#include "model/graph/plan.h"

#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "kernels/ops/mla_cache.h"
#include "kernels/ops/sample.h"
#include "model/graph/pass_buffers.h"
#include "model/graph/replay_ring.h"
#include "model/graph/state.h"
#include "model/io/absl_view.h"

namespace rill {
namespace {

constexpr int64_t kMaxContext = int64_t{1} << 26;   // 64 Mi tokens: keeps every size product far below 2^63
constexpr int64_t kMaxChunk = 4096;
constexpr int64_t kMaxWindow = 1024;
constexpr int64_t kMinSlots = 8, kMaxSlots = 256;   // four spare, three for the replay ring, one that ages

}  // namespace

absl::Status Validate(const SessionShape& s) {
  if (s.max_tokens < 1 || s.max_tokens > kMaxContext) {
    return absl::InvalidArgumentError(absl::StrCat("max_tokens ", s.max_tokens, " is outside 1..", kMaxContext));
  }
  if (s.prefill_chunk < 1 || s.prefill_chunk > kMaxChunk) {
    return absl::InvalidArgumentError(absl::StrCat("prefill_chunk ", s.prefill_chunk, " is outside 1..", kMaxChunk));
  }
  if (s.mla_dtype != DType::kF32 && s.mla_dtype != DType::kBf16) {
    return absl::InvalidArgumentError(absl::StrCat("mla_dtype ", AbslView(Name(s.mla_dtype)), " is neither f32 nor bf16"));
  }
  if (s.rewind_window < 0 || s.rewind_window > kMaxWindow) {
    return absl::InvalidArgumentError(absl::StrCat("rewind_window ", s.rewind_window, " is outside 0..", kMaxWindow));
  }
  if (s.ladder_slots < kMinSlots || s.ladder_slots > kMaxSlots) {
    return absl::InvalidArgumentError(
        absl::StrCat("ladder_slots ", s.ladder_slots, " is outside ", kMinSlots, "..", kMaxSlots));
  }
  return absl::OkStatus();
}

SessionPlan MakeSessionPlan(const ModelConfig& config, const SessionShape& shape) {
  const StateLayout layout = StateLayout::Make(config, shape.mla_dtype);
  Scratch scratch(nullptr);
  PassBuffers::Take(scratch, config, shape);
  SessionPlan plan;
  plan.state_bytes = layout.fixed_bytes;
  plan.shadow_bytes = layout.fixed_bytes;
  plan.cache_bytes = layout.page_bytes * static_cast<uint64_t>(CeilDiv(shape.max_tokens, kPageTokens));
  plan.cache_bytes_per_token = static_cast<uint64_t>(config.n_mla_layers() * config.mla_row() * SizeOf(shape.mla_dtype));
  plan.workspace_bytes = scratch.used() + LogitsBytes(config);
  plan.logits_bytes = SampleWorkspaceBytes(config.vocab_size);
  plan.ledger_bytes = 4ull * static_cast<uint64_t>(shape.max_tokens);
  plan.ring_bytes = ReplayRing::Bytes(config, shape.rewind_window);
  plan.ladder_bytes = static_cast<uint64_t>(shape.ladder_slots) * layout.rung_bytes;
  return plan;
}

}  // namespace rill
