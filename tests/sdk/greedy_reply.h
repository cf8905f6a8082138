// tests/sdk/greedy_reply.h — what a session says next, greedily.
#pragma once

#include <string>

#include "gtest/gtest.h"
#include "sdk/generation.h"

namespace rill::test {

// Up to 48 tokens; empty after a failure.
inline std::string GreedyReply(Session& session) {
  GenerationParams params;
  params.sampling.temperature = 0;
  params.max_tokens = 48;
  auto generation = Generation::Begin(session, params);
  EXPECT_TRUE(generation.ok()) << generation.status();
  std::string text;
  while (generation.ok()) {
    const auto event = (*generation)->Next();
    EXPECT_TRUE(event.ok()) << event.status();
    if (!event.ok()) return "";
    text += event->text;
    if (event->kind == GenerationEvent::Kind::kEnd) break;
  }
  return text;
}

}  // namespace rill::test
