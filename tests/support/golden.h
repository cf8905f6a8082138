// tests/support/golden.h — the golden checkpoints (tests/golden) converted, opened, and what the reference says of them.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/convert/convert.h"
#include "model/convert/safetensors.h"
#include "model/model.h"
#include "tests/support/temp_dir.h"

namespace rill::test {

// The tensors of a reference.safetensors, all as float32 or int32.
class Reference {
 public:
  explicit Reference(const std::string& path) {
    absl::StatusOr<std::string> bytes = ReadWholeFile(*FileSystem::Posix(), path, 64 << 20);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    if (!bytes.ok()) return;
    bytes_ = *std::move(bytes);
    absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(bytes_, bytes_.size());
    EXPECT_TRUE(header.ok()) << header.status();
    if (!header.ok()) return;
    for (const SafetensorsEntry& e : header->tensors) entries_[e.name] = e;
  }

  bool Has(const std::string& name) const { return entries_.count(name) > 0; }
  std::vector<float> F32(const std::string& name) const { return Get<float>(name, "F32"); }
  std::vector<int32_t> I32(const std::string& name) const { return Get<int32_t>(name, "I32"); }

 private:
  template <typename T>
  std::vector<T> Get(const std::string& name, const std::string& dtype) const {
    const auto found = entries_.find(name);
    EXPECT_NE(found, entries_.end()) << name;
    if (found == entries_.end()) return {};
    EXPECT_EQ(found->second.dtype, dtype) << name;
    std::vector<T> values((found->second.end - found->second.begin) / sizeof(T));
    memcpy(values.data(), bytes_.data() + found->second.begin, values.size() * sizeof(T));
    return values;
  }
  std::string bytes_;
  std::map<std::string, SafetensorsEntry> entries_;
};

// Converts the checkpoint folder `input` into a file of `recipe` in `folder` and returns its path.
inline std::string ConvertTo(const TempDir& folder, const std::string& input, const std::string& recipe) {
  ConvertOptions options;
  options.input = input;
  options.output = folder / (recipe + ".rill");
  options.recipe = recipe;
  const absl::StatusOr<ConvertReport> report = Convert(options, *FileSystem::Posix());
  EXPECT_TRUE(report.ok()) << report.status();
  return options.output;
}

inline std::shared_ptr<const Model> OpenModel(const std::string& path, const std::string& device, int threads = 1) {
  ModelOptions options;
  options.device = device;
  options.n_threads = threads;
  absl::StatusOr<std::shared_ptr<const Model>> model = Model::Open(*FileSystem::Posix(), path, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

}  // namespace rill::test
