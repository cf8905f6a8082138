// chat_session.h — a conversation on top of rill.h: messages in, a streamed answer out.
#pragma once

#include <string>
#include <vector>

#include "chat_options.h"
#include "output.h"
#include "rill/rill.h"

namespace rill_chat {

class ChatSession {
 public:
  explicit ChatSession(const Options& options) : options_(options) {}
  ~ChatSession();
  ChatSession(const ChatSession&) = delete;
  ChatSession& operator=(const ChatSession&) = delete;

  // Loads the model with progress on a terminal's stderr. Like the calls below it returns false
  // with error() set.
  bool Open();

  // Feeds a user's message and streams the answer. An interrupt ends the answer early and is no
  // error; the conversation goes on from there.
  bool Say(const std::string& message, Output& output);

  // Forgets the conversation; the system message comes back with the next one.
  bool Reset();

  // "1,204 of 4,096 tokens ..." in a few lines.
  std::string Stats() const;

  const std::string& error() const { return error_; }

 private:
  bool Ok(rill_status status);
  bool Written(bool ok);
  bool Render(const std::string& message, std::vector<int32_t>& ids);
  bool LastToken(int32_t& id);
  rill_gen_params GenParams() const;
  bool Answer(size_t prompt_tokens, Output& output);
  bool Stream(rill_gen* gen, size_t prompt_tokens, Output& output);
  rill_stats ReadStats() const;

  const Options& options_;
  rill_model* model_ = nullptr;
  rill_session* session_ = nullptr;
  std::string error_;
};

}  // namespace rill_chat
