#include "model/graph/plan.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "c_api/session_shape.h"
#include "c_api/structs.h"
#include "model/io/file.h"
#include "model/weights/reader.h"
#include "model/weights/weights.h"

namespace rill::capi {
namespace {

constexpr uint32_t kMaxPlannedSessions = 65536;

struct PlanRequest {
  SessionShape shape;
  bool on_gpu = false;
  bool mapped = false;
  uint64_t sessions = 1;
};

rill_status ReadRequest(const rill_plan_params& params, PlanRequest* request) {
  std::string_view device;
  RILL_C_TRY(CheckText("device", params.device, params.device_len, &device));
  request->on_gpu = device == "cuda" || device.substr(0, 5) == "cuda:";
  if (!request->on_gpu && !device.empty() && device != "cpu" && device != "ref") {
    return Fail(RILL_E_ARG,
                absl::StrCat("device ", std::string(device), " is none of cpu, ref, cuda, cuda:N"));
  }
  if (params.load_mode != RILL_LOAD_COPY && params.load_mode != RILL_LOAD_MAP) {
    return Fail(RILL_E_ARG, absl::StrCat("load_mode ", params.load_mode, " is neither 0 nor 1"));
  }
  request->mapped = params.load_mode == RILL_LOAD_MAP;
  if (request->mapped && request->on_gpu) {
    return Fail(RILL_E_ARG, "RILL_LOAD_MAP is for host devices");
  }
  if (params.sessions > kMaxPlannedSessions) {
    return Fail(RILL_E_ARG,
                absl::StrCat("sessions ", params.sessions, " is over ", kMaxPlannedSessions));
  }
  if (params.sessions > 0) request->sessions = params.sessions;
  return ReadShape(params, &request->shape);
}

void PlanSession(const SessionPlan& session, rill_plan* plan) {
  plan->state = session.state_bytes;
  plan->shadow = session.shadow_bytes;
  plan->cache_per_token = session.cache_bytes_per_token;
  plan->cache = session.cache_bytes;
  plan->workspace = session.workspace_bytes + session.decoder_bytes;
  plan->logits = session.logits_bytes;
  plan->ledger = session.ledger_bytes;
  plan->ring = session.ring_bytes;
  plan->ladder = session.ladder_bytes;
  plan->session_total = session.total();
}

rill_status ComputePlan(const char* path, size_t path_len, const rill_plan_params* in,
                        rill_plan* out) {
  OutStruct<rill_plan> result("out", out, sizeof *out);
  RILL_C_TRY(result.status());
  std::string_view name;
  RILL_C_TRY(CheckText("model_path", path, path_len, &name));
  rill_plan_params params;
  RILL_C_TRY(ReadParams("params", in, sizeof params, &params));
  PlanRequest request;
  RILL_C_TRY(ReadRequest(params, &request));
  auto file = ModelFile::Open(*FileSystem::Posix(), std::string(name));
  if (!file.ok()) return Answer(file.status(), Origin::kFile);

  rill_plan plan{};
  plan.file_bytes = (*file)->file_bytes();
  const uint64_t weights = PlannedWeightBytes((*file)->table());
  (request.mapped ? plan.weights_mapped : plan.weights) = weights;
  PlanSession(MakeSessionPlan((*file)->config(), request.shape), &plan);
  const uint64_t total = plan.weights + request.sessions * plan.session_total;
  (request.on_gpu ? plan.total_device : plan.total_host) = total;
  plan.fits = (params.host_budget == 0 || plan.total_host <= params.host_budget) &&
              (params.device_budget == 0 || plan.total_device <= params.device_budget);
  return result.Write(plan);
}

}  // namespace
}  // namespace rill::capi

rill_status rill_plan_compute(const char* model_path, size_t path_len,
                              const rill_plan_params* params, rill_plan* out) {
  return rill::capi::Guard(
      __func__, [&] { return rill::capi::ComputePlan(model_path, path_len, params, out); });
}
