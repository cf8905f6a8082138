#include "model/convert/progress.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace rill {
namespace {

constexpr int64_t kRedrawNanos = 100'000'000;
constexpr size_t kBarCells = 20;
constexpr int64_t kRateNanos = 500'000'000;  // a rate over less than this says nothing

double Fraction(uint64_t done, uint64_t total) {
  return total == 0 ? 1 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
}

std::string Amount(double n, const std::string& unit) {
  return unit == "B" ? FormatBytes(n) : absl::StrFormat("%.0f %s", n, unit);
}

}  // namespace

std::string FormatBytes(double bytes) {
  if (bytes < 1000) return absl::StrFormat("%.0f B", bytes);
  static constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (bytes /= 1000; bytes >= 999.5 && unit + 1 < std::size(kUnits); bytes /= 1000) ++unit;
  const int digits = bytes < 9.995 ? 2 : bytes < 99.95 ? 1 : 0;
  return absl::StrFormat("%.*f %s", digits, bytes, kUnits[unit]);
}

std::string FormatSeconds(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  if (s < 60) return absl::StrCat(s, "s");
  if (s < 3600) return absl::StrFormat("%dm%02ds", s / 60, s % 60);
  return absl::StrFormat("%dh%02dm", s / 3600, s % 3600 / 60);
}

ProgressBar::ProgressBar(FILE* out, std::string label, std::string unit, Style style, Clock* clock)
    : out_(out),
      label_(std::move(label)),
      unit_(std::move(unit)),
      bar_(style == Style::kBar || (style == Style::kAuto && isatty(fileno(out)))),
      clock_(clock) {}

ProgressBar::~ProgressBar() { Finish(); }

void ProgressBar::Update(uint64_t done, uint64_t total) {
  const int64_t now = clock_->NowNanos();
  const bool first = started_ < 0, last = done >= total;
  if (first) started_ = now;
  if (bar_) {
    if (first || last || now - drawn_ >= kRedrawNanos) Draw(now, done, total);
    return;
  }
  const int tenths = static_cast<int>(10 * Fraction(done, total));
  if (std::exchange(tenths_, tenths) != tenths) Draw(now, done, total);
}

void ProgressBar::Draw(int64_t now, uint64_t done, uint64_t total) {
  drawn_ = now;
  const std::string text = Text(now, done, total);
  if (bar_) {
    const size_t blanks =
        width_ > text.size() ? width_ - text.size() : 0;  // over the rest of a longer line
    absl::FPrintF(out_, "\r%s%s", text, std::string(blanks, ' '));
    width_ = text.size();
  } else {
    absl::FPrintF(out_, "%s\n", text);
  }
  std::fflush(out_);
}

std::string ProgressBar::Text(int64_t now, uint64_t done, uint64_t total) const {
  const double fraction = Fraction(done, total);
  std::string text = absl::StrFormat("%s %3d%%", label_, static_cast<int>(100 * fraction));
  if (bar_) {
    const auto cells = static_cast<size_t>(kBarCells * fraction);
    absl::StrAppend(&text, " [", std::string(cells, '='), std::string(kBarCells - cells, ' '), "]");
  }
  absl::StrAppend(&text, "  ", Amount(static_cast<double>(done), unit_), " of ",
                  Amount(static_cast<double>(total), unit_));
  const int64_t elapsed = now - started_;
  if (elapsed < kRateNanos || done == 0) return text;
  const double rate = static_cast<double>(done) / (1e-9 * static_cast<double>(elapsed));
  absl::StrAppend(&text, "  ", Amount(rate, unit_), "/s");
  if (done < total)
    absl::StrAppend(&text, "  ", FormatSeconds(static_cast<double>(total - done) / rate), " left");
  return text;
}

void ProgressBar::Finish() {
  if (bar_ && started_ >= 0) {
    std::fputc('\n', out_);
    std::fflush(out_);
  }
  started_ = -1;
  tenths_ = -1;
  width_ = 0;
}

}  // namespace rill
