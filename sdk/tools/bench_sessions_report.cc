#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/ops/mla_cache.h"
#include "model/convert/progress.h"
#include "nlohmann/json.hpp"
#include "sdk/tools/bench_sessions.h"

namespace rill::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kColdGoalContext = 32768;

std::string Bytes(double bytes) { return FormatBytes(bytes); }
std::string Bytes(uint64_t bytes) { return FormatBytes(static_cast<double>(bytes)); }

// "812 us", "43.1 ms", "2.31 s", "640 s"
std::string Time(double seconds) {
  if (seconds < 1e-3) return absl::StrFormat("%.0f us", 1e6 * seconds);
  if (seconds < 1) return absl::StrFormat("%.*f ms", seconds < 0.1 ? 2 : 1, 1e3 * seconds);
  return absl::StrFormat("%.*f s", seconds < 100 ? 2 : 0, seconds);
}

std::string Time(const Spread& s) {
  if (s.least == s.most) return Time(s.median);
  return absl::StrFormat("%s (%s to %s)", Time(s.median), Time(s.least), Time(s.most));
}

std::string Time(const Measured& m) {
  return absl::StrCat(Time(m.seconds), m.projected ? " projected" : "");
}

std::string Line(const std::string& name, const std::string& value) {
  return absl::StrFormat("    %-26s %s\n", name, value);
}

const char* Verdict(bool met) { return met ? "met" : "missed"; }

double LoadGoal(const FirstToken& t) { return kGoalLoadFactor * t.warm.median + kGoalLoadExtra; }

uint64_t BesideSlot(const WriteReport& r) { return r.total - r.state; }

double ColdRatio(const FirstToken& t) { return t.cold.seconds.median / t.load.median; }
double ProvedColdRatio(const FirstToken& t) { return t.cold_at_least / t.load.median; }

// What a fork has of its own for every token and page: an id; an address and a reference.
uint64_t ForkTables(const SessionsPoint& p) {
  const auto tokens = static_cast<uint64_t>(p.context);
  return sizeof(int32_t) * tokens + 2 * sizeof(void*) * (tokens / uint64_t{kPageTokens} + 1);
}

double ForkGoalBytes(const SessionsPoint& p) {
  return kGoalForkBytes + static_cast<double>(ForkTables(p));
}

std::string LoadText(const Spread& turn, const FirstToken& t) {
  return absl::StrCat(Time(turn), "  goal ", Time(LoadGoal(t)), " ",
                      Verdict(turn.median <= LoadGoal(t)));
}

// ", 1112 x load  goal 100 met"; what misses the goal is `otherwise`.
std::string RatioText(double ratio, const SessionsPoint& p, const char* otherwise) {
  std::string text = absl::StrFormat(", %.0f x load", ratio);
  if (p.context >= kColdGoalContext) {
    absl::StrAppendFormat(&text, "  goal %.0f %s", kGoalColdRatio,
                          ratio >= kGoalColdRatio ? "met" : otherwise);
  }
  return text;
}

// What is projected is said again from below, by what was measured.
std::string ColdText(const SessionsPoint& p) {
  const FirstToken& t = p.first_token;
  std::string text = Line("cold", absl::StrCat(Time(t.cold), RatioText(ColdRatio(t), p, "missed")));
  if (!t.cold.projected || t.cold_tokens == 0) return text;
  return text +
         Line("cold at least",
              absl::StrFormat("%s for its first %d tokens%s", Time(t.cold_at_least), t.cold_tokens,
                              RatioText(ProvedColdRatio(t), p, "not proved by this")));
}

std::string FirstTokenText(const SessionsPoint& p) {
  const FirstToken& t = p.first_token;
  return absl::StrCat(
      absl::StrFormat("  first token of a turn of %d tokens\n", kTurnTokens),
      Line("warm", Time(t.warm)), Line("load, checked", LoadText(t.load, t)),
      Line("load, lazy", LoadText(t.lazy_load, t)),
      Line("load, lazy, not cached", LoadText(t.disk_load, t)), ColdText(p),
      Line("prefill here", absl::StrFormat("%.2f tok/s", 1 / p.prefill_seconds_per_token)));
}

std::string FileText(const SessionsPoint& p) {
  const double rate = static_cast<double>(p.file_bytes) / p.save.median;
  return absl::StrCat(
      "  file\n",
      Line("full save",
           absl::StrCat(Bytes(p.file_bytes), ", ", Time(p.save), ", ", Bytes(rate), "/s")),
      Line("load, checked", Time(p.load.checked)), Line("load, lazy", Time(p.load.lazy)),
      Line("load, lazy, not cached", Time(p.load.disk)));
}

std::string FlushText(const SessionsPoint& p, bool goals) {
  const WriteReport& r = p.flush.bytes;
  const uint64_t records = r.pages + r.tokens + r.generation_state + r.user_blob + r.rungs +
                           r.ring + r.directory + r.state;
  std::string beside = Bytes(BesideSlot(r));
  if (goals)
    absl::StrAppend(&beside, "  goal ", Bytes(kGoalFlushBytes), " ",
                    Verdict(static_cast<double>(BesideSlot(r)) < kGoalFlushBytes));
  return absl::StrCat(
      absl::StrFormat("  flush of a turn of %d tokens\n", kFlushTokens),
      Line("written",
           absl::StrFormat("%s: pages %s, tokens %s, state slot %s, tables %s, padding %s",
                           Bytes(r.total), Bytes(r.pages), Bytes(r.tokens), Bytes(r.state),
                           Bytes(r.directory), Bytes(r.total - records))),
      Line("beside the state slot", beside), Line("durability none", Time(p.flush.none)),
      Line("durability data", Time(p.flush.data)), Line("durability full", Time(p.flush.full)));
}

std::string ForkText(const SessionsPoint& p, bool goals) {
  const ForkCost& f = p.fork;
  std::string seconds = Time(f.seconds), bytes = Bytes(f.resident);
  if (goals) {
    absl::StrAppend(&seconds, "  goal ", Time(kGoalForkSeconds), " ",
                    Verdict(f.seconds.median < kGoalForkSeconds));
    absl::StrAppend(&bytes, "  goal ", Bytes(ForkGoalBytes(p)), " ",
                    Verdict(static_cast<double>(f.resident) <= ForkGoalBytes(p)));
  }
  return absl::StrCat("  branch\n", Line("fork", seconds), Line("memory of a fork", bytes),
                      Line("after its first step", Bytes(f.resident_stepped)),
                      Line("promised to it", Bytes(f.reserved)), Line("snapshot", Time(p.snapshot)),
                      Line("restore", Time(p.restore)));
}

std::string RewindText(const SessionsPoint& p) {
  std::string text = "  rewind\n" + Line("1, first after a load", Time(p.first_rewind));
  for (const RewindPoint& r : p.rewinds) {
    text += Line(absl::StrCat(r.back),
                 absl::StrFormat("%s  from %d, replayed %d, recomputed %d", Time(r.time),
                                 r.cost.anchor, r.cost.replayed, r.cost.recomputed));
  }
  return text;
}

std::string MemoryText(const MemoryUse& m) {
  const double ratio = 100 * static_cast<double>(m.peak_reserved) / static_cast<double>(m.planned);
  return absl::StrCat(
      "  memory of a session\n", Line("planned", Bytes(m.planned)),
      Line("allocated, at most",
           absl::StrFormat("%s, %.2f %% of the plan", Bytes(m.peak_reserved), ratio)),
      Line("resident, at most", Bytes(m.peak_resident) + " with what is mapped of the file"));
}

Json SpreadJson(const Spread& s) {
  return {{"median", s.median}, {"least", s.least}, {"most", s.most}};
}

Json MeasuredJson(const Measured& m) {
  Json json = SpreadJson(m.seconds);
  json["projected"] = m.projected;
  return json;
}

Json FirstTokenJson(const FirstToken& t) {
  return {{"warm", SpreadJson(t.warm)},           {"load", SpreadJson(t.load)},
          {"lazy_load", SpreadJson(t.lazy_load)}, {"disk_load", SpreadJson(t.disk_load)},
          {"cold", MeasuredJson(t.cold)},         {"load_goal", LoadGoal(t)},
          {"cold_to_load", ColdRatio(t)},         {"cold_measured_tokens", t.cold_tokens},
          {"cold_at_least", t.cold_at_least},     {"cold_at_least_to_load", ProvedColdRatio(t)}};
}

Json FlushJson(const FlushCost& f) {
  const WriteReport& r = f.bytes;
  return {{"tokens", r.new_tokens},     {"page_bytes", r.pages},
          {"token_bytes", r.tokens},    {"generation_bytes", r.generation_state},
          {"rung_bytes", r.rungs},      {"ring_bytes", r.ring},
          {"state_bytes", r.state},     {"directory_bytes", r.directory},
          {"total_bytes", r.total},     {"bytes_beside_state", BesideSlot(r)},
          {"none", SpreadJson(f.none)}, {"data", SpreadJson(f.data)},
          {"full", SpreadJson(f.full)}};
}

Json ForkJson(const SessionsPoint& p) {
  const ForkCost& f = p.fork;
  return {{"seconds", SpreadJson(f.seconds)},
          {"resident_bytes", f.resident},
          {"table_bytes", ForkTables(p)},
          {"resident_bytes_after_step", f.resident_stepped},
          {"reserved_bytes", f.reserved}};
}

Json RewindJson(const RewindPoint& r) {
  return {{"back", r.back},
          {"anchor", r.cost.anchor},
          {"replayed", r.cost.replayed},
          {"recomputed", r.cost.recomputed},
          {"seconds", MeasuredJson(r.time)}};
}

Json MemoryJson(const MemoryUse& m) {
  return {{"planned_bytes", m.planned},
          {"reserved_bytes", m.reserved},
          {"peak_reserved_bytes", m.peak_reserved},
          {"peak_resident_bytes", m.peak_resident}};
}

Json PointJson(const SessionsPoint& p) {
  Json rewinds = Json::array();
  for (const RewindPoint& r : p.rewinds) rewinds.push_back(RewindJson(r));
  return {{"context", p.context},
          {"synthetic_context", true},
          {"first_token", FirstTokenJson(p.first_token)},
          {"prefill_seconds_per_token", p.prefill_seconds_per_token},
          {"file_bytes", p.file_bytes},
          {"save", SpreadJson(p.save)},
          {"load",
           {{"checked", SpreadJson(p.load.checked)},
            {"lazy", SpreadJson(p.load.lazy)},
            {"disk", SpreadJson(p.load.disk)}}},
          {"flush", FlushJson(p.flush)},
          {"fork", ForkJson(p)},
          {"snapshot", SpreadJson(p.snapshot)},
          {"restore", SpreadJson(p.restore)},
          {"first_rewind", MeasuredJson(p.first_rewind)},
          {"rewinds", rewinds},
          {"memory", MemoryJson(p.memory)}};
}

}  // namespace

std::string SessionsText(const SessionsResult& result) {
  std::string text = absl::StrFormat(
      "%s, %s, weights %s\n%s; %s, %d threads\n"
      "synthetic context: a real prefill of %d tokens, then random ids and cache rows\n"
      "prefill of an empty session %.2f tok/s\n",
      result.model, result.recipe, Bytes(result.weight_bytes), result.device, result.processor,
      result.threads, result.real_tokens, 1 / result.cold_start.seconds_per_token);
  if (result.processor_time) text += "times are the processor's: waits for disks are not in them\n";
  for (const SessionsPoint& p : result.points) {
    absl::StrAppend(&text, "\ncontext of ", p.context, " tokens\n", FirstTokenText(p), FileText(p),
                    FlushText(p, result.full_shape), ForkText(p, result.full_shape), RewindText(p),
                    MemoryText(p.memory));
  }
  return text;
}

std::string SessionsJson(const SessionsResult& result) {
  Json json{{"model", result.model},
            {"recipe", result.recipe},
            {"device", result.device},
            {"processor", result.processor},
            {"threads", result.threads},
            {"weight_bytes", result.weight_bytes},
            {"processor_time", result.processor_time},
            {"real_tokens", result.real_tokens},
            {"empty_prefill_seconds_per_token", result.cold_start.seconds_per_token},
            {"points", Json::array()}};
  for (const SessionsPoint& p : result.points) json["points"].push_back(PointJson(p));
  return json.dump(2) + "\n";
}

}  // namespace rill::tools
