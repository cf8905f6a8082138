#include "chat_branch.h"

#include <algorithm>

#include "nlohmann/json.hpp"

namespace rill_chat {
namespace {

constexpr char kProgram[] = "rill-chat";

}  // namespace

std::string Encode(const std::vector<uint64_t>& borders) {
  return nlohmann::ordered_json{{"program", kProgram}, {"messages", borders}}.dump();
}

std::optional<std::vector<uint64_t>> DecodeBorders(const std::string& bytes, uint64_t length) {
  std::vector<uint64_t> borders;
  if (bytes.empty()) return borders;
  const auto json = nlohmann::json::parse(bytes, nullptr, false);
  if (!json.is_object() || json.value("program", nlohmann::json()) != kProgram) return std::nullopt;
  const auto messages = json.find("messages");
  if (messages == json.end() || !messages->is_array()) return std::nullopt;
  for (const auto& border : *messages) {
    if (!border.is_number_unsigned() || border.get<uint64_t>() >= length) return std::nullopt;
    borders.push_back(border.get<uint64_t>());
  }
  if (!std::is_sorted(borders.begin(), borders.end())) return std::nullopt;
  return borders;
}

}  // namespace rill_chat
