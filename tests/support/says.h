// tests/support/says.h — EXPECT_TRUE(Says(status, "text")): an error's message has this in it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace rill::test {

inline ::testing::AssertionResult Says(const absl::Status& status, const std::string& text) {
  const std::string message(status.message());
  if (message.find(text) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << status << "\n  does not say: " << text;
}

}  // namespace rill::test
