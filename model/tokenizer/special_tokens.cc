#include "model/tokenizer/special_tokens.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "kernels/base/status.h"
#include "model/tokenizer/bounded_json.h"

namespace rill {
namespace {

struct NamedControl {
  Control control;
  std::string_view name;
};

constexpr NamedControl kControls[] = {
    {Control::kBos, "[BOS]"},
    {Control::kEos, "[EOS]"},
    {Control::kImEnd, "<|im_end|>"},
    {Control::kImUser, "<|im_user|>"},
    {Control::kImAssistant, "<|im_assistant|>"},
    {Control::kStartHeader, "<|start_header_id|>"},
    {Control::kEndHeader, "<|end_header_id|>"},
    {Control::kEot, "[EOT]"},
    {Control::kImSystem, "<|im_system|>"},
    {Control::kToolCallsBegin, "<|tool_calls_section_begin|>"},
    {Control::kToolCallsEnd, "<|tool_calls_section_end|>"},
    {Control::kToolCallBegin, "<|tool_call_begin|>"},
    {Control::kToolCallArgument, "<|tool_call_argument_begin|>"},
    {Control::kToolCallEnd, "<|tool_call_end|>"},
    {Control::kImMiddle, "<|im_middle|>"},
    {Control::kUnk, "[UNK]"},
    {Control::kPad, "[PAD]"},
};

absl::Status Error(std::string message) {
  return absl::InvalidArgumentError(absl::StrCat("special tokens: ", message));
}

std::string ReservedName(int64_t id) { return absl::StrCat("<|reserved_token_", id, "|>"); }

std::vector<std::string> FixedNames(int64_t base_size, int64_t count) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(ReservedName(base_size + i));
  for (const auto& [control, name] : kControls) {
    if (const auto offset = static_cast<int64_t>(control); offset < count) names[offset] = name;
  }
  return names;
}

// The listed names over the reserved ones; ids of the base vocabulary are not ours to name.
absl::Status ReadNames(std::string_view config_json, int64_t base_size,
                       std::vector<std::string>* names) {
  RILL_ASSIGN_OR_RETURN(const auto config, ParseBoundedJson(config_json, "tokenizer_config"));
  if (!config.is_object()) return Error("tokenizer_config is not a JSON object");
  const auto added = config.find("added_tokens_decoder");
  if (added == config.end()) return absl::OkStatus();
  if (!added->is_object()) return Error("added_tokens_decoder is not a JSON object");
  const int64_t end = base_size + static_cast<int64_t>(names->size());
  for (const auto& item : added->items()) {
    int64_t id = -1;
    if (!absl::SimpleAtoi(item.key(), &id) || id < base_size || id >= end) {
      return Error(absl::StrCat("added_tokens_decoder lists id \"", item.key(),
                                "\", special ids are ", base_size, " to ", end - 1));
    }
    const auto& entry = item.value();
    const auto content = entry.is_object() ? entry.find("content") : entry.end();
    if (content == entry.end() || !content->is_string()) {
      return Error(absl::StrCat("added_tokens_decoder, id ", id, ": no content string"));
    }
    (*names)[id - base_size] = content->template get_ref<const std::string&>();
  }
  return absl::OkStatus();
}

// Control tokens are used by id, so a checkpoint that gives those ids another meaning is of another
// family.
absl::Status CheckControls(const std::vector<std::string>& names, int64_t base_size) {
  for (const auto& [control, expected] : kControls) {
    const auto offset = static_cast<size_t>(control);
    if (offset >= names.size()) continue;
    const int64_t id = base_size + static_cast<int64_t>(offset);
    if (names[offset] != expected && names[offset] != ReservedName(id)) {
      return Error(absl::StrCat("id ", id, " is named ", names[offset], ", this family has ",
                                std::string(expected), " there"));
    }
    const auto at = std::find(names.begin(), names.end(), expected) - names.begin();
    if (at != static_cast<int64_t>(names.size()) && at != static_cast<int64_t>(offset)) {
      return Error(absl::StrCat(std::string(expected), " has id ", base_size + at,
                                ", this family has it at ", id));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SpecialTokens> SpecialTokens::Create(std::string_view tokenizer_config_json,
                                                    int64_t base_size, int64_t vocab_size) {
  const int64_t count = vocab_size - base_size;
  if (base_size < 0 || count < kMinSpecialTokens || count > kMaxSpecialTokens) {
    return Error(absl::StrCat("a vocabulary of ", vocab_size, " leaves ", count, " ids after the ",
                              base_size, " of the file; ", kMinSpecialTokens, " to ",
                              kMaxSpecialTokens, " are needed"));
  }
  SpecialTokens tokens;
  tokens.base_size_ = static_cast<int32_t>(base_size);
  if (tokenizer_config_json.empty()) {
    tokens.names_ = FixedNames(base_size, count);
  } else {
    for (int64_t i = 0; i < count; ++i) tokens.names_.push_back(ReservedName(base_size + i));
    RILL_RETURN_IF_ERROR(ReadNames(tokenizer_config_json, base_size, &tokens.names_));
  }
  RILL_RETURN_IF_ERROR(CheckControls(tokens.names_, base_size));
  RILL_RETURN_IF_ERROR(tokens.Build());
  return tokens;
}

absl::Status SpecialTokens::Build() {
  is_first_byte_.resize(256);
  for (size_t i = 0; i < names_.size(); ++i) {
    const std::string& name = names_[i];
    const auto id = base_size_ + static_cast<int32_t>(i);
    if (name.empty() || name.size() > kMaxSpecialNameBytes) {
      return Error(absl::StrCat("the name of id ", id, " has ", name.size(), " bytes, 1 to ",
                                kMaxSpecialNameBytes, " are allowed"));
    }
    const auto [it, is_new] = ids_.emplace(name, id);
    if (!is_new) {
      return Error(absl::StrCat(name, " names both id ", it->second, " and id ", id));
    }
    is_first_byte_[static_cast<uint8_t>(name[0])] = true;
    lengths_.push_back(name.size());
  }
  std::sort(lengths_.begin(), lengths_.end(), std::greater<>());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
  return absl::OkStatus();
}

std::optional<SpecialTokens::Found> SpecialTokens::FindNext(std::string_view text,
                                                            size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (!is_first_byte_[static_cast<uint8_t>(text[at])]) continue;
    for (size_t length : lengths_) {
      if (length > text.size() - at) continue;
      const auto it = ids_.find(absl::string_view(text.data() + at, length));
      if (it != ids_.end()) return Found{at, at + length, it->second};
    }
  }
  return std::nullopt;
}

}  // namespace rill
