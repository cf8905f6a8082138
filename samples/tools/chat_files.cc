// Conversations in files, and branches of them.
#include <unistd.h>

#include <cerrno>

#include "chat_session.h"
#include "interrupt.h"

namespace rill_chat {
namespace {

int32_t StopWhenInterrupted(void*, uint64_t, uint64_t) { return Interrupted(); }

bool Exists(const std::string& path) {
  return access(path.c_str(), F_OK) == 0 || errno != ENOENT;  // what cannot be seen is tried
}

std::string Size(const Branch& branch) {
  return Counted(branch.borders.size(), "message") + ", " +
         Counted(rill_session_length(branch.session), "token");
}

}  // namespace

std::string Counted(uint64_t n, const char* what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

bool ChatSession::OpenBranch() {
  Branch branch;
  const std::string& file = options_.resume;
  const bool resumes = !file.empty() && Exists(file);
  if (!(resumes ? Read(file, true, branch) : Create(branch))) return false;
  branches_.push_back(branch);
  current_ = 0;
  if (resumes) note_ = "resumed " + file + ": " + Size(branch);
  return resumes || Follow();
}

bool ChatSession::Create(Branch& branch) {
  rill_session_params params;
  RILL_INIT(params);
  params.max_tokens = branch.max_tokens = options_.context > 0 ? options_.context : kDefaultContext;
  return Ok(rill_session_create(model_, &params, &branch.session));
}

bool ChatSession::Read(const std::string& path, bool attach, Branch& branch) {
  rill_load_params params;
  RILL_INIT(params);
  params.max_tokens = options_.context;
  params.attach = attach;
  params.progress = StopWhenInterrupted;
  rill_load_report report;
  RILL_INIT(report);
  if (!Ok(rill_session_load(model_, path.data(), path.size(), &params, &branch.session, &report)))
    return false;
  branch.max_tokens = report.max_tokens;
  if (ReadBorders(path, branch)) return true;
  rill_session_close(branch.session);
  branch.session = nullptr;
  return false;
}

bool ChatSession::ReadBorders(const std::string& path, Branch& branch) {
  size_t n = 0;
  if (!Ok(rill_session_get_user(branch.session, nullptr, 0, &n))) return false;
  std::string bytes(n, '\0');
  if (n > 0 && !Ok(rill_session_get_user(branch.session, bytes.data(), n, &n))) return false;
  auto borders = DecodeBorders(bytes, rill_session_length(branch.session));
  if (!borders) return Fail(path + ": carries the notes of another program");
  branch.borders = *std::move(borders);
  return true;
}

bool ChatSession::WriteBorders() {
  const std::string bytes = Encode(here().borders);
  return Ok(rill_session_set_user(here().session, bytes.data(), bytes.size()));
}

bool ChatSession::Follow() {
  const std::string& file = options_.resume;
  if (file.empty()) return true;
  return WriteBorders() &&
         Ok(rill_session_attach(here().session, file.data(), file.size(), nullptr, nullptr));
}

// A file that somebody else wrote to is left alone: that may be another conversation by now.
bool ChatSession::Keep() {
  if (options_.resume.empty()) return true;
  if (!WriteBorders()) return false;
  rill_save_params params;
  RILL_INIT(params);
  params.parts = RILL_SAVE_LADDER;  // so that /rewind finds one after the next start
  const rill_status status = rill_session_flush(here().session, &params, nullptr);
  return status == RILL_E_IO ? Follow() : Ok(status);
}

bool ChatSession::Save(const std::string& path) {
  rill_save_report report;
  RILL_INIT(report);
  if (!WriteBorders() ||
      !Ok(rill_session_save(here().session, path.data(), path.size(), nullptr, &report)))
    return false;
  note_ = "saved " + path + ": " + Size(here()) + ", " + Counted(report.file_bytes, "byte");
  return true;
}

bool ChatSession::Load(const std::string& path) {
  Branch loaded;
  if (!Read(path, false, loaded)) return false;
  rill_session_close(here().session);
  here() = loaded;
  note_ = "loaded " + path + ": " + Size(loaded);
  return Follow();
}

bool ChatSession::Rewind(size_t n_messages) {
  std::vector<uint64_t>& borders = here().borders;
  if (n_messages > borders.size())
    return Fail("cannot take back " + Counted(n_messages, "message") + ": there are " +
                std::to_string(borders.size()));
  rill_rewind_cost cost;
  RILL_INIT(cost);
  const size_t left = borders.size() - n_messages;
  if (n_messages > 0 && !Ok(rill_session_rewind(here().session, borders[left], 0,
                                                StopWhenInterrupted, nullptr, &cost)))
    return false;
  borders.resize(left);
  note_ = "took back " + Counted(n_messages, "message") + ": " + Size(here()) + " left, " +
          Counted(cost.replayed, "token") + " replayed, " + std::to_string(cost.recomputed) +
          " recomputed";
  return Keep();
}

bool ChatSession::Fork() {
  Branch fork = here();
  fork.session = nullptr;
  if (!Ok(rill_session_fork(here().session, &fork.session))) return false;
  branches_.push_back(fork);
  return SwitchTo(branches_.size());
}

bool ChatSession::SwitchTo(size_t number) {
  if (number < 1 || number > branches_.size())
    return Fail("no branch " + std::to_string(number) + ": there are " +
                std::to_string(branches_.size()));
  if (!Ok(rill_session_detach(here().session))) return false;
  current_ = number - 1;
  note_ = "branch " + std::to_string(number) + ": " + Size(here());
  return Follow();
}

std::string ChatSession::Branches() const {
  std::string list;
  for (size_t i = 0; i < branches_.size(); ++i) {
    list +=
        (i == current_ ? "* " : "  ") + std::to_string(i + 1) + "  " + Size(branches_[i]) + "\n";
  }
  return list;
}

}  // namespace rill_chat
