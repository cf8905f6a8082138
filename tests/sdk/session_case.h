// tests/sdk/session_case.h — models and sessions for the tests of this folder.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sdk/session.h"
#include "tests/support/random.h"
#include "tests/support/tiny_config.h"

namespace rill::test {

// Four layers, so that each kind follows each, and more experts than a token uses.
inline ModelConfig SessionConfig() {
  ModelConfig c = TinyConfig();
  c.vocab_size = 97;
  c.layers = {{MixerKind::kKda, FfnKind::kDense},
              {MixerKind::kMla, FfnKind::kMoe},
              {MixerKind::kKda, FfnKind::kMoe},
              {MixerKind::kMla, FfnKind::kDense}};
  c.n_experts = 5;
  c.experts_per_token = 2;
  return c;
}

inline std::shared_ptr<const Model> MakeModel(const std::string& device, uint64_t seed,
                                              const char* recipe = "bf16", int n_threads = 2) {
  ModelOptions options;
  options.device = device;
  options.n_threads = n_threads;
  auto model = Model::Synthesize(SessionConfig(), *MakeRecipe(recipe), seed, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

inline std::unique_ptr<Session> MakeSession(std::shared_ptr<const Model> model,
                                            int64_t max_tokens = 256, int64_t chunk = 8,
                                            Clock* clock = Clock::Steady()) {
  SessionShape shape;
  shape.max_tokens = max_tokens;
  shape.prefill_chunk = chunk;
  auto session = Session::Create(std::move(model), shape, clock);
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

inline std::vector<int32_t> RandomIds(Random& random, int64_t n, int64_t vocab = 97) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int32_t& id : ids) id = static_cast<int32_t>(random.Int(0, vocab - 1));
  return ids;
}

using Row = std::vector<float>;

inline Row LogitsOf(Session& session) {
  auto logits = session.Logits();
  EXPECT_TRUE(logits.ok()) << logits.status();
  return logits.ok() ? Row(logits->begin(), logits->end()) : Row();
}

inline bool SameBits(const Row& a, const Row& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline std::vector<int32_t> TokensOf(const Session& session) {
  std::vector<int32_t> ids(session.length());
  auto n = session.Tokens(0, absl::MakeSpan(ids));
  EXPECT_TRUE(n.ok() && *n == ids.size());
  return ids;
}

// The session stands where a fresh one stands that was fed `ids` in one go.
inline void ExpectStandsAfter(Session& session, std::shared_ptr<const Model> model,
                              absl::Span<const int32_t> ids) {
  ASSERT_EQ(TokensOf(session), std::vector<int32_t>(ids.begin(), ids.end()));
  const auto fresh = MakeSession(std::move(model), session.shape().max_tokens, 256);
  ASSERT_TRUE(fresh->Append(ids).ok());
  EXPECT_TRUE(SameBits(LogitsOf(session), LogitsOf(*fresh)));
}

}  // namespace rill::test
