#include "model/convert/report.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/convert/progress.h"
#include "model/io/absl_view.h"
#include "nlohmann/json.hpp"

namespace rill {
namespace {

using Json = nlohmann::ordered_json;

uint64_t TensorBytes(const std::vector<TensorSpec>& table) {
  uint64_t bytes = 0;
  for (const TensorSpec& spec : table) bytes += spec.bytes;
  return bytes;
}

absl::string_view ExpertPrefix(const TensorSpec& spec) {
  return spec.role == Role::kExpert ? absl::string_view(spec.name).substr(0, spec.name.rfind('.'))
                                    : absl::string_view();
}

// Rows of the table from `begin` that make one printed line: the experts of a layer share theirs.
size_t LineLength(const std::vector<TensorSpec>& table, size_t begin) {
  const absl::string_view prefix = ExpertPrefix(table[begin]);
  size_t end = begin + 1;
  while (!prefix.empty() && end < table.size() && ExpertPrefix(table[end]) == prefix) ++end;
  return end - begin;
}

std::string TensorLine(const TensorSpec& spec, size_t n) {
  const std::string name = n == 1 ? spec.name : absl::StrCat(ExpertPrefix(spec), ".0..", n - 1);
  const std::string shape = spec.role == Role::kVector && spec.rows == 1
                                ? absl::StrCat(spec.cols)
                                : absl::StrCat(spec.rows, " x ", spec.cols);
  return absl::StrFormat(
      "%-32s %-14s %-5s %16s %14d\n", name, AbslView(Name(spec.role)), AbslView(Name(spec.format)),
      spec.role == Role::kExpert ? absl::StrCat("3 x ", shape) : shape, spec.bytes * n);
}

std::string RoleLine(const RoleReport& role, uint64_t total) {
  return absl::StrFormat("%-14s %-5s %8d %14d %6.2f%%", AbslView(Name(role.role)),
                         AbslView(Name(role.format)), role.tensors, role.bytes,
                         100.0 * static_cast<double>(role.bytes) / static_cast<double>(total));
}

Json RoleJson(const RoleReport& role) {
  return {{"role", Name(role.role)},
          {"format", Name(role.format)},
          {"tensors", role.tensors},
          {"bytes", role.bytes}};
}

Json BlobsJson(const ConvertPlan& plan) {
  Json blobs = Json::array();
  for (const auto& blob : plan.blobs) blobs.push_back({{"name", blob.name}, {"bytes", blob.bytes}});
  return blobs;
}

void AddTotals(const ConvertPlan& plan, Json& json) {
  json["tensor_bytes"] = TensorBytes(plan.table);
  json["input_bytes"] = plan.input_bytes;
  json["file_bytes"] = plan.file_bytes;
}

// Paths need not be UTF-8; JSON must be.
std::string Dump(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string PlanText(const ConvertPlan& plan) {
  std::string text = absl::StrFormat("%-32s %-14s %-5s %16s %14s\n", "tensor", "role", "as",
                                     "rows x cols", "bytes");
  for (size_t i = 0; i < plan.table.size();) {
    const size_t n = LineLength(plan.table, i);
    absl::StrAppend(&text, TensorLine(plan.table[i], n));
    i += n;
  }
  absl::StrAppendFormat(&text, "\n%-14s %-5s %8s %14s %7s\n", "role", "as", "tensors", "bytes",
                        "share");
  const uint64_t total = TensorBytes(plan.table);
  for (const RoleReport& role : SummarizeRoles(plan.table))
    absl::StrAppend(&text, RoleLine(role, total), "\n");
  for (const auto& blob : plan.blobs)
    absl::StrAppendFormat(&text, "blob %-23s %22d\n", blob.name, blob.bytes);
  absl::StrAppendFormat(&text, "\n%s: %d tensors, %s of checkpoint to a file of %s (%d bytes)\n",
                        plan.recipe.name, plan.table.size(),
                        FormatBytes(static_cast<double>(plan.input_bytes)),
                        FormatBytes(static_cast<double>(plan.file_bytes)), plan.file_bytes);
  return text;
}

std::string ReportText(const ConvertReport& report, const std::string& output) {
  const ConvertPlan& plan = report.plan;
  std::string text = absl::StrFormat("%-14s %-5s %8s %14s %7s %10s  %s\n", "role", "as", "tensors",
                                     "bytes", "share", "error", "worst tensor");
  const uint64_t total = TensorBytes(plan.table);
  for (const RoleReport& role : report.roles) {
    absl::StrAppend(&text, RoleLine(role, total));
    if (role.worst.empty()) {
      absl::StrAppendFormat(&text, " %10s\n", "exact");
    } else {
      absl::StrAppendFormat(&text, " %9.4f%%  %s (%.4f%%)\n", 100 * role.error.RelativeRms(),
                            role.worst, 100 * role.worst_rms);
    }
  }
  absl::StrAppendFormat(
      &text, "\n%s: %s, %d tensors, %s (%d bytes) in %.1f s, %s/s\n", output, plan.recipe.name,
      plan.table.size(), FormatBytes(static_cast<double>(plan.file_bytes)), plan.file_bytes,
      report.seconds,
      FormatBytes(report.seconds > 0 ? static_cast<double>(plan.input_bytes) / report.seconds : 0));
  return text;
}

std::string PlanJson(const ConvertPlan& plan) {
  Json json = {{"format", plan.recipe.name}};
  Json& tensors = json["tensors"] = Json::array();
  for (const TensorSpec& spec : plan.table) {
    tensors.push_back({{"name", spec.name},
                       {"role", Name(spec.role)},
                       {"format", Name(spec.format)},
                       {"rows", spec.rows},
                       {"cols", spec.cols},
                       {"bytes", spec.bytes}});
  }
  json["blobs"] = BlobsJson(plan);
  Json& roles = json["roles"] = Json::array();
  for (const RoleReport& role : SummarizeRoles(plan.table)) roles.push_back(RoleJson(role));
  AddTotals(plan, json);
  json["notes"] = plan.notes;
  return Dump(json);
}

std::string ReportJson(const ConvertReport& report, const std::string& output) {
  const ConvertPlan& plan = report.plan;
  Json json = {{"output", output}, {"format", plan.recipe.name}, {"tensors", plan.table.size()}};
  json["blobs"] = BlobsJson(plan);
  Json& roles = json["roles"] = Json::array();
  for (const RoleReport& role : report.roles) {
    Json& r = roles.emplace_back(RoleJson(role));
    r["relative_rms_error"] = role.worst.empty() ? 0.0 : role.error.RelativeRms();
    r["worst_tensor"] = role.worst;
    r["worst_relative_rms_error"] = role.worst_rms;
  }
  AddTotals(plan, json);
  json["seconds"] = report.seconds;
  json["notes"] = plan.notes;
  return Dump(json);
}

}  // namespace rill
