#include "session_report.h"

#include <cstdio>
#include <vector>

#include "nlohmann/json.hpp"

namespace rill_session_tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kShort = 8;  // bytes of a hash that tell it from others

std::string Hex(const uint8_t* bytes, size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(bytes[i]));
    text += digits;
  }
  return text;
}

// 1234567 as 1,234,567.
std::string Grouped(uint64_t n) {
  const std::string digits = std::to_string(n);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

// A path may hold bytes that are no UTF-8.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json ToJson(const std::string& file, const rill_file_info& i) {
  return {{"file", file},
          {"revision", i.revision},
          {"unfinished_flush", i.unfinished_flush != 0},
          {"tokens", i.tokens},
          {"checkpoints", i.checkpoints},
          {"recorded", i.recorded},
          {"page_bytes", i.page_bytes},
          {"state_bytes", i.state_bytes},
          {"user_bytes", i.user_bytes},
          {"file_bytes", i.file_bytes},
          {"superseded", i.superseded},
          {"ledger", Hex(i.ledger, sizeof i.ledger)},
          {"architecture", Hex(i.architecture, sizeof i.architecture)},
          {"tokenizer", Hex(i.tokenizer, sizeof i.tokenizer)},
          {"weights", Hex(i.weights, sizeof i.weights)},
          {"quantization", i.quantization},
          {"state_layout", i.state_layout},
          {"numerics", i.numerics},
          {"mla_dtype", i.mla_dtype}};
}

std::vector<std::string> Names(uint32_t identity) {
  std::vector<std::string> names;
  const auto add = [&](uint32_t bit, const char* name) {
    if ((identity & bit) != 0) names.emplace_back(name);
  };
  add(RILL_DIFFERS_ARCHITECTURE, "architecture");
  add(RILL_DIFFERS_TOKENIZER, "tokenizer");
  add(RILL_DIFFERS_QUANTIZATION, "quantization");
  add(RILL_DIFFERS_WEIGHTS, "weights");
  add(RILL_DIFFERS_STATE_LAYOUT, "state_layout");
  add(RILL_DIFFERS_NUMERICS, "numerics");
  return names;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::string Describe(const std::string& file, const rill_file_info& i, bool json) {
  if (json) return Dump(ToJson(file, i));
  std::string text = file + "\n";
  text += "  tokens       " + Grouped(i.tokens) + ", timeline " + Hex(i.ledger, kShort) + "\n";
  text += "  ways back    " + std::to_string(i.checkpoints) + " checkpoints, the last " +
          std::to_string(i.recorded) + " tokens recorded\n";
  text += "  size         " + Grouped(i.file_bytes) + " bytes: pages " + Grouped(i.page_bytes) +
          ", a state " + Grouped(i.state_bytes) + ", notes " + Grouped(i.user_bytes) +
          ", superseded " + Grouped(i.superseded) + "\n";
  text += "  revision     " + std::to_string(i.revision) +
          (i.unfinished_flush != 0 ? "; a later flush was cut off and left behind\n" : "\n");
  text += "  model        architecture " + Hex(i.architecture, kShort) + ", tokenizer " +
          Hex(i.tokenizer, kShort) + ", weights " + Hex(i.weights, kShort) + "\n";
  text += "  made with    " + std::string(i.quantization) + ", " + i.state_layout + ", rows " +
          i.mla_dtype + ", " + i.numerics + "\n";
  return text;
}

std::string DescribeVerified(const std::string& file, bool json) {
  return json ? Dump(Json{{"file", file}, {"whole", true}}) : file + ": whole\n";
}

std::string Describe(const std::string& file, uint64_t bytes_before, const rill_save_report& report,
                     bool json) {
  if (json) {
    return Dump(Json{{"file", file},
                     {"bytes_before", bytes_before},
                     {"bytes", report.file_bytes},
                     {"tokens", report.new_tokens}});
  }
  return file + ": " + Grouped(report.file_bytes) + " bytes, were " + Grouped(bytes_before) + "\n";
}

std::string Describe(const std::string& a, const std::string& b,
                     const rill_file_difference& difference, bool json) {
  const std::vector<std::string> names = Names(difference.identity);
  if (json) {
    return Dump(Json{{"files", {a, b}},
                     {"identity", names},
                     {"tokens", {difference.tokens_a, difference.tokens_b}},
                     {"common_tokens", difference.common_tokens}});
  }
  std::string text;
  text += names.empty() ? "of the same model and device\n" : "differ in " + Joined(names) + "\n";
  text += "the first " + Grouped(difference.common_tokens) + " tokens are the same; " +
          Grouped(difference.tokens_a - difference.common_tokens) + " more in " + a + ", " +
          Grouped(difference.tokens_b - difference.common_tokens) + " in " + b + "\n";
  return text;
}

}  // namespace rill_session_tool
