// model/tokenizer/chat_messages.h — conversations as applications write them (JSON), read into
// plain structs.
//
// messages: an array of objects
//   role          "system", "user", "assistant" or "tool"
//   content       a string, or an array of {"type": "text", "text": ...} whose texts are joined;
//                 an assistant with tool_calls may leave it out or null
//   name          optional; stands in the message's header in place of the role
//   tool_calls    assistant only: an array of
//                 {"id": string, "function": {"arguments": string or any JSON}}
//   tool_call_id  tool only: the id of the call this is the result of
// Other fields are ignored. Limits: kMaxJsonDepth, kMaxJsonKeys.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace rill {

enum class Role { kSystem, kUser, kAssistant, kTool };

struct ToolCall {
  std::string id;         // functions.NAME:IDX, as the model wrote it
  std::string arguments;  // JSON text
};

struct ChatMessage {
  Role role;
  std::string header;  // the name if there is one, otherwise the role
  std::string content;
  std::vector<ToolCall> tool_calls;
  std::string tool_call_id;
};

// InvalidArgument names the message's index and the field: "messages[3].role: ...".
absl::StatusOr<std::vector<ChatMessage>> ParseMessages(std::string_view messages_json);

// The tools declaration as the model saw it in training: keys sorted at every depth, no spaces.
// Empty text, null and an empty array give "". InvalidArgument: no JSON, not an array.
absl::StatusOr<std::string> CanonicalTools(std::string_view tools_json);

}  // namespace rill
