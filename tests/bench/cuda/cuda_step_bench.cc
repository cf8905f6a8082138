// cuda_step_bench [--sms N] [--context TOKENS]... [--soak TOKENS] — the fused decode step of the 48B shape and its parts.
//
// Prints the measured read bandwidth, each part and each context as time, bytes and the fraction of that bandwidth.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/base/status.h"
#include "kernels/cuda/open_cuda.h"
#include "kernels/ops/matvec.h"
#include "kernels/ops/sample.h"
#include "tests/bench/cuda/parts.h"
#include "tests/bench/cuda/synthetic.h"

namespace rill::bench {
namespace {

struct Flags {
  int sms = 0;
  int64_t soak = 0;
  std::vector<int64_t> contexts;
};

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Bench {
 public:
  explicit Bench(const Flags& flags) : flags_(flags) {}

  absl::Status Run() {
    RILL_ASSIGN_OR_RETURN(device_, OpenCudaDevice(0, flags_.sms));
    std::printf("device      %s\n", device_->info().description.c_str());
    RILL_ASSIGN_OR_RETURN(bandwidth_, ReadBandwidth(cuda(), size_t{4} << 30));
    std::printf("read        %8.1f GB/s\n", bandwidth_ / 1e9);
    SyntheticOptions options;
    options.sessions = 3;
    options.context = flags_.soak + 512;
    for (const int64_t context : flags_.contexts) options.context = std::max(options.context, context + 512);
    RILL_ASSIGN_OR_RETURN(model_, Synthetic::Make(*device_, options));
    std::printf("memory      %8.2f GB allocated\n", device_->allocated_bytes() / 1e9);
    RILL_RETURN_IF_ERROR(Parts());
    RILL_RETURN_IF_ERROR(Decode());
    return Soak();
  }

 private:
  cuda::CudaDevice& cuda() { return cuda::Cast(*device_); }

  void Line(const char* name, double micros, double bytes) {
    std::printf("%-24s %10.2f us %12.3f MB %8.1f GB/s %5.1f %%\n", name, micros, bytes / 1e6, bytes / micros / 1e3,
                100 * bytes / micros * 1e6 / bandwidth_);
    std::fflush(stdout);
  }

  absl::Status Parts() {
    const std::vector<DecoderSpec> specs = {model_->spec(0), model_->spec(1), model_->spec(2)};
    const KdaWeights& w = specs[0].layers[0].kda;
    const MoeWeights& m = specs[0].layers[1].moe;
    const auto bytes = [](const MatrixView& x) { return static_cast<double>(MatrixBytes(x.format, x.rows, x.cols)); };
    const double state = 2.0 * 4 * w.heads * w.head_dim * w.head_dim;
    const double gate_up = 2 * bytes(m.shared.gate), down = bytes(m.shared.down);
    const struct {
      const char* name;
      Part part;
      double bytes;
    } kParts[] = {{"barrier", Part::kBarrier, 0},
                  {"kda inputs", Part::kInputs, 3 * bytes(w.q) + 2 * bytes(w.f_a) + bytes(w.b)},
                  {"kda step", Part::kKda, state + 2 * bytes(w.f_b)},
                  {"kda output", Part::kOutput, bytes(w.o)},
                  {"moe step", Part::kMoe, 9 * (gate_up + down) + bytes(m.router)},
                  {"moe, experts known", Part::kKnown, 9 * (gate_up + down) + bytes(m.router)}};
    for (const auto& part : kParts) {
      RILL_ASSIGN_OR_RETURN(const double micros, StepPartMicros(cuda(), specs, part.part));
      Line(part.name, micros, part.bytes);
    }
    RILL_RETURN_IF_ERROR(Matvec(specs[0]));
    return Timeline(specs[0]);
  }

  // Means over the layers of a kind, in the order of their barriers.
  absl::Status Timeline(const DecoderSpec& spec) {
    for (const int64_t context : flags_.contexts) {
      RILL_ASSIGN_OR_RETURN(const rill::bench::Timeline timeline, StepTimeline(cuda(), spec, context));
      const std::vector<PhaseTime>& times = timeline.phases;
      std::printf("phases at %lld tokens: work + asking + waiting, us of a clock at %.0f MHz (it ran at %.0f)\n", static_cast<long long>(context),
                  timeline.nominal_mhz, timeline.measured_mhz);
      for (const bool kda : {true, false}) {
        const std::vector<const char*> names = kda ? std::vector<const char*>{"inputs, kda", "output", "gate, up", "down"}
                                 : timeline.is_short ? std::vector<const char*>{"inputs, mla", "output", "gate, up", "down"}
                                                     : std::vector<const char*>{"inputs, absorb", "attend", "expand", "output", "gate, up", "down"};
        std::vector<PhaseTime> sums(names.size());
        int layers = 0;
        size_t at = 0;
        for (const LayerWeights& w : spec.layers) {
          const size_t n = (w.is_kda || timeline.is_short ? 2 : 4) + 2;
          if (w.is_kda == kda && w.is_moe) {
            ++layers;
            for (size_t i = 0; i < n; ++i) {
              sums[i].work += times[at + i].work, sums[i].meanwhile += times[at + i].meanwhile, sums[i].wait += times[at + i].wait;
            }
          }
          at += n;
        }
        double total = 0;
        for (size_t i = 0; i < names.size(); ++i) {
          std::printf("  %s %-14s %6.2f + %5.2f + %5.2f\n", kda ? "kda" : "mla", names[i], sums[i].work / layers, sums[i].meanwhile / layers, sums[i].wait / layers);
          total += (sums[i].work + sums[i].meanwhile + sums[i].wait) / layers;
        }
        std::printf("  %s layer %6.2f us\n", kda ? "kda" : "mla", total);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Matvec(const DecoderSpec& spec) {
    RILL_ASSIGN_OR_RETURN(Buffer x, Buffer::Allocate(*device_, spec.hidden * sizeof(float)));
    RILL_RETURN_IF_ERROR(device_->CopyOn(x.data(), spec.final_norm.data, x.bytes()));
    const Projection p = {spec.lm_head, spec.logits};
    const MatvecArgs args = {F32View(x.as<float>(), 1, spec.hidden), absl::MakeConstSpan(&p, 1), false};
    constexpr int kCalls = 20;
    for (int i = 0; i < 3; ++i) RILL_RETURN_IF_ERROR(device_->ops().matvec(*device_, args));
    RILL_RETURN_IF_ERROR(device_->Synchronize());
    const double begin = Now();
    for (int i = 0; i < kCalls; ++i) RILL_RETURN_IF_ERROR(device_->ops().matvec(*device_, args));
    RILL_RETURN_IF_ERROR(device_->Synchronize());
    Line("matvec 163840 x 2304", (Now() - begin) / kCalls * 1e6, MatrixBytes(p.weight.format, p.weight.rows, p.weight.cols));
    return absl::OkStatus();
  }

  // `n` tokens from `position` on, each drawn greedily from the logits of the one before.
  absl::StatusOr<double> Tokens(FusedDecoder& decoder, int64_t position, int64_t n, bool sample) {
    const DecoderSpec spec = model_->spec();
    std::vector<char> workspace(SampleWorkspaceBytes(spec.vocab) + 64);
    SampleArgs args;
    args.logits = F32View(spec.logits.f32(), spec.vocab);
    char* aligned = workspace.data() + (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64) % 64;
    args.workspace = MakeView(aligned, DType::kU8, SampleWorkspaceBytes(spec.vocab));
    int32_t token = 1;
    float logprob = 0;
    args.token = &token, args.logprob = &logprob;
    RILL_RETURN_IF_ERROR(device_->Synchronize());
    const double begin = Now();
    for (int64_t i = 0; i < n; ++i) {
      RILL_RETURN_IF_ERROR(decoder.Step(token, position + i));
      if (sample) RILL_RETURN_IF_ERROR(device_->ops().sample(*device_, args));
    }
    RILL_RETURN_IF_ERROR(device_->Synchronize());
    return (Now() - begin) / static_cast<double>(n);
  }

  absl::Status Decode() {
    RILL_ASSIGN_OR_RETURN(auto decoder, device_->ops().make_fused_decoder(*device_, model_->spec()));
    const double per_context_token = 7 * 576 * 2.0, state = 20 * 2 * 4.0 * 32 * 128 * 128;
    double first = 0;
    for (const int64_t context : flags_.contexts) {
      RILL_RETURN_IF_ERROR(Tokens(*decoder, context, 16, true).status());
      RILL_ASSIGN_OR_RETURN(const double step, Tokens(*decoder, context, 64, false));
      RILL_ASSIGN_OR_RETURN(const double token, Tokens(*decoder, context, 64, true));
      Line(absl::StrCat("step at ", context).c_str(), step * 1e6, model_->weight_bytes_per_token() + state + per_context_token * context);
      std::printf("decode at %-10lld %12.1f tok/s (one launch a step, sampling on the device, one wait a token)\n",
                  static_cast<long long>(context), 1 / token);
      if (context == flags_.contexts.front()) first = step;
      else {
        const double each = (step - first) / (context - flags_.contexts.front());
        std::printf("  per context token %.4f ns, %.3f x its bytes over the read bandwidth\n", each * 1e9, each / (per_context_token / bandwidth_));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Soak() {
    if (flags_.soak == 0) return absl::OkStatus();
    RILL_ASSIGN_OR_RETURN(auto decoder, device_->ops().make_fused_decoder(*device_, model_->spec()));
    RILL_RETURN_IF_ERROR(Tokens(*decoder, 0, 16, true).status());
    const uint64_t before = device_->allocated_bytes(), peak = device_->peak_allocated_bytes();
    RILL_ASSIGN_OR_RETURN(const double token, Tokens(*decoder, 0, flags_.soak, true));
    std::printf("soak        %lld tokens, %.1f tok/s, device bytes %+lld, peak %+lld\n", static_cast<long long>(flags_.soak), 1 / token,
                static_cast<long long>(device_->allocated_bytes() - before), static_cast<long long>(device_->peak_allocated_bytes() - peak));
    return absl::OkStatus();
  }

  Flags flags_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Synthetic> model_;
  double bandwidth_ = 0;
};

}  // namespace
}  // namespace rill::bench

int main(int argc, char** argv) {
  rill::bench::Flags flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    const long long value = std::atoll(argv[i + 1]);
    if (std::strcmp(argv[i], "--sms") == 0) flags.sms = static_cast<int>(value);
    else if (std::strcmp(argv[i], "--soak") == 0) flags.soak = value;
    else if (std::strcmp(argv[i], "--context") == 0) flags.contexts.push_back(value);
    else return std::fprintf(stderr, "unknown flag %s\n", argv[i]), 2;
  }
  if (flags.contexts.empty()) flags.contexts = {0, 4096};
  const absl::Status status = rill::bench::Bench(flags).Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
