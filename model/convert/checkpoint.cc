#include "model/convert/checkpoint.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/status.h"
#include "model/convert/strict_json.h"

namespace rill {
namespace {

constexpr char kIndexName[] = "model.safetensors.index.json";
constexpr char kOnlyShard[] = "model.safetensors";

// Follows { "metadata": anything, "weight_map": { tensor: file } }. The metadata is passed over:
// exporters do not agree on what its total_size counts, and the shards say it themselves.
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
      if (name != "weight_map")
        section_ = Section::kOther;
      else if (std::exchange(seen_weights_, true))
        return Fail("two weight_map entries");
      else
        section_ = Section::kWeights;
    } else if (section_ == Section::kWeights) {
      tensor_ = name;
    }
    return true;
  }

 protected:
  std::string Where() const override {
    return section_ == Section::kWeights ? absl::StrCat("weight_map, after ", Printable(tensor_))
                                         : "index";
  }

 private:
  enum class Section { kOther, kWeights };
  static constexpr int kMaxDepth = 16;

  bool Skipped(absl::string_view what) {
    return section_ == Section::kOther ? true : Unexpected(what);
  }
  bool Enter() {
    if (depth_ >= 2 && section_ == Section::kWeights) return Unexpected("an object");
    if (++depth_ > kMaxDepth) return Fail(absl::StrCat("nested deeper than ", kMaxDepth));
    return true;
  }
  bool Leave() {
    --depth_;
    return true;
  }

  int depth_ = 0;
  Section section_ = Section::kOther;
  bool seen_weights_ = false;
  std::string tensor_;
};

absl::StatusOr<absl::flat_hash_map<std::string, std::string>> ReadIndex(const std::string& json) {
  IndexReader reader;
  RILL_RETURN_IF_ERROR(reader.Read(json));
  if (reader.weight_map.empty())
    return absl::InvalidArgumentError("no weight_map, or an empty one");
  return std::move(reader.weight_map);
}

std::set<std::string> SafetensorsNames(const std::vector<std::string>& names) {
  std::set<std::string> shards;
  for (const std::string& name : names) {
    if (absl::EndsWith(name, ".safetensors") && !absl::StartsWith(name, ".")) shards.insert(name);
  }
  return shards;
}

}  // namespace

absl::Status At(absl::string_view where, const absl::Status& status) {
  return status.ok() ? status
                     : absl::Status(status.code(), absl::StrCat(where, ": ", status.message()));
}

absl::StatusOr<std::unique_ptr<const Checkpoint>> Checkpoint::Open(FileSystem& fs,
                                                                   const std::string& folder) {
  RILL_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(folder));
  const std::set<std::string> there = SafetensorsNames(names);
  if (there.empty()) return absl::NotFoundError(absl::StrCat(folder, ": no *.safetensors file"));
  const bool has_index = std::find(names.begin(), names.end(), kIndexName) != names.end();
  WeightMap index;
  std::set<std::string> shards = there;
  if (has_index) {
    RILL_ASSIGN_OR_RETURN(const std::string json,
                          ReadWholeFile(fs, JoinPath(folder, kIndexName), kMaxSafetensorsHeader));
    auto read = ReadIndex(json);
    if (!read.ok()) return At(kIndexName, read.status());
    index = *std::move(read);
    shards.clear();
    for (const auto& [tensor, shard] : index) shards.insert(shard);
  } else if (there.contains(kOnlyShard)) {
    shards = {kOnlyShard};
  }
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint);
  std::set_difference(there.begin(), there.end(), shards.begin(), shards.end(),
                      std::back_inserter(checkpoint->left_out_));
  for (const std::string& shard : shards) {
    // Only names that the folder lists: an index cannot lead out of it.
    if (!there.contains(shard)) {
      return absl::NotFoundError(
          absl::StrCat(kIndexName, " names ", Printable(shard), ", which is not in ", folder));
    }
    RILL_RETURN_IF_ERROR(checkpoint->AddShard(fs, folder, shard));
  }
  if (has_index) RILL_RETURN_IF_ERROR(At(kIndexName, checkpoint->CheckIndex(index)));
  return std::unique_ptr<const Checkpoint>(std::move(checkpoint));
}

absl::Status Checkpoint::AddShard(FileSystem& fs, const std::string& folder,
                                  const std::string& name) {
  RILL_ASSIGN_OR_RETURN(auto file, fs.OpenForReading(JoinPath(folder, name)));
  auto header = ReadSafetensorsHeader(*file);
  if (!header.ok()) return At(name, header.status());
  shards_.push_back({name, std::move(file)});
  for (SafetensorsEntry& entry : header->tensors) {
    const auto [it, is_new] = by_name_.try_emplace(entry.name, tensors_.size());
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Printable(entry.name), " is in both ",
                       ShardName(tensors_[it->second]), " and ", name));
    }
    tensors_.push_back({std::move(entry), shards_.size() - 1});
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::CheckIndex(const WeightMap& weight_map) const {
  for (const CheckpointTensor& t : tensors_) {
    const auto it = weight_map.find(t.entry.name);
    if (it == weight_map.end()) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Printable(t.entry.name), " is in ",
                                                     ShardName(t), " but not in the index"));
    }
    if (it->second != ShardName(t)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Printable(t.entry.name), " is in ",
                                                     ShardName(t), ", the index says ",
                                                     Printable(it->second)));
    }
  }
  if (weight_map.size() == tensors_.size()) return absl::OkStatus();
  const std::pair<const std::string, std::string>* first = nullptr;
  for (const auto& entry : weight_map) {
    if (by_name_.contains(entry.first)) continue;
    if (first == nullptr || entry.first < first->first) first = &entry;
  }
  return absl::InvalidArgumentError(absl::StrCat("tensor ", Printable(first->first),
                                                 " is in no shard, the index says ",
                                                 Printable(first->second)));
}

const CheckpointTensor* Checkpoint::Find(absl::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

absl::Status Checkpoint::Read(const CheckpointTensor& t, uint64_t offset, void* dst,
                              size_t bytes) const {
  return shards_[t.shard].file->ReadAt(t.entry.begin + offset, dst, bytes);
}

}  // namespace rill
