// tests/sdk/referee.h — what a session must be bit for bit, computed by one that only ever went forward.
#pragma once

#include <memory>
#include <vector>

#include "tests/sdk/session_case.h"

namespace rill::test {

inline std::unique_ptr<Session> NewSession(std::shared_ptr<const Model> model, const SessionShape& shape) {
  auto session = Session::Create(std::move(model), shape);
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

// The logits after each of `ids`.
inline std::vector<Row> RowsOf(std::shared_ptr<const Model> model, absl::Span<const int32_t> ids) {
  SessionShape shape;
  shape.max_tokens = static_cast<int64_t>(ids.size()) + 1;
  shape.prefill_chunk = 64;
  const auto session = NewSession(std::move(model), shape);
  std::vector<Row> rows;
  const absl::Status status = session->Append(
      ids, {}, [&](uint64_t, absl::Span<const float> logits) { rows.emplace_back(logits.begin(), logits.end()); });
  EXPECT_TRUE(status.ok()) << status;
  return rows;
}

}  // namespace rill::test
