// tests/sdk/referee.h — what a session must be bit for bit, computed by one that only ever went forward.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "sdk/generation.h"
#include "tests/sdk/session_case.h"

namespace rill::test {

// Under a sanitizer every sixteenth will do: the same code runs, and ten times slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kThin = 16;
#else
inline constexpr int kThin = 1;
#endif

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

// What a session is, as bytes: tokens, pages, states, logits, texts. Checkpoints and records are about speed alone.
inline std::string Everything(Session& session) {
  std::string bytes;
  const auto report = session.Write(
      [&](absl::Span<const std::byte> more) {
        bytes.append(reinterpret_cast<const char*>(more.data()), more.size());
        return absl::OkStatus();
      },
      {Durability::kNone, false, false, {}});
  EXPECT_TRUE(report.ok()) << report.status();
  return bytes;
}

// Where two of those part; nothing when they are equal. (The bytes themselves are no message.)
inline std::string Difference(const std::string& a, const std::string& b) {
  if (a == b) return "";
  const auto least = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  const auto at = std::mismatch(a.begin(), a.begin() + least, b.begin());
  return std::to_string(a.size()) + " and " + std::to_string(b.size()) + " bytes, differ at " +
         std::to_string(at.first - a.begin());
}

// Every event of a reply from here to its end, as a line.
inline std::string RestOfReply(Generation& generation) {
  std::string text;
  for (int i = 0; i < 100; ++i) {
    const auto event = generation.Next();
    EXPECT_TRUE(event.ok()) << event.status();
    if (!event.ok()) break;
    text += std::string(event->text) + "|" + std::to_string(event->id) + "|";
    if (event->kind == GenerationEvent::Kind::kEnd) return text + std::to_string(static_cast<int>(event->finish));
  }
  return text + "no end";
}

}  // namespace rill::test
