// model/convert/strict_json.h — base of the JSON readers for files from outside: everything that is
// not expected is an error.
//
// A reader overrides the events it expects; each of the others fails with what was found and where
// the reader was. Events stream, so a hostile file costs no more memory than the reader itself
// keeps, and nesting costs none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace rill {

// A name from a file, made fit for one line of a message: escaped and cut at 120 bytes.
inline std::string Printable(absl::string_view name) {
  const bool cut = name.size() > 120;
  return absl::StrCat(absl::Utf8SafeCEscape(name.substr(0, 120)), cut ? "..." : "");
}

class StrictJson : public nlohmann::json_sax<nlohmann::json> {  // One caller at a time.
 public:
  // Runs the reader over `text`, which must be one JSON value and nothing else.
  absl::Status Read(absl::string_view text) {
    const bool whole = nlohmann::json::sax_parse(text.begin(), text.end(), this);
    if (!error_.ok()) return error_;
    return whole ? absl::OkStatus() : absl::InvalidArgumentError("not JSON");
  }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(int64_t value) override {
    return Unexpected(absl::StrCat("the number ", value));
  }
  bool number_unsigned(uint64_t value) override {
    return Unexpected(absl::StrCat("the number ", value));
  }
  bool number_float(double, const std::string& text) override {
    return Unexpected(absl::StrCat("the number ", Printable(text)));
  }
  bool string(std::string& value) override {
    return Unexpected(absl::StrCat("the string \"", Printable(value), "\""));
  }
  bool binary(binary_t&) override { return Unexpected("binary data"); }
  bool start_object(size_t) override { return Unexpected("an object"); }
  bool key(std::string& name) override {
    return Unexpected(absl::StrCat("the key \"", Printable(name), "\""));
  }
  bool end_object() override { return Unexpected("the end of an object"); }
  bool start_array(size_t) override { return Unexpected("an array"); }
  bool end_array() override { return Unexpected("the end of an array"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    return Fail(absl::StrCat("not JSON at byte ", position));
  }

 protected:
  // Where the reader is, for messages: "tensor model.norm.weight".
  virtual std::string Where() const = 0;

  bool Fail(absl::string_view message) {
    if (error_.ok()) error_ = absl::InvalidArgumentError(message);
    return false;
  }
  bool Unexpected(absl::string_view what) {
    return Fail(absl::StrCat(Where(), ": unexpected ", what));
  }

 private:
  absl::Status error_;
};

}  // namespace rill
