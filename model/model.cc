#include "model/model.h"

#include <algorithm>
#include <utility>

#include "kernels/base/status.h"
#include "kernels/device/op_table.h"
#include "model/weights/fingerprint.h"

namespace rill {
namespace {

absl::Status CheckOperators(const Device& device) {
  const OpTable& ops = device.ops();
#define RILL_CHECK_OP(op, Args)                                                                              \
  if (ops.op == nullptr) {                                                                                   \
    return absl::UnimplementedError(absl::StrCat("device ", device.info().name, " lacks the operator " #op)); \
  }
  RILL_FOR_EACH_OP(RILL_CHECK_OP)
#undef RILL_CHECK_OP
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> ReadTokenizer(const ModelFile& file) {
  absl::StatusOr<std::string> vocabulary = file.Blob("tokenizer.tiktoken");
  if (absl::IsNotFound(vocabulary.status())) return std::unique_ptr<const Tokenizer>();
  RILL_RETURN_IF_ERROR(vocabulary.status());
  absl::StatusOr<std::string> config = file.Blob("tokenizer.config");
  if (absl::IsNotFound(config.status())) config = std::string();
  RILL_RETURN_IF_ERROR(config.status());
  return Tokenizer::Create(*vocabulary, *config, file.config().vocab_size);
}

// Synthetic weights are a function of config, recipe and seed, so those are what makes two of them the same.
Fingerprint SyntheticFingerprint(const ModelConfig& config, const Recipe& recipe, uint64_t seed) {
  CanonicalHash weights;
  weights.Text("synthetic");
  weights.Text(recipe.name);
  weights.Integer(static_cast<int64_t>(seed));
  const Sha256Digest digest = weights.Finish(), architecture = ArchitectureFingerprint(config);
  Fingerprint fingerprint{};
  std::copy(architecture.begin(), architecture.end(), fingerprint.architecture);
  std::copy(digest.begin(), digest.end(), fingerprint.weights);
  return fingerprint;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> Model::Open(FileSystem& fs, const std::string& path,
                                                         const ModelOptions& options) {
  RILL_ASSIGN_OR_RETURN(const std::unique_ptr<const ModelFile> file, ModelFile::Open(fs, path));
  std::shared_ptr<Model> model(new Model);
  RILL_ASSIGN_OR_RETURN(model->device_, OpenDevice(options.device, options.n_threads, options.sm_budget));
  RILL_RETURN_IF_ERROR(CheckOperators(*model->device_));
  model->config_ = file->config();
  model->recipe_ = file->recipe();
  model->fingerprint_ = file->fingerprint();
  RILL_ASSIGN_OR_RETURN(model->tokenizer_, ReadTokenizer(*file));
  RILL_ASSIGN_OR_RETURN(model->weights_,
                        LoadWeights(*file, *model->device_, options.load_mode, options.verify, options.progress));
  RILL_RETURN_IF_ERROR(model->Bind());
  return model;
}

absl::StatusOr<std::shared_ptr<const Model>> Model::Synthesize(const ModelConfig& config, const Recipe& recipe,
                                                               uint64_t seed, const ModelOptions& options) {
  RILL_RETURN_IF_ERROR(rill::Validate(config));
  std::shared_ptr<Model> model(new Model);
  RILL_ASSIGN_OR_RETURN(model->device_, OpenDevice(options.device, options.n_threads, options.sm_budget));
  RILL_RETURN_IF_ERROR(CheckOperators(*model->device_));
  model->config_ = config;
  model->recipe_ = recipe;
  model->fingerprint_ = SyntheticFingerprint(config, recipe, seed);
  RILL_ASSIGN_OR_RETURN(model->weights_, SynthesizeWeights(*model->device_, config, recipe, seed));
  RILL_RETURN_IF_ERROR(model->Bind());
  return model;
}

}  // namespace rill
