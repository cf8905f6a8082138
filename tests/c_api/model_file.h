// tests/c_api/model_file.h — a tiny model with a tokenizer as a *.rill file, as rill-convert makes
// it.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "model/convert/convert.h"
#include "model/io/file.h"
#include "rill/rill.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"

namespace rill::test {

inline constexpr int32_t kBaseTokens = 256 + 6, kVocab = kBaseTokens + 26;

// The 256 bytes and a few merges; special tokens follow up to kVocab.
inline std::string SmallTiktoken() {
  std::string file;
  int rank = 0;
  const auto add = [&](const std::string& token) {
    absl::StrAppend(&file, absl::Base64Escape(token), " ", rank++, "\n");
  };
  for (int i = 0; i < 256; ++i) add(std::string(1, static_cast<char>(i)));
  for (const char* token : {"he", "ll", "llo", "th", "the", "\xc3\xa9"}) add(token);
  return file;
}

// Made once for a process; its folder goes with it.
class ModelOnDisk {
 public:
  explicit ModelOnDisk(bool with_tokenizer, uint64_t seed = std::random_device{}()) {
    ::testing::Test::RecordProperty("seed", absl::StrCat(seed));
    std::string folder = dir_ / "checkpoint";
    std::filesystem::create_directory(folder);
    TinyShape shape;
    shape.vocab = kVocab;
    TinyCheckpoint(shape, seed).Write(folder);
    if (with_tokenizer) WriteFile(folder + "/tiktoken.model", SmallTiktoken());
    ConvertOptions options;
    options.input = folder;
    options.output = path_ = dir_ / "tiny.rill";
    options.recipe = "q8";
    const auto report = Convert(options, *FileSystem::Posix());
    EXPECT_TRUE(report.ok()) << report.status();
  }
  const std::string& path() const { return path_; }

 private:
  TempDir dir_;
  std::string path_;
};

inline const std::string& TinyModelPath() {
  static const ModelOnDisk model(true);
  return model.path();
}

inline const std::string& TinyModelWithoutTokenizerPath() {
  static const ModelOnDisk model(false);
  return model.path();
}

inline std::string LastError() {
  char message[1024];
  rill_last_error(message, sizeof message);
  return message;
}

// A model and a session on it, closed at the end of the test.
struct Opened {
  rill_model* model = nullptr;
  rill_session* session = nullptr;

  explicit Opened(const std::string& path = TinyModelPath(), uint64_t max_tokens = 512,
                  uint32_t prefill_chunk = 16) {
    EXPECT_EQ(rill_model_open(path.data(), path.size(), nullptr, &model), RILL_OK) << LastError();
    rill_session_params params;
    RILL_INIT(params);
    params.max_tokens = max_tokens;
    params.prefill_chunk = prefill_chunk;
    EXPECT_EQ(rill_session_create(model, &params, &session), RILL_OK) << LastError();
  }
  ~Opened() {
    rill_session_close(session);
    rill_model_release(model);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
};

}  // namespace rill::test
