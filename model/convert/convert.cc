#include "model/convert/convert.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/base/status.h"
#include "kernels/base/thread_pool.h"
#include "model/convert/checkpoint.h"
#include "model/convert/encode.h"
#include "model/convert/kimi_linear.h"
#include "model/format/container.h"
#include "model/weights/writer.h"

namespace rill {
namespace {

constexpr uint64_t kMaxConfigBytes = 16 << 20;
constexpr uint64_t kCompareBytes = 1 << 20;

struct BlobSource {
  const char *file, *blob;
  bool wanted;  // worth a note when it is missing
};
constexpr BlobSource kBlobs[] = {{"tiktoken.model", "tokenizer.tiktoken", true},
                                 {"tokenizer_config.json", "tokenizer.config", true},
                                 {"generation_config.json", "generation.config", false}};

// A conversion that has passed every check that does not need a weight.
struct Prepared {
  ConvertPlan plan;
  std::unique_ptr<const Checkpoint> checkpoint;
  std::vector<BoundTensor> tensors;
  std::vector<BlobSpec> blobs;
  const CheckpointTensor* tied_head = nullptr;
};

absl::Status ReadBlobs(FileSystem& fs, const std::string& folder, Prepared& prepared) {
  RILL_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(folder));
  std::vector<std::string> missing;
  for (const BlobSource& source : kBlobs) {
    if (std::find(names.begin(), names.end(), source.file) == names.end()) {
      if (source.wanted) missing.push_back(source.file);
      continue;
    }
    RILL_ASSIGN_OR_RETURN(std::string bytes,
                          ReadWholeFile(fs, JoinPath(folder, source.file), kMaxBlobBytes));
    prepared.plan.blobs.push_back({source.blob, bytes.size()});
    prepared.blobs.push_back({source.blob, std::move(bytes)});
  }
  if (!missing.empty()) {
    prepared.plan.notes.push_back(absl::StrCat("no ", absl::StrJoin(missing, " and no "), " in ",
                                               folder, ": the model will take token ids only"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> ReadConfig(FileSystem& fs, const std::string& folder) {
  RILL_ASSIGN_OR_RETURN(const std::string json,
                        ReadWholeFile(fs, JoinPath(folder, "config.json"), kMaxConfigBytes));
  auto config = ParseHuggingFaceConfig(json);
  if (!config.ok()) return At("config.json", config.status());
  return config;
}

absl::StatusOr<Prepared> Prepare(const ConvertOptions& options, FileSystem& fs) {
  Prepared p;
  RILL_ASSIGN_OR_RETURN(p.plan.recipe, MakeRecipe(options.recipe));
  RILL_ASSIGN_OR_RETURN(p.plan.config, ReadConfig(fs, options.input));
  RILL_ASSIGN_OR_RETURN(p.checkpoint, Checkpoint::Open(fs, options.input));
  p.plan.table = MakeTensorTable(p.plan.config, p.plan.recipe);
  RILL_ASSIGN_OR_RETURN(p.tensors,
                        BindCheckpoint(p.plan.config, p.plan.table, *p.checkpoint, &p.tied_head));
  RILL_RETURN_IF_ERROR(ReadBlobs(fs, options.input, p));
  RILL_ASSIGN_OR_RETURN(p.plan.file_bytes, PlannedFileBytes(p.plan.config, p.plan.recipe, p.blobs));
  for (const BoundTensor& tensor : p.tensors) {
    for (const auto& part : tensor.parts)
      p.plan.input_bytes += part.source->entry.end - part.source->entry.begin;
  }
  for (const std::string& name : p.checkpoint->left_out()) {
    p.plan.notes.push_back(absl::StrCat(name, " is left out: it is no part of the checkpoint"));
  }
  if (p.tied_head != nullptr) {
    p.plan.notes.push_back("lm_head.weight is left out: config.json ties it to the embedding");
  }
  return p;
}

// A mistyped --output must not cost the user a checkpoint: only a model file of ours, or nothing,
// is replaced.
absl::Status CheckOutput(FileSystem& fs, const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("no output file given");
  if (fs.IsDirectory(path)) return absl::AlreadyExistsError(absl::StrCat(path, " is a folder"));
  auto file = fs.OpenForReading(path);
  if (absl::IsNotFound(file.status())) return absl::OkStatus();
  RILL_RETURN_IF_ERROR(file.status());
  if ((*file)->size() == 0) return absl::OkStatus();
  unsigned char magic[sizeof kModelMagic] = {};
  RILL_RETURN_IF_ERROR(
      (*file)->ReadAt(0, magic, std::min<uint64_t>(sizeof magic, (*file)->size())));
  if (std::memcmp(magic, kModelMagic, sizeof magic) == 0) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat(path, " exists and is not a Rill model file: it is left alone"));
}

// A tied model's own lm_head may only repeat the embedding.
absl::Status CheckTiedHead(const Checkpoint& checkpoint, const CheckpointTensor& head) {
  const CheckpointTensor& embedding = *checkpoint.Find(kEmbeddingName);
  const std::string where = absl::StrCat("tensor ", kLmHeadName, " (", checkpoint.ShardName(head),
                                         "): config.json ties it to ", kEmbeddingName);
  if (head.entry.dtype != embedding.entry.dtype || head.entry.shape != embedding.entry.shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ", but it is ", head.entry.dtype, " ", ShapeString(head.entry.shape),
                     " and not ", embedding.entry.dtype, " ", ShapeString(embedding.entry.shape)));
  }
  const uint64_t bytes = head.entry.end - head.entry.begin;
  std::vector<char> a(std::min(bytes, kCompareBytes)), b(a.size());
  for (uint64_t offset = 0; offset < bytes; offset += a.size()) {
    const uint64_t n = std::min<uint64_t>(a.size(), bytes - offset);
    RILL_RETURN_IF_ERROR(checkpoint.Read(head, offset, a.data(), n));
    RILL_RETURN_IF_ERROR(checkpoint.Read(embedding, offset, b.data(), n));
    const auto at = std::mismatch(a.begin(), a.begin() + n, b.begin()).first - a.begin();
    if (static_cast<uint64_t>(at) == n) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(where, ", but element ",
                     (offset + at) / SafetensorsElementBytes(head.entry.dtype), " differs"));
  }
  return absl::OkStatus();
}

class Conversion {
 public:
  Conversion(const ConvertOptions& options, const Prepared& prepared, ModelWriter& writer)
      : options_(options),
        prepared_(prepared),
        writer_(writer),
        pool_(std::max(1, options.threads)),
        encoder_(*prepared.checkpoint, pool_),
        roles_(SummarizeRoles(prepared.plan.table)) {}

  absl::Status Run() {
    RILL_RETURN_IF_ERROR(Advance(0));
    for (size_t i = 0; i < prepared_.tensors.size(); ++i) RILL_RETURN_IF_ERROR(WriteTensor(i));
    return absl::OkStatus();
  }

  std::vector<RoleReport> roles() { return std::move(roles_); }

 private:
  absl::Status WriteTensor(size_t index) {
    const BoundTensor& tensor = prepared_.tensors[index];
    uint64_t offset = 0;
    QuantError error;
    for (const BoundTensor::Part& part : tensor.parts) {
      RILL_RETURN_IF_ERROR(encoder_.Encode(
          *part.source, tensor.spec.format, part.rows, part.cols,
          [&](const void* bytes, size_t n) -> absl::Status {
            if (n == 0) return absl::OkStatus();
            RILL_RETURN_IF_ERROR(writer_.Write(index, offset, bytes, n));
            offset += n;
            return absl::OkStatus();
          },
          [this](uint64_t bytes) { return Advance(bytes); }, &error));
    }
    Account(tensor.spec, error);
    return absl::OkStatus();
  }

  absl::Status Advance(uint64_t bytes) {
    done_ += bytes;
    const bool cancel = options_.progress && options_.progress(done_, prepared_.plan.input_bytes);
    return cancel ? absl::CancelledError("conversion cancelled") : absl::OkStatus();
  }

  void Account(const TensorSpec& spec, const QuantError& error) {
    const auto role = std::find_if(roles_.begin(), roles_.end(),
                                   [&](const RoleReport& r) { return r.role == spec.role; });
    role->error.squared_error += error.squared_error;
    role->error.squared_value += error.squared_value;
    if (error.squared_error > 0 && error.RelativeRms() > role->worst_rms) {
      role->worst_rms = error.RelativeRms();
      role->worst = spec.name;
    }
  }

  const ConvertOptions& options_;
  const Prepared& prepared_;
  ModelWriter& writer_;
  ThreadPool pool_;
  MatrixEncoder encoder_;
  std::vector<RoleReport> roles_;
  uint64_t done_ = 0;
};

}  // namespace

std::vector<RoleReport> SummarizeRoles(const std::vector<TensorSpec>& table) {
  std::vector<RoleReport> roles;
  for (int r = 0; r < kRoleCount; ++r) {
    RoleReport report{static_cast<Role>(r), WeightFormat::kF32};
    for (const TensorSpec& spec : table) {
      if (spec.role != report.role) continue;
      report.format = spec.format;
      ++report.tensors;
      report.bytes += spec.bytes;
    }
    if (report.tensors > 0) roles.push_back(std::move(report));
  }
  return roles;
}

absl::StatusOr<ConvertPlan> PlanConversion(const ConvertOptions& options, FileSystem& fs) {
  RILL_ASSIGN_OR_RETURN(Prepared prepared, Prepare(options, fs));
  return std::move(prepared.plan);
}

absl::StatusOr<ConvertReport> Convert(const ConvertOptions& options, FileSystem& fs) {
  const int64_t start = options.clock->NowNanos();
  RILL_RETURN_IF_ERROR(CheckOutput(fs, options.output));
  RILL_ASSIGN_OR_RETURN(Prepared prepared, Prepare(options, fs));
  if (prepared.tied_head != nullptr) {
    RILL_RETURN_IF_ERROR(CheckTiedHead(*prepared.checkpoint, *prepared.tied_head));
  }
  RILL_ASSIGN_OR_RETURN(std::unique_ptr<ModelWriter> writer,
                        ModelWriter::Create(fs, options.output, prepared.plan.config,
                                            prepared.plan.recipe, std::move(prepared.blobs)));
  Conversion conversion(options, prepared, *writer);
  RILL_RETURN_IF_ERROR(conversion.Run());
  RILL_RETURN_IF_ERROR(writer->Finish());
  ConvertReport report;
  report.plan = std::move(prepared.plan);
  report.roles = conversion.roles();
  report.seconds = 1e-9 * static_cast<double>(options.clock->NowNanos() - start);
  return report;
}

}  // namespace rill
