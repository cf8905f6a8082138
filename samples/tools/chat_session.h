// chat_session.h — conversations on top of rill.h: messages in, streamed answers out, and ways
// back.
#pragma once

#include <string>
#include <vector>

#include "chat_branch.h"
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

  // Loads the model with progress on a terminal's stderr, and the conversation to resume. Like the
  // calls below it returns false with error() set.
  bool Open();

  // Feeds a user's message and streams the answer. An interrupt ends the answer early and is no
  // error; the conversation goes on from there.
  bool Say(const std::string& message, Output& output);

  // Forgets the conversation; the system message comes back with the next one.
  bool Reset();

  // What these did is note() afterwards, a line for people. With a file to resume from, that file
  // holds the conversation that one is in after each of them.
  bool Save(const std::string& path);
  bool Load(const std::string& path);  // instead of the conversation that one is in
  bool Rewind(size_t n_messages);      // with their answers
  bool Fork();                         // and goes there
  bool SwitchTo(size_t number);        // 1 is the first

  // "1,204 of 4,096 tokens ..." in a few lines.
  std::string Stats() const;
  std::string Branches() const;

  const std::string& note() const { return note_; }
  const std::string& error() const { return error_; }

 private:
  bool Ok(rill_status status);
  bool Fail(const std::string& message);
  bool Written(bool ok);
  Branch& here() { return branches_[current_]; }
  const Branch& here() const { return branches_[current_]; }

  bool OpenModel();
  bool OpenBranch();
  bool Create(Branch& branch);
  bool Read(const std::string& path, bool attach, Branch& branch);
  bool ReadBorders(const std::string& path, Branch& branch);
  bool WriteBorders();
  bool Follow();  // the file to resume from is made that of the branch one is in
  bool Keep();    // and brought up to date

  bool Render(const std::string& message, std::vector<int32_t>& ids);
  bool LastToken(int32_t& id);
  rill_gen_params GenParams() const;
  bool Exchange(const std::string& message, Output& output);
  bool Answer(size_t prompt_tokens, Output& output);
  bool Stream(rill_gen* gen, size_t prompt_tokens, Output& output);
  rill_stats ReadStats() const;

  const Options& options_;
  rill_model* model_ = nullptr;
  std::vector<Branch> branches_;
  size_t current_ = 0;
  std::string note_, error_;
};

// "1 message", "2 messages"
std::string Counted(uint64_t n, const char* what);

}  // namespace rill_chat
