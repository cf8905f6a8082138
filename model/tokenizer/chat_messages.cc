#include "model/tokenizer/chat_messages.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "kernels/base/status.h"
#include "model/tokenizer/bounded_json.h"

namespace rill {
namespace {

using Json = nlohmann::ordered_json;

absl::Status Error(const std::string& where, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", std::string(what)));
}

// The field, or null when it is missing or JSON null.
const Json* Field(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Python's json.dumps(value, ensure_ascii=False): key order kept, ", " and ": " between items.
// Recurses at most kMaxJsonDepth deep.
std::string SpacedDump(const Json& value) {
  std::vector<std::string> items;
  if (value.is_object()) {
    for (const auto& item : value.items()) {
      items.push_back(absl::StrCat(Dump(Json(item.key())), ": ", SpacedDump(item.value())));
    }
    return absl::StrCat("{", absl::StrJoin(items, ", "), "}");
  }
  if (value.is_array()) {
    for (const auto& item : value) items.push_back(SpacedDump(item));
    return absl::StrCat("[", absl::StrJoin(items, ", "), "]");
  }
  return Dump(value);
}

absl::StatusOr<std::string> String(const Json& object, const char* key, const std::string& where) {
  const Json* value = Field(object, key);
  if (value == nullptr) return Error(absl::StrCat(where, ".", key), "missing");
  if (!value->is_string()) {
    return Error(absl::StrCat(where, ".", key),
                 absl::StrCat("a string is needed, not ", value->type_name()));
  }
  return value->get_ref<const std::string&>();
}

std::optional<Role> FindRole(std::string_view name) {
  if (name == "system") return Role::kSystem;
  if (name == "user") return Role::kUser;
  if (name == "assistant") return Role::kAssistant;
  if (name == "tool") return Role::kTool;
  return std::nullopt;
}

absl::StatusOr<std::string> ParseContent(const Json& content, const std::string& where) {
  if (content.is_string()) return content.get_ref<const std::string&>();
  if (!content.is_array()) {
    return Error(where, absl::StrCat("a string or an array of text parts is needed, not ",
                                     content.type_name()));
  }
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string part = absl::StrCat(where, "[", i, "]");
    if (!content[i].is_object()) return Error(part, "not an object");
    RILL_ASSIGN_OR_RETURN(const std::string type, String(content[i], "type", part));
    if (type != "text")
      return Error(part + ".type", absl::StrCat("\"", type, "\", only text is known"));
    RILL_ASSIGN_OR_RETURN(const std::string piece, String(content[i], "text", part));
    text += piece;
  }
  return text;
}

absl::StatusOr<ToolCall> ParseToolCall(const Json& call, const std::string& where) {
  if (!call.is_object()) return Error(where, "not an object");
  ToolCall result;
  RILL_ASSIGN_OR_RETURN(result.id, String(call, "id", where));
  const Json* function = Field(call, "function");
  if (function == nullptr || !function->is_object())
    return Error(where + ".function", "not an object");
  const Json* arguments = Field(*function, "arguments");
  if (arguments == nullptr) return Error(where + ".function.arguments", "missing");
  result.arguments =
      arguments->is_string() ? arguments->get_ref<const std::string&>() : SpacedDump(*arguments);
  return result;
}

absl::StatusOr<std::vector<ToolCall>> ParseToolCalls(const Json& calls, const std::string& where) {
  if (!calls.is_array()) return Error(where, "not an array");
  std::vector<ToolCall> result;
  for (size_t i = 0; i < calls.size(); ++i) {
    RILL_ASSIGN_OR_RETURN(result.emplace_back(),
                          ParseToolCall(calls[i], absl::StrCat(where, "[", i, "]")));
  }
  return result;
}

absl::StatusOr<ChatMessage> ParseMessage(const Json& json, const std::string& where) {
  if (!json.is_object()) return Error(where, "not an object");
  ChatMessage message;
  RILL_ASSIGN_OR_RETURN(const std::string role, String(json, "role", where));
  const auto known = FindRole(role);
  if (!known) {
    return Error(where + ".role",
                 absl::StrCat("\"", role, "\" is not system, user, assistant or tool"));
  }
  message.role = *known;
  message.header = role;
  if (Field(json, "name") != nullptr) {
    RILL_ASSIGN_OR_RETURN(const std::string name, String(json, "name", where));
    if (!name.empty()) message.header = name;
  }
  if (const Json* calls = Field(json, "tool_calls")) {
    if (*known != Role::kAssistant)
      return Error(where + ".tool_calls", "only an assistant calls tools");
    RILL_ASSIGN_OR_RETURN(message.tool_calls, ParseToolCalls(*calls, where + ".tool_calls"));
  }
  if (*known == Role::kTool) {
    RILL_ASSIGN_OR_RETURN(message.tool_call_id, String(json, "tool_call_id", where));
  }
  if (const Json* content = Field(json, "content")) {
    RILL_ASSIGN_OR_RETURN(message.content, ParseContent(*content, where + ".content"));
  } else if (message.tool_calls.empty()) {
    return Error(where + ".content", "missing");
  }
  return message;
}

}  // namespace

absl::StatusOr<std::vector<ChatMessage>> ParseMessages(std::string_view messages_json) {
  RILL_ASSIGN_OR_RETURN(const Json json, ParseBoundedJson(messages_json, "messages"));
  if (!json.is_array()) return Error("messages", "not a JSON array");
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < json.size(); ++i) {
    RILL_ASSIGN_OR_RETURN(messages.emplace_back(),
                          ParseMessage(json[i], absl::StrCat("messages[", i, "]")));
  }
  return messages;
}

absl::StatusOr<std::string> CanonicalTools(std::string_view tools_json) {
  if (tools_json.empty()) return std::string();
  RILL_ASSIGN_OR_RETURN(const Json json, ParseBoundedJson(tools_json, "tools"));
  if (json.is_null()) return std::string();
  if (!json.is_array()) return Error("tools", "not a JSON array");
  if (json.empty()) return std::string();
  const nlohmann::json sorted(json);  // this type keeps its keys sorted
  return sorted.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace rill
