// model/tokenizer/chat.h — conversations as token ids, in the layout Kimi Linear was trained on.
//
//   tools      <|im_system|>tool_declare<|im_middle|>TOOLS<|im_end|>     first, if there are any
//   system     <|im_system|>HEADER<|im_middle|>CONTENT<|im_end|>
//   user       <|im_user|>HEADER<|im_middle|>CONTENT<|im_end|>
//   assistant  <|im_assistant|>HEADER<|im_middle|>CONTENT[CALLS]<|im_end|>
//   tool       <|im_system|>HEADER<|im_middle|>## Return of ID LF CONTENT<|im_end|>
//   CALLS      <|tool_calls_section_begin|> CALL* <|tool_calls_section_end|>
//   CALL       <|tool_call_begin|>ID<|tool_call_argument_begin|>ARGUMENTS<|tool_call_end|>
//   prompt     <|im_assistant|>assistant<|im_middle|>                    opens the next reply
//
// Proved by the published vectors: no BOS, no default system message, nothing between messages.
// Content goes in verbatim and is encoded as content, so text that looks like a control token stays
// text.
//
// The model's own template is not published where this was written. Where its relatives differ, the
// choice is the one of K2-Thinking, its nearest relative in time:
//   - HEADER is the message's name if it has one, otherwise its role;
//   - the ID of a call is the one given, not counted anew;
//   - ARGUMENTS that are a string go in as they are, others as JSON with ", " and ": ", keys in the
//     order given;
//   - a tool result starts with a real line feed after the ID;
//   - TOOLS is compact JSON ("," and ":") with its keys sorted at every depth.
// The exception: there is no <think></think> before a reply, since this model does not think and
// the vectors show none.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"

namespace rill {

enum class ChatEnd {
  kOpenReply,  // end with the prompt, ready to generate
  kComplete,   // end after the last message
};

// A whole conversation from its first token. JSON as model/tokenizer/chat_messages.h says;
// `tools_json` may be empty. InvalidArgument names the message's index and the field.
absl::StatusOr<std::vector<int32_t>> RenderChat(const Tokenizer& tokenizer,
                                                std::string_view messages_json,
                                                std::string_view tools_json, ChatEnd end);

// Only what has to follow a conversation that a session already holds. `last_id` is the session's
// last token (-1 for an empty session): unless it is <|im_end|>, the reply it belongs to is open -
// generation stopped at a limit, or at a stop token that was not fed - and the ids start by closing
// it. So a chat program calls
//   AppendMessages(tokenizer, last, R"([{"role": "user", "content": "Hi"}])", ChatEnd::kOpenReply)
// each turn; the session then holds what RenderChat gives for the whole conversation, with the
// reply in the tokens the model chose. Errors as there.
absl::StatusOr<std::vector<int32_t>> AppendMessages(const Tokenizer& tokenizer, int32_t last_id,
                                                    std::string_view messages_json, ChatEnd end);

}  // namespace rill
