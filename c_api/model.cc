#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "c_api/objects.h"
#include "c_api/structs.h"
#include "model/io/file.h"
#include "model/weights/reader.h"

namespace rill::capi {
namespace {

rill_status CheckModelParams(const rill_model_params& params) {
  if (params.sm_budget < 0) {
    return Fail(RILL_E_ARG, absl::StrCat("sm_budget ", params.sm_budget, " is below 0"));
  }
  if (params.load_mode != RILL_LOAD_COPY && params.load_mode != RILL_LOAD_MAP) {
    return Fail(RILL_E_ARG, absl::StrCat("load_mode ", params.load_mode, " is neither 0 nor 1"));
  }
  if (params.threads < 0 || params.threads > 4096) {
    return Fail(RILL_E_ARG, absl::StrCat("threads ", params.threads, " is outside 0..4096"));
  }
  return RILL_OK;
}

rill_status ReadOptions(const rill_model_params& params, ModelOptions* options) {
  RILL_C_TRY(CheckModelParams(params));
  std::string_view device;
  RILL_C_TRY(CheckText("device", params.device, params.device_len, &device));
  if (!device.empty()) options->device = device;
  options->n_threads = params.threads;
  options->sm_budget = params.sm_budget;
  options->load_mode = params.load_mode == RILL_LOAD_MAP ? LoadMode::kMap : LoadMode::kCopy;
  options->verify = params.skip_verify == 0;
  if (params.progress != nullptr) {
    options->progress = [fn = params.progress, ud = params.progress_ud](
                            uint64_t done, uint64_t total) { return fn(ud, done, total) != 0; };
  }
  return RILL_OK;
}

rill_status OpenModel(const char* path, size_t path_len, const rill_model_params* in,
                      rill_model** out) {
  RILL_C_TRY(NeedOut("out", out));
  *out = nullptr;
  std::string_view name;
  RILL_C_TRY(CheckText("path", path, path_len, &name));
  rill_model_params params;
  RILL_C_TRY(ReadParams("params", in, sizeof params, &params));
  ModelOptions options;
  RILL_C_TRY(ReadOptions(params, &options));
  const std::string file(name);
  // Once for its own errors: what Model::Open says after that is about the device and the tensors.
  RILL_C_TRY(Answer(ModelFile::Open(*FileSystem::Posix(), file).status(), Origin::kFile));
  auto model = Model::Open(*FileSystem::Posix(), file, options);
  if (!model.ok()) return Answer(model.status(), Origin::kDevice);
  auto object = std::make_shared<ModelObject>();
  object->model = *std::move(model);
  return Publish(Kind::kModel, std::move(object), out);
}

rill_status Retain(const rill_model* handle) {
  std::shared_ptr<ModelObject> object;
  RILL_C_TRY(FindModel(handle, &object));
  int64_t references = object->references.load();
  do {
    if (references == 0) return Fail(RILL_E_CLOSED, "the model was closed");
  } while (!object->references.compare_exchange_weak(references, references + 1));
  return RILL_OK;
}

rill_status Release(const rill_model* handle) {
  if (handle == nullptr) return RILL_OK;
  std::shared_ptr<ModelObject> object;
  RILL_C_TRY(FindModel(handle, &object));
  int64_t references = object->references.load();
  do {
    if (references == 0) return Fail(RILL_E_CLOSED, "the model was closed");
  } while (!object->references.compare_exchange_weak(references, references - 1));
  if (references > 1) return RILL_OK;
  std::shared_ptr<void> last;
  return HandleTable::Instance().Remove(Kind::kModel, handle, &last);
}

// Cut off between characters is not needed: all of these are ASCII.
template <size_t N>
void CopyName(std::string_view from, char (&to)[N]) {
  std::copy_n(from.data(), std::min(from.size(), N - 1), to);
}

void DescribeShape(const Model& model, rill_model_info* info) {
  const ModelConfig& config = model.config();
  info->vocab_size = static_cast<int32_t>(config.vocab_size);
  info->hidden_size = static_cast<int32_t>(config.hidden_size);
  info->n_layers = static_cast<int32_t>(config.n_layers());
  info->n_kda_layers = static_cast<int32_t>(config.n_kda_layers());
  info->n_mla_layers = static_cast<int32_t>(config.n_mla_layers());
  info->n_experts = static_cast<int32_t>(config.n_experts);
  info->experts_per_token = static_cast<int32_t>(config.experts_per_token);
  info->max_context = static_cast<uint64_t>(config.max_context);
  info->weight_bytes = model.weight_bytes();
  info->device_weight_bytes = model.device_weight_bytes();
  CopyName(model.recipe().name, info->recipe);
}

void DescribeTokenizer(const Model& model, rill_model_info* info) {
  if (model.tokenizer() == nullptr) return;
  info->has_tokenizer = 1;
  for (const int32_t id : model.tokenizer()->DefaultStopIds()) {
    if (info->n_stop_ids < 4) info->stop_ids[info->n_stop_ids++] = id;
  }
}

rill_status GetInfo(const rill_model* handle, rill_model_info* out) {
  OutStruct<rill_model_info> result("out", out, sizeof *out);
  RILL_C_TRY(result.status());
  std::shared_ptr<ModelObject> object;
  RILL_C_TRY(FindModel(handle, &object));
  const DeviceInfo& device = object->model->device().info();
  rill_model_info info{};
  DescribeShape(*object->model, &info);
  DescribeTokenizer(*object->model, &info);
  info.threads = device.n_threads;
  CopyName(device.name, info.device);
  CopyName(device.description, info.device_description);
  CopyName(device.numerics, info.numerics);
  return result.Write(info);
}

rill_status GetFingerprint(const rill_model* handle, rill_fingerprint* out) {
  OutStruct<rill_fingerprint> result("out", out, sizeof *out);
  RILL_C_TRY(result.status());
  std::shared_ptr<ModelObject> object;
  RILL_C_TRY(FindModel(handle, &object));
  const Fingerprint& from = object->model->fingerprint();
  rill_fingerprint to{};
  std::copy(std::begin(from.architecture), std::end(from.architecture), to.architecture);
  std::copy(std::begin(from.tokenizer), std::end(from.tokenizer), to.tokenizer);
  std::copy(std::begin(from.weights), std::end(from.weights), to.weights);
  return result.Write(to);
}

}  // namespace
}  // namespace rill::capi

using rill::capi::Guard;

rill_status rill_model_open(const char* path, size_t path_len, const rill_model_params* params,
                            rill_model** out) {
  return Guard(__func__, [&] { return rill::capi::OpenModel(path, path_len, params, out); });
}

rill_status rill_model_retain(rill_model* model) {
  return Guard(__func__, [&] { return rill::capi::Retain(model); });
}

rill_status rill_model_release(rill_model* model) {
  return Guard(__func__, [&] { return rill::capi::Release(model); });
}

rill_status rill_model_get_info(const rill_model* model, rill_model_info* out) {
  return Guard(__func__, [&] { return rill::capi::GetInfo(model, out); });
}

rill_status rill_model_fingerprint(const rill_model* model, rill_fingerprint* out) {
  return Guard(__func__, [&] { return rill::capi::GetFingerprint(model, out); });
}
