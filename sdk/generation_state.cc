#include "sdk/generation_state.h"

#include <cstring>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/io/absl_view.h"

namespace rill {
namespace {

constexpr uint32_t kVersion = 1;
constexpr uint64_t kMaxItems = 1 << 16;         // of any list
constexpr uint64_t kMaxTextBytes = 1 << 20;     // of any string

class Writer {
 public:
  template <typename T>
  void Put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void Text(std::string_view text) {
    Put<uint64_t>(text.size());
    out_.append(text);
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  template <typename T>
  absl::Status Get(const char* field, T* value) {
    static_assert(std::is_arithmetic_v<T>);
    if (left_.size() < sizeof(T)) return Short(field, sizeof(T));
    std::memcpy(value, left_.data(), sizeof(T));
    left_.remove_prefix(sizeof(T));
    return absl::OkStatus();
  }
  absl::Status Count(const char* field, uint64_t most, uint64_t* count) {
    RILL_RETURN_IF_ERROR(Get(field, count));
    if (*count <= most) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("generation: ", field, " is ", *count, ", at most ", most));
  }
  absl::Status Text(const char* field, std::string* text) {
    uint64_t size = 0;
    RILL_RETURN_IF_ERROR(Count(field, kMaxTextBytes, &size));
    if (left_.size() < size) return Short(field, size);
    text->assign(left_.substr(0, size));
    left_.remove_prefix(size);
    return absl::OkStatus();
  }
  absl::Status End() const {
    if (left_.empty()) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("generation: ", left_.size(), " bytes after its end"));
  }

 private:
  absl::Status Short(const char* field, uint64_t wanted) const {
    return absl::DataLossError(absl::StrCat("generation: ", field, " takes ", wanted, " bytes, ", left_.size(), " are left"));
  }
  std::string_view left_;
};

void Put(const SamplingParams& p, Writer* w) {
  w->Put(p.temperature), w->Put(p.top_k), w->Put(p.top_p), w->Put(p.min_p);
  w->Put(p.repeat_penalty), w->Put(p.frequency_penalty), w->Put(p.presence_penalty);
  w->Put(p.penalty_window), w->Put(p.seed);
  w->Put<uint64_t>(p.bias.size());
  for (const TokenBias& bias : p.bias) w->Put(bias.id), w->Put(bias.value);
}

absl::Status Get(Reader* r, SamplingParams* p) {
  RILL_RETURN_IF_ERROR(r->Get("temperature", &p->temperature));
  RILL_RETURN_IF_ERROR(r->Get("top_k", &p->top_k));
  RILL_RETURN_IF_ERROR(r->Get("top_p", &p->top_p));
  RILL_RETURN_IF_ERROR(r->Get("min_p", &p->min_p));
  RILL_RETURN_IF_ERROR(r->Get("repeat_penalty", &p->repeat_penalty));
  RILL_RETURN_IF_ERROR(r->Get("frequency_penalty", &p->frequency_penalty));
  RILL_RETURN_IF_ERROR(r->Get("presence_penalty", &p->presence_penalty));
  RILL_RETURN_IF_ERROR(r->Get("penalty_window", &p->penalty_window));
  RILL_RETURN_IF_ERROR(r->Get("seed", &p->seed));
  uint64_t n = 0;
  RILL_RETURN_IF_ERROR(r->Count("bias", kMaxTokenBiases, &n));
  for (uint64_t i = 0; i < n; ++i) {
    TokenBias bias{};
    RILL_RETURN_IF_ERROR(r->Get("bias id", &bias.id));
    RILL_RETURN_IF_ERROR(r->Get("bias value", &bias.value));
    p->bias.push_back(bias);
  }
  return absl::OkStatus();
}

absl::Status GetStops(Reader* r, GenerationParams* p) {
  uint64_t n = 0;
  RILL_RETURN_IF_ERROR(r->Count("stop tokens", kMaxItems, &n));
  for (uint64_t i = 0; i < n; ++i) {
    int32_t id = 0;
    RILL_RETURN_IF_ERROR(r->Get("stop token", &id));
    p->stop_tokens.push_back(id);
  }
  RILL_RETURN_IF_ERROR(r->Count("stop strings", kMaxStopStrings, &n));
  for (uint64_t i = 0; i < n; ++i) {
    std::string text;
    RILL_RETURN_IF_ERROR(r->Text("stop string", &text));
    p->stop_strings.push_back(std::move(text));
  }
  return absl::OkStatus();
}

}  // namespace

std::string Encode(const GenerationState& state) {
  Writer w;
  w.Put(kVersion);
  Put(state.params.sampling, &w);
  w.Put<uint64_t>(state.params.stop_tokens.size());
  for (const int32_t id : state.params.stop_tokens) w.Put(id);
  w.Put<uint64_t>(state.params.stop_strings.size());
  for (const std::string& text : state.params.stop_strings) w.Text(text);
  w.Put<uint8_t>(state.params.use_model_stops);
  w.Put(state.params.max_tokens), w.Put(state.params.top_logprobs);
  w.Text(state.utf8_pending);
  w.Text(state.stop.pending);
  w.Put(state.stop.matched), w.Put(state.n_fed);
  w.Put<uint8_t>(state.ended), w.Put(static_cast<uint8_t>(state.finish));
  w.Put<uint8_t>(state.undelivered), w.Put(state.id), w.Put(state.logprob), w.Put(state.position);
  w.Text(state.text);
  return w.Take();
}

absl::StatusOr<GenerationState> DecodeGenerationState(std::string_view bytes) {
  Reader r(bytes);
  GenerationState state;
  uint32_t version = 0;
  uint8_t model_stops = 0, ended = 0, finish = 0, undelivered = 0;
  RILL_RETURN_IF_ERROR(r.Get("version", &version));
  if (version != kVersion) return absl::DataLossError(absl::StrCat("generation: version ", version, ", expected ", kVersion));
  RILL_RETURN_IF_ERROR(Get(&r, &state.params.sampling));
  RILL_RETURN_IF_ERROR(GetStops(&r, &state.params));
  RILL_RETURN_IF_ERROR(r.Get("model stops", &model_stops));
  RILL_RETURN_IF_ERROR(r.Get("max_tokens", &state.params.max_tokens));
  RILL_RETURN_IF_ERROR(r.Get("top_logprobs", &state.params.top_logprobs));
  RILL_RETURN_IF_ERROR(r.Text("unfinished character", &state.utf8_pending));
  RILL_RETURN_IF_ERROR(r.Text("text held back", &state.stop.pending));
  RILL_RETURN_IF_ERROR(r.Get("matched stop string", &state.stop.matched));
  RILL_RETURN_IF_ERROR(r.Get("tokens fed", &state.n_fed));
  RILL_RETURN_IF_ERROR(r.Get("ended", &ended));
  RILL_RETURN_IF_ERROR(r.Get("finish", &finish));
  RILL_RETURN_IF_ERROR(r.Get("undelivered", &undelivered));
  RILL_RETURN_IF_ERROR(r.Get("event id", &state.id));
  RILL_RETURN_IF_ERROR(r.Get("event logprob", &state.logprob));
  RILL_RETURN_IF_ERROR(r.Get("event position", &state.position));
  RILL_RETURN_IF_ERROR(r.Text("event text", &state.text));
  if (finish > static_cast<uint8_t>(FinishReason::kContextFull) || ended > 1 || model_stops > 1 || undelivered > 1) {
    return absl::DataLossError(absl::StrCat("generation: finish ", finish, ", ended ", ended, ", model stops ", model_stops));
  }
  state.params.use_model_stops = model_stops != 0;
  state.ended = ended != 0;
  state.undelivered = undelivered != 0;
  state.finish = static_cast<FinishReason>(finish);
  RILL_RETURN_IF_ERROR(r.End());
  return state;
}

}  // namespace rill
