// sdk/tools/synthetic_session.h — session files of any length without the hours that filling a long
// context takes.
//
// Their state, logits and records of the last tokens come from a real prefill of a few tokens,
// their token ids are random, and their cache rows are random bf16 values of unit variance, as
// normalised latents are. Checkpoints stand where a prefill would have left them. What such a
// session says means nothing; what it weighs and how long everything takes is what a real one's is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/model.h"
#include "sdk/session.h"
#include "sdk/session_file/session_file.h"

namespace rill::tools {

class SyntheticSession {
 public:
  // Prefills and saves to `path`, which stays for as long as the object is used.
  static absl::StatusOr<SyntheticSession> Create(std::shared_ptr<const Model> model,
                                                 const SessionShape& shape, const std::string& path,
                                                 uint64_t seed);

  // A file of `tokens` tokens. Files of one object are beginnings of each other. Without `history`
  // there are no checkpoints and no records. Shows its progress; ends early when it is interrupted.
  absl::Status Write(const std::string& path, uint64_t tokens, bool history) const;

  int32_t Id(uint64_t position) const;
  int64_t real_tokens() const { return static_cast<int64_t>(real_->position()); }

 private:
  SyntheticSession(std::shared_ptr<const Model> model, const SessionShape& shape, uint64_t seed)
      : model_(std::move(model)), shape_(shape), seed_(seed) {}
  absl::StatusOr<std::vector<RungContent>> Ladder(uint64_t tokens) const;

  std::shared_ptr<const Model> model_;
  SessionShape shape_;
  uint64_t seed_;
  std::shared_ptr<const SessionFile> real_;
  std::vector<std::byte> rows_;  // of one page; each page has them in another order
};

}  // namespace rill::tools
