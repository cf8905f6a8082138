#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked.h"
#include "kernels/base/status.h"
#include "model/weights/weights.h"

namespace rill {
namespace {

// What a GPU's allocator promises, so that every tensor of the slab keeps it.
constexpr uint64_t kSlabAlignment = 256;

std::string PrefixOf(const std::string& expert_name) {
  return expert_name.substr(0, expert_name.rfind('.'));
}

// Bytes of the arrays of expert addresses: one aligned array per layer that has experts.
uint64_t RecordArrayBytes(const std::vector<TensorSpec>& table) {
  uint64_t total = 0, run = 0;
  for (size_t i = 0; i <= table.size(); ++i) {
    if (i < table.size() && table[i].role == Role::kExpert) {
      ++run;
    } else {
      total += AlignUp(run * sizeof(void*), kSlabAlignment);
      run = 0;
    }
  }
  return total;
}

uint64_t SlabTensorBytes(const TensorSpec& spec) { return AlignUp(spec.bytes, kSlabAlignment); }

}  // namespace

uint64_t PlannedWeightBytes(const std::vector<TensorSpec>& table) {
  uint64_t total = RecordArrayBytes(table);
  for (const TensorSpec& spec : table) total += SlabTensorBytes(spec);
  return total;
}

WeightsBuilder::WeightsBuilder(Device& device, std::vector<TensorSpec> table)
    : device_(device), table_(std::move(table)), weights_(new Weights) {
  weights_->entries_.reserve(table_.size());
  for (const TensorSpec& spec : table_) {
    weights_->entries_[spec.name] = {spec, nullptr};
    weights_->tensor_bytes_ += spec.bytes;
  }
}

absl::Status WeightsBuilder::Share(const std::string& name, const std::string& of) {
  const Weights::Entry* a = weights_->Find(name);
  const Weights::Entry* b = weights_->Find(of);
  if (a == nullptr || b == nullptr)
    return absl::NotFoundError(absl::StrCat("no tensor ", a == nullptr ? name : of));
  if (a->spec.format != b->spec.format || a->spec.rows != b->spec.rows ||
      a->spec.cols != b->spec.cols || a->spec.role != b->spec.role || shared_.contains(of)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, " cannot share the bytes of ", of));
  }
  shared_[name] = of;
  return absl::OkStatus();
}

absl::Status WeightsBuilder::Allocate() {
  uint64_t total = 0;
  for (const TensorSpec& spec : table_) {
    if (shared_.contains(spec.name)) continue;
    slab_offset_[spec.name] = total;
    total += SlabTensorBytes(spec);
  }
  for (const auto& [name, of] : shared_) slab_offset_[name] = slab_offset_[of];
  records_offset_ = total;
  RILL_ASSIGN_OR_RETURN(slab_, Buffer::Allocate(device_, total + RecordArrayBytes(table_)));
  for (auto& [name, entry] : weights_->entries_) entry.data = Address(entry.spec);
  weights_->device_bytes_ = slab_.bytes();
  return absl::OkStatus();
}

char* WeightsBuilder::Address(const TensorSpec& spec) const {
  return slab_.as<char>() + slab_offset_.at(spec.name);
}

absl::Status WeightsBuilder::Upload(const TensorSpec& spec, const void* host_bytes) {
  return UploadPart(spec, 0, host_bytes, spec.bytes);
}

absl::Status WeightsBuilder::UploadPart(const TensorSpec& spec, uint64_t offset,
                                        const void* host_bytes, size_t n) {
  const auto end = CheckedAdd(offset, n);
  if (!end || *end > spec.bytes) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", spec.name, ": part at ", offset,
                                                   " of ", n, " bytes passes its end at ",
                                                   spec.bytes));
  }
  return device_.CopyIn(Address(spec) + offset, host_bytes, n);
}

void* WeightsBuilder::HostAddress(const TensorSpec& spec) {
  return device_.is_host() ? Address(spec) : nullptr;
}

void WeightsBuilder::UseMapped(const TensorSpec& spec, const void* bytes) {
  weights_->entries_[spec.name] = {spec, bytes};
}

void WeightsBuilder::KeepMapping(std::unique_ptr<MappedRegion> mapping) {
  weights_->mappings_.push_back(std::move(mapping));
}

absl::Status WeightsBuilder::BindRecords(const std::string& prefix,
                                         std::vector<const void*> addresses, uint64_t slab_offset) {
  if (slab_.data() == nullptr) {
    weights_->host_records_.push_back(std::move(addresses));
    weights_->records_[prefix] = weights_->host_records_.back().data();
    return absl::OkStatus();
  }
  char* array = slab_.as<char>() + slab_offset;
  weights_->records_[prefix] = reinterpret_cast<const void* const*>(array);
  return device_.CopyIn(array, addresses.data(), addresses.size() * sizeof(void*));
}

absl::StatusOr<std::unique_ptr<const Weights>> WeightsBuilder::Build() {
  uint64_t offset = records_offset_;
  std::vector<const void*> run;
  for (size_t i = 0; i < table_.size(); ++i) {
    const TensorSpec& spec = table_[i];
    const void* data = weights_->entries_[spec.name].data;
    if (data == nullptr)
      return absl::FailedPreconditionError(absl::StrCat("tensor ", spec.name, " has no bytes"));
    if (spec.role != Role::kExpert) continue;
    run.push_back(data);
    if (i + 1 < table_.size() && table_[i + 1].role == Role::kExpert) continue;
    const uint64_t bytes = AlignUp(run.size() * sizeof(void*), kSlabAlignment);
    RILL_RETURN_IF_ERROR(BindRecords(PrefixOf(spec.name), std::move(run), offset));
    offset += bytes;
    run.clear();
  }
  if (slab_.data() != nullptr) weights_->buffers_.push_back(std::move(slab_));
  return std::unique_ptr<const Weights>(std::move(weights_));
}

}  // namespace rill
