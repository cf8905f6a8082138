// tests/sdk/scripted_model.h — a model that says what a test wants: after each token of a script
// comes the next one.
//
// Layers of zero weights add nothing, so the last hidden state is the embedding of the last token.
// Embeddings are random directions, and the row of the head for a token is the embedding of the
// token before it in the script. So a script must not hold a token twice; its last token is
// followed by its first.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "model/model.h"
#include "model/weights/writer.h"
#include "tests/model/test_vocabulary.h"
#include "tests/support/memory_fs.h"
#include "tests/support/random.h"
#include "tests/support/tiny_config.h"

namespace rill::test {

class ScriptedModel {
 public:
  // The vocabulary: 256 bytes, `merges` from 256 on, 256 special tokens from special() on.
  explicit ScriptedModel(const std::vector<std::string>& merges)
      : merges_(merges), special_(256 + static_cast<int32_t>(merges.size())) {}

  int32_t special(Control control) const { return special_ + static_cast<int32_t>(control); }
  int32_t merge(size_t i) const { return 256 + static_cast<int32_t>(i); }
  // Bytes and merges have the ids of a tiktoken file, where byte b has rank b.
  static int32_t byte(uint8_t b) { return b; }

  // A model on `device`, after the first of `script` has been fed.
  std::shared_ptr<const Model> Open(const std::vector<int32_t>& script,
                                    const std::string& device = "cpu") const {
    MemoryFileSystem fs;
    ModelConfig config = TinyConfig();
    config.vocab_size = special_ + 256;
    config.hidden_size = kHidden;
    const Recipe recipe = *MakeRecipe("bf16");
    std::vector<BlobSpec> blobs = {{"tokenizer.tiktoken", TiktokenFile(merges_)}};
    auto writer = ModelWriter::Create(fs, "/m.rill", config, recipe, blobs);
    EXPECT_TRUE(writer.ok()) << writer.status();
    const std::vector<float> embedding = Random(11).UnitRows(config.vocab_size, kHidden);
    for (size_t i = 0; i < (*writer)->table().size(); ++i) {
      const std::string bytes = Bytes((*writer)->table()[i], embedding, script);
      EXPECT_TRUE((*writer)->Write(i, 0, bytes.data(), bytes.size()).ok());
    }
    EXPECT_TRUE((*writer)->Finish().ok());
    ModelOptions options;
    options.device = device;
    options.n_threads = 2;
    auto model = Model::Open(fs, "/m.rill", options);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *model : nullptr;
  }

 private:
  static constexpr int64_t kHidden = 64;

  static std::string Bytes(const TensorSpec& spec, const std::vector<float>& embedding,
                           const std::vector<int32_t>& script) {
    std::string bytes(spec.bytes, '\0');
    if (spec.name == "final_norm") {
      for (int64_t i = 0; i < kHidden; ++i) {
        const float one = 1;
        std::memcpy(bytes.data() + 4 * i, &one, 4);
      }
    }
    if (spec.role == Role::kEmbedding) {
      for (int64_t v = 0; v < spec.rows; ++v) PutRow(v, embedding.data() + v * kHidden, bytes);
    }
    if (spec.role == Role::kLmHead) {
      for (size_t i = 0; i < script.size(); ++i) {
        const int32_t next = script[(i + 1) % script.size()];
        PutRow(next, embedding.data() + script[i] * kHidden, bytes);
      }
    }
    return bytes;
  }

  static void PutRow(int64_t row, const float* values, std::string& bytes) {
    for (int64_t i = 0; i < kHidden; ++i) {
      const uint16_t bits = ToBf16(values[i]).bits;
      std::memcpy(bytes.data() + 2 * (row * kHidden + i), &bits, 2);
    }
  }

  std::vector<std::string> merges_;
  int32_t special_;
};

}  // namespace rill::test
