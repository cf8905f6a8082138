// The tokenizer with a trained vocabulary, against the Python tokenizer that trained it.

#include <gtest/gtest.h>

#include <algorithm>

#include "model/tokenizer/chat.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/model/test_vocabulary.h"
#include "tests/support/random.h"

namespace rill {
namespace {

class TrainedVocabularyTest : public ::testing::Test {
 protected:
  TrainedVocabularyTest() {
    const std::string file = ReadTestFile("samples/tiny_model/checkpoint/tiktoken.model");
    const auto n_base = std::count(file.begin(), file.end(), '\n');
    auto tokenizer = Tokenizer::Create(file, "", n_base + 256);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  std::unique_ptr<const Tokenizer> tokenizer_;
  const nlohmann::json vectors_ = ReadVectors("trained_vectors.json");
};

TEST_F(TrainedVocabularyTest, EncodesAsPythonDoes) {
  ASSERT_GT(vectors_["texts"].size(), 600u);
  for (const auto& row : vectors_["texts"]) {
    const auto ids =
        tokenizer_->Encode(row["text"].get_ref<const std::string&>(), EncodeMode::kContent);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, row["ids"].get<std::vector<int32_t>>()) << row["text"];
  }
}

TEST_F(TrainedVocabularyTest, RendersAConversationAsPythonDoes) {
  const auto& chat = vectors_["chat"];
  const auto ids = RenderChat(*tokenizer_, chat["messages"].dump(), "", ChatEnd::kOpenReply);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, chat["ids"].get<std::vector<int32_t>>());
}

TEST_F(TrainedVocabularyTest, DecodesWhatItEncoded) {
  std::mt19937_64 random(test::Seed());
  for (int i = 0; i < 200; ++i) {
    const std::string text = RandomText(random, random() % 400);
    const auto ids = tokenizer_->Encode(text, EncodeMode::kContent);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*tokenizer_->Decode(*ids), text);
  }
}

}  // namespace
}  // namespace rill
