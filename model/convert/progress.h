// model/convert/progress.h — how far a long piece of work is, for tools: a bar on a terminal, a
// line per tenth in a pipe.
//
//   convert  42% [========            ]  41.2 GB of 98.2 GB  812 MB/s  1m10s left
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "kernels/base/clock.h"

namespace rill {

class ProgressBar {  // One caller at a time.
 public:
  enum class Style { kAuto, kBar, kLines };  // kAuto: a bar when `out` is a terminal

  // Borrows `out` and `clock`. The unit "B" is shown as kB, MB, GB; any other one is counted as it
  // is ("tokens"). Nothing is printed before the first Update.
  ProgressBar(FILE* out, std::string label, std::string unit, Style style = Style::kAuto,
              Clock* clock = Clock::Steady());
  ~ProgressBar();  // Finish()
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Cheap to call often: a bar is drawn ten times a second at most, a line at every tenth of
  // `total`.
  void Update(uint64_t done, uint64_t total);

  // Ends the line, so that what is printed next starts on its own. Updates after it start a new
  // one.
  void Finish();

 private:
  void Draw(int64_t now, uint64_t done, uint64_t total);
  std::string Text(int64_t now, uint64_t done, uint64_t total) const;

  FILE* out_;
  std::string label_, unit_;
  bool bar_;
  Clock* clock_;
  int64_t started_ = -1, drawn_ = 0;
  int tenths_ = -1;   // of the last line
  size_t width_ = 0;  // of the bar's line as last drawn
};

// "812 kB", "4.60 MB", "98.2 GB" (decimal). "59s", "1m10s", "2h05m".
std::string FormatBytes(double bytes);
std::string FormatSeconds(double seconds);

}  // namespace rill
