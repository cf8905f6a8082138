#include "absl/strings/str_format.h"
#include "model/convert/progress.h"
#include "nlohmann/json.hpp"
#include "sdk/tools/bench.h"

namespace rill::tools {
namespace {

using Json = nlohmann::ordered_json;

double PerSecond(const Spread& spread) { return spread.median > 0 ? 1 / spread.median : 0; }

// Of the measured bandwidth that the unavoidable bytes of a step take up.
double Fraction(const BenchResult& result, const BenchPoint& point) {
  return static_cast<double>(point.bytes.total()) * PerSecond(point.decode) /
         result.bandwidth.bytes_per_second;
}

Json SpreadJson(const Spread& spread, uint64_t begin, uint64_t end) {
  return {{"from", begin},
          {"to", end},
          {"tokens_per_second", PerSecond(spread)},
          {"seconds_per_token", spread.median},
          {"least", spread.least},
          {"most", spread.most}};
}

Json PointJson(const BenchResult& result, const BenchPoint& point) {
  Json json{{"context", point.context}};
  if (point.decode_end > point.decode_begin) {
    Json& decode = json["decode"] = SpreadJson(point.decode, point.decode_begin, point.decode_end);
    decode["weight_bytes"] = point.bytes.weights;
    decode["state_bytes"] = point.bytes.state;
    decode["cache_bytes"] = point.bytes.cache;
    decode["bytes_per_token"] = point.bytes.total();
    decode["bandwidth_fraction"] = Fraction(result, point);
  }
  if (point.prefill_end > point.prefill_begin)
    json["prefill"] = SpreadJson(point.prefill, point.prefill_begin, point.prefill_end);
  return json;
}

std::string PointText(const BenchResult& result, const BenchPoint& point) {
  std::string line = absl::StrFormat("%9d", point.context);
  if (point.decode_end > point.decode_begin) {
    absl::StrAppendFormat(
        &line, "  %9.2f  %9.3f  %10s  %5.1f %%", PerSecond(point.decode), 1e3 * point.decode.median,
        FormatBytes(static_cast<double>(point.bytes.total())), 100 * Fraction(result, point));
  } else {
    absl::StrAppendFormat(&line, "  %9s  %9s  %10s  %7s", "-", "-", "-", "-");
  }
  if (point.prefill_end > point.prefill_begin)
    absl::StrAppendFormat(&line, "  %11.2f", PerSecond(point.prefill));
  return line + "\n";
}

}  // namespace

std::string BenchText(const BenchResult& result) {
  std::string text = absl::StrFormat(
      "%s, %s, weights %s, session %s%s\n%s; %s, %d threads; %s %s/s\n\n", result.model,
      result.recipe, FormatBytes(static_cast<double>(result.weight_bytes)),
      FormatBytes(static_cast<double>(result.session_bytes)),
      result.synthetic_context ? ", contexts of random rows" : "", result.device, result.processor,
      result.threads, result.bandwidth.method, FormatBytes(result.bandwidth.bytes_per_second));
  text += "  context     decode   ms/token     B/token     read      prefill\n";
  text += "   tokens      tok/s                          of peak        tok/s\n";
  for (const BenchPoint& point : result.points) text += PointText(result, point);
  return text;
}

std::string BenchJson(const BenchResult& result) {
  Json json{{"model", result.model},
            {"recipe", result.recipe},
            {"device", result.device},
            {"processor", result.processor},
            {"threads", result.threads},
            {"weight_bytes", result.weight_bytes},
            {"session_bytes", result.session_bytes},
            {"bandwidth_bytes_per_second", result.bandwidth.bytes_per_second},
            {"bandwidth_method", result.bandwidth.method},
            {"synthetic_context", result.synthetic_context},
            {"points", Json::array()}};
  for (const BenchPoint& point : result.points) json["points"].push_back(PointJson(result, point));
  return json.dump(2) + "\n";
}

}  // namespace rill::tools
