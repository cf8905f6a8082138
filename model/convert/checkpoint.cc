#include "model/convert/checkpoint.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/convert/strict_json.h"

namespace rill {
namespace {

constexpr char kIndexName[] = "model.safetensors.index.json";

// Follows { "metadata": anything, "weight_map": { tensor: file } }. The metadata is passed over: exporters do not agree
// on what its total_size counts, and the shards say it themselves.
class IndexReader : public StrictJson {
 public:
  absl::flat_hash_map<std::string, std::string> weight_map;

  bool null() override { return Skipped("null"); }
  bool boolean(bool) override { return Skipped("a boolean"); }
  bool number_integer(int64_t) override { return Skipped("a number"); }
  bool number_unsigned(uint64_t) override { return Skipped("a number"); }
  bool number_float(double, const std::string&) override { return Skipped("a number"); }

  bool string(std::string& value) override {
    if (depth_ != 2 || section_ != Section::kWeights) return Skipped("a string");
    if (weight_map.size() == kMaxSafetensorsTensors) return Fail("weight_map has too many tensors");
    if (!weight_map.emplace(tensor_, value).second) {
      return Fail(absl::StrCat("tensor ", Printable(tensor_), " appears twice"));
    }
    return true;
  }

  bool start_object(size_t) override { return Enter(); }
  bool start_array(size_t) override {
    return depth_ == 0 || section_ == Section::kWeights ? Unexpected("an array") : Enter();
  }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }

  bool key(std::string& name) override {
    if (depth_ == 1) {
      if (name != "weight_map") section_ = Section::kOther;
      else if (std::exchange(seen_weights_, true)) return Fail("two weight_map entries");
      else section_ = Section::kWeights;
    } else if (section_ == Section::kWeights) {
      tensor_ = name;
    }
    return true;
  }

  bool seen_weights() const { return seen_weights_; }

 protected:
  std::string Where() const override {
    return section_ == Section::kWeights ? absl::StrCat("weight_map, after ", Printable(tensor_)) : "index";
  }

 private:
  enum class Section { kOther, kWeights };
  static constexpr int kMaxDepth = 16;

  bool Skipped(absl::string_view what) {
    return depth_ > 0 && section_ == Section::kOther ? true : Unexpected(what);
  }
  bool Enter() {
    if (depth_ >= 2 && section_ == Section::kWeights) return Unexpected("an object");
    if (++depth_ > kMaxDepth) return Fail(absl::StrCat("nested deeper than ", kMaxDepth));
    return true;
  }
  bool Leave() {
    if (--depth_ == 1) section_ = Section::kOther;
    return true;
  }

  int depth_ = 0;
  Section section_ = Section::kOther;
  bool seen_weights_ = false;
  std::string tensor_;
};

absl::StatusOr<std::vector<std::string>> ShardNames(const std::vector<std::string>& names,
                                                    const std::string& folder) {
  std::vector<std::string> shards;
  for (const std::string& name : names) {
    if (absl::EndsWith(name, ".safetensors") && !absl::StartsWith(name, ".")) shards.push_back(name);
  }
  if (shards.empty()) return absl::NotFoundError(absl::StrCat(folder, ": no *.safetensors file"));
  std::sort(shards.begin(), shards.end());
  return shards;
}

}  // namespace

absl::Status At(absl::string_view where, const absl::Status& status) {
  return status.ok() ? status : absl::Status(status.code(), absl::StrCat(where, ": ", status.message()));
}

absl::StatusOr<std::unique_ptr<const Checkpoint>> Checkpoint::Open(FileSystem& fs, const std::string& folder) {
  RILL_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(folder));
  RILL_ASSIGN_OR_RETURN(const std::vector<std::string> shards, ShardNames(names, folder));
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint);
  for (const std::string& shard : shards) RILL_RETURN_IF_ERROR(checkpoint->AddShard(fs, folder, shard));
  if (std::find(names.begin(), names.end(), kIndexName) != names.end()) {
    RILL_ASSIGN_OR_RETURN(const std::string json,
                          ReadWholeFile(fs, JoinPath(folder, kIndexName), kMaxSafetensorsHeader));
    RILL_RETURN_IF_ERROR(At(kIndexName, checkpoint->CheckIndex(json)));
  }
  return std::unique_ptr<const Checkpoint>(std::move(checkpoint));
}

absl::Status Checkpoint::AddShard(FileSystem& fs, const std::string& folder, const std::string& name) {
  RILL_ASSIGN_OR_RETURN(auto file, fs.OpenForReading(JoinPath(folder, name)));
  auto header = ReadSafetensorsHeader(*file);
  if (!header.ok()) return At(name, header.status());
  shards_.push_back({name, std::move(file)});
  for (SafetensorsEntry& entry : header->tensors) {
    const auto [it, is_new] = by_name_.try_emplace(entry.name, tensors_.size());
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Printable(entry.name), " is in both ",
                                                     ShardName(tensors_[it->second]), " and ", name));
    }
    tensors_.push_back({std::move(entry), shards_.size() - 1});
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::CheckIndex(const std::string& json) const {
  IndexReader index;
  RILL_RETURN_IF_ERROR(index.Read(json));
  if (!index.seen_weights()) return absl::InvalidArgumentError("no weight_map");
  for (const CheckpointTensor& t : tensors_) {
    const auto it = index.weight_map.find(t.entry.name);
    if (it == index.weight_map.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Printable(t.entry.name), " is in ", ShardName(t), " but not in the index"));
    }
    if (it->second != ShardName(t)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Printable(t.entry.name), " is in ", ShardName(t),
                                                     ", the index says ", Printable(it->second)));
    }
  }
  if (index.weight_map.size() == tensors_.size()) return absl::OkStatus();
  const std::pair<const std::string, std::string>* first = nullptr;
  for (const auto& entry : index.weight_map) {
    if (by_name_.contains(entry.first)) continue;
    if (first == nullptr || entry.first < first->first) first = &entry;
  }
  return absl::InvalidArgumentError(absl::StrCat("tensor ", Printable(first->first), " is in no shard, the index says ",
                                                 Printable(first->second)));
}

const CheckpointTensor* Checkpoint::Find(absl::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

absl::Status Checkpoint::Read(const CheckpointTensor& t, uint64_t offset, void* dst, size_t bytes) const {
  return shards_[t.shard].file->ReadAt(t.entry.begin + offset, dst, bytes);
}

}  // namespace rill
