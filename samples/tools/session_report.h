// session_report.h — what rill-session says, for people or as JSON.
#pragma once

#include <string>

#include "rill/rill.h"

namespace rill_session_tool {

// Text ends with a line feed; JSON is one line without one.
std::string Describe(const std::string& file, const rill_file_info& info, bool json);
std::string DescribeVerified(const std::string& file, bool json);
std::string Describe(const std::string& file, uint64_t bytes_before, const rill_save_report& report,
                     bool json);
std::string Describe(const std::string& a, const std::string& b,
                     const rill_file_difference& difference, bool json);

}  // namespace rill_session_tool
