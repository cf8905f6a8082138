// chat_branch.h — one conversation: a session, and where each of its messages begins.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rill/rill.h"

namespace rill_chat {

struct Branch {
  rill_session* session = nullptr;  // owned by who holds the branch
  std::vector<uint64_t> borders;    // position before each message of the user, ascending
  uint64_t max_tokens = 0;
};

// The borders as bytes to be saved with the session.
std::string Encode(const std::vector<uint64_t>& borders);

// Of a session of `length` tokens. Nothing: the bytes are another program's. Of none at all there
// are no borders.
std::optional<std::vector<uint64_t>> DecodeBorders(const std::string& bytes, uint64_t length);

}  // namespace rill_chat
