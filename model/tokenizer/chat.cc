#include "model/tokenizer/chat.h"

#include <string>
#include <utility>

#include "kernels/base/status.h"
#include "model/tokenizer/chat_messages.h"

namespace rill {
namespace {

// Collects ids: control tokens by id, everything else as content.
class Writer {
 public:
  explicit Writer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void Put(Control control) { ids_.push_back(tokenizer_.id(control)); }

  absl::Status Put(std::string_view text) {
    RILL_ASSIGN_OR_RETURN(const auto ids, tokenizer_.Encode(text, EncodeMode::kContent));
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    return absl::OkStatus();
  }

  absl::Status Open(Control control, std::string_view header) {
    Put(control);
    RILL_RETURN_IF_ERROR(Put(header));
    Put(Control::kImMiddle);
    return absl::OkStatus();
  }

  std::vector<int32_t> Take() { return std::move(ids_); }

 private:
  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
};

Control Opening(Role role) {
  switch (role) {
    case Role::kUser:
      return Control::kImUser;
    case Role::kAssistant:
      return Control::kImAssistant;
    case Role::kSystem:
    case Role::kTool:
      return Control::kImSystem;
  }
  return Control::kImSystem;
}

absl::Status PutToolCalls(const std::vector<ToolCall>& calls, Writer* out) {
  out->Put(Control::kToolCallsBegin);
  for (const ToolCall& call : calls) {
    out->Put(Control::kToolCallBegin);
    RILL_RETURN_IF_ERROR(out->Put(call.id));
    out->Put(Control::kToolCallArgument);
    RILL_RETURN_IF_ERROR(out->Put(call.arguments));
    out->Put(Control::kToolCallEnd);
  }
  out->Put(Control::kToolCallsEnd);
  return absl::OkStatus();
}

absl::Status PutMessage(const ChatMessage& message, Writer* out) {
  RILL_RETURN_IF_ERROR(out->Open(Opening(message.role), message.header));
  if (message.role == Role::kTool) {
    // One text: the original tokenizer sees both between the same two control tokens.
    RILL_RETURN_IF_ERROR(
        out->Put(absl::StrCat("## Return of ", message.tool_call_id, "\n", message.content)));
  } else {
    RILL_RETURN_IF_ERROR(out->Put(message.content));
  }
  if (!message.tool_calls.empty()) RILL_RETURN_IF_ERROR(PutToolCalls(message.tool_calls, out));
  out->Put(Control::kImEnd);
  return absl::OkStatus();
}

absl::Status PutMessages(std::string_view messages_json, ChatEnd end, Writer* out) {
  RILL_ASSIGN_OR_RETURN(const auto messages, ParseMessages(messages_json));
  for (const ChatMessage& message : messages) RILL_RETURN_IF_ERROR(PutMessage(message, out));
  if (end == ChatEnd::kOpenReply) {
    RILL_RETURN_IF_ERROR(out->Open(Control::kImAssistant, "assistant"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> RenderChat(const Tokenizer& tokenizer,
                                                std::string_view messages_json,
                                                std::string_view tools_json, ChatEnd end) {
  Writer out(tokenizer);
  RILL_ASSIGN_OR_RETURN(const std::string tools, CanonicalTools(tools_json));
  if (!tools.empty()) {
    RILL_RETURN_IF_ERROR(out.Open(Control::kImSystem, "tool_declare"));
    RILL_RETURN_IF_ERROR(out.Put(tools));
    out.Put(Control::kImEnd);
  }
  RILL_RETURN_IF_ERROR(PutMessages(messages_json, end, &out));
  return out.Take();
}

absl::StatusOr<std::vector<int32_t>> AppendMessages(const Tokenizer& tokenizer, int32_t last_id,
                                                    std::string_view messages_json, ChatEnd end) {
  Writer out(tokenizer);
  if (last_id >= 0 && last_id != tokenizer.id(Control::kImEnd)) out.Put(Control::kImEnd);
  RILL_RETURN_IF_ERROR(PutMessages(messages_json, end, &out));
  return out.Take();
}

}  // namespace rill
