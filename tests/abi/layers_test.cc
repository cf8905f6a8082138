// Includes point down: each folder may see the layers below it and nothing else.
#include <algorithm>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace rill::test {
namespace {

struct Layer {
  std::string folder;                // a file belongs to the first layer whose folder it is in
  std::vector<std::string> allowed;  // prefixes of includes in quotes
  std::vector<std::string>
      outside;  // prefixes of includes in <> or "" that only some layers may use
};

// c_api sees the model's files for rill_plan_compute and the tokenizer, which have no session.
const std::vector<Layer>& Layers() {
  static const std::vector<Layer> layers = {
      {"kernels/base", {"kernels/base/"}, {"absl/"}},
      {"kernels/device",
       {"kernels/device/", "kernels/base/", "kernels/ops/", "kernels/ref/", "kernels/cpu/",
        "kernels/cuda/"},
       {"absl/"}},
      {"kernels/ops", {"kernels/ops/", "kernels/device/", "kernels/base/"}, {"absl/"}},
      {"kernels/ref",
       {"kernels/ref/", "kernels/ops/", "kernels/device/", "kernels/base/"},
       {"absl/"}},
      {"kernels/cpu",
       {"kernels/cpu/", "kernels/ops/", "kernels/device/", "kernels/base/"},
       {"absl/"}},
      {"kernels/cuda",
       {"kernels/cuda/", "kernels/ops/", "kernels/device/", "kernels/base/"},
       {"absl/", "cuda"}},
      {"kernels/no_cuda",
       {"kernels/cuda/", "kernels/ops/", "kernels/device/", "kernels/base/"},
       {"absl/"}},
      {"model/convert",
       {"model/", "kernels/ops/", "kernels/device/", "kernels/base/"},
       {"absl/", "nlohmann/", "CLI/"}},
      {"model",
       {"model/", "kernels/ops/", "kernels/device/", "kernels/base/"},
       {"absl/", "nlohmann/", "flatbuffers/", "pcre2.h"}},
      {"sdk/tools", {"sdk/", "model/", "kernels/"}, {"absl/", "nlohmann/", "CLI/"}},
      {"sdk/session_file", {"sdk/session_file/", "model/", "kernels/base/"}, {"absl/"}},
      {"sdk", {"sdk/", "model/", "kernels/ops/", "kernels/device/", "kernels/base/"}, {"absl/"}},
      {"c_api", {"c_api/", "sdk/", "model/", "kernels/base/"}, {"absl/"}},
      {"bindings/cpp", {"rill/"}, {}},
      {"samples/c", {"rill/"}, {}},
      {"samples/cpp", {"rill/"}, {}},
      {"samples/tools", {"rill/", "samples/tools/"}, {"CLI/", "nlohmann/"}},
      {"samples/tiny_model", {}, {"torch/"}},
  };
  return layers;
}

bool StartsWithAny(const std::string& text, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return text.rfind(prefix, 0) == 0; });
}

const std::vector<std::string>& OutsideLibraries() {
  static const std::vector<std::string> all = {"absl/", "cuda", "nlohmann/", "flatbuffers/",
                                               "pcre2", "CLI/", "gtest/",    "gmock/"};
  return all;
}

const std::vector<std::string>& OurFolders() {
  static const std::vector<std::string> all = {"kernels/", "model/",    "sdk/",     "c_api/",
                                               "rill/",    "bindings/", "samples/", "tests/"};
  return all;
}

// "" or why the layer may not include it. System headers are everybody's.
std::string Complaint(const Layer& layer, const std::string& include) {
  if (StartsWithAny(include, OurFolders())) {
    return StartsWithAny(include, layer.allowed) ? "" : "is above or beside it";
  }
  if (StartsWithAny(include, OutsideLibraries())) {
    return StartsWithAny(include, layer.outside) ? "" : "is not for this layer";
  }
  return "";
}

std::vector<std::string> Includes(const std::string& source) {
  static const std::regex line(R"re((?:^|\n)\s*#\s*include\s*["<]([^">]+)[">])re");
  std::vector<std::string> includes;
  for (std::sregex_iterator it(source.begin(), source.end(), line), end; it != end; ++it) {
    includes.push_back((*it)[1]);
  }
  return includes;
}

bool IsSource(const std::filesystem::path& path) {
  const std::string ext = path.extension().string();
  return ext == ".h" || ext == ".cc" || ext == ".c" || ext == ".hpp" || ext == ".cu" ||
         ext == ".cuh";
}

TEST(LayersTest, IncludesPointDown) {
  size_t n_files = 0, n_includes = 0;
  const std::string root = RILL_SOURCE_DIR "/";
  for (const char* top : {"kernels", "model", "sdk", "c_api", "bindings", "samples"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root + top)) {
      if (!entry.is_regular_file() || !IsSource(entry.path())) continue;
      const std::string name = entry.path().string().substr(root.size());
      const auto layer = std::find_if(Layers().begin(), Layers().end(), [&](const Layer& l) {
        return name.rfind(l.folder + "/", 0) == 0;
      });
      if (layer == Layers().end()) {
        ADD_FAILURE() << name << " is in no layer";
        continue;
      }
      ++n_files;
      for (const std::string& include : Includes(ReadFile(entry.path().string()))) {
        ++n_includes;
        const std::string complaint = Complaint(*layer, include);
        EXPECT_EQ(complaint, "") << name << " includes " << include;
      }
    }
  }
  EXPECT_GT(n_files, 100u);
  EXPECT_GT(n_includes, 500u);
}

TEST(LayersTest, TheScanSeesABreach) {
  const auto layer = [](const std::string& folder) {
    return *std::find_if(Layers().begin(), Layers().end(),
                         [&](const Layer& l) { return l.folder == folder; });
  };
  EXPECT_EQ(Includes("#include <a/b.h>\n #  include \"c.h\"\n// text\n"),
            (std::vector<std::string>{"a/b.h", "c.h"}));
  EXPECT_NE(Complaint(layer("kernels/base"), "kernels/device/device.h"), "");
  EXPECT_NE(Complaint(layer("c_api"), "kernels/ops/sample.h"), "");
  EXPECT_NE(Complaint(layer("samples/cpp"), "sdk/session.h"), "");
  EXPECT_NE(Complaint(layer("sdk"), "cuda_runtime.h"), "");
  EXPECT_EQ(Complaint(layer("sdk"), "model/model.h"), "");
}

}  // namespace
}  // namespace rill::test
