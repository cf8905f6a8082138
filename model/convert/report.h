// model/convert/report.h — plans and reports of a conversion as text for people and JSON for
// programs.
#pragma once

#include <string>

#include "model/convert/convert.h"

namespace rill {

// Several lines, each ended by a newline. The plan's notes are left to the caller.
std::string PlanText(const ConvertPlan& plan);
std::string ReportText(const ConvertReport& report, const std::string& output);

// One JSON object and a newline. Bytes are integers; tensors of a plan are listed one by one,
// experts too:
//   plan    {"format", "tensors": [{"name","role","format","rows","cols","bytes"}], "blobs",
//   "roles", "tensor_bytes",
//            "input_bytes", "file_bytes", "notes"}
//   report  {"output", "format", "tensors": n, "blobs", "roles": [.. and "relative_rms_error",
//   "worst_tensor",
//            "worst_relative_rms_error"], "tensor_bytes", "input_bytes", "file_bytes", "seconds",
//            "notes"}
std::string PlanJson(const ConvertPlan& plan);
std::string ReportJson(const ConvertReport& report, const std::string& output);

}  // namespace rill
