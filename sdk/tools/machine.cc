#include "sdk/tools/machine.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "kernels/base/clock.h"
#include "kernels/base/status.h"
#include "kernels/base/thread_pool.h"
#include "kernels/device/buffer.h"

namespace rill::tools {
namespace {

constexpr size_t kBytes = size_t{1} << 30;
constexpr int kPasses = 5;

uint64_t SumWords(const uint64_t* words, int64_t n) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  for (int j = 1; j < 8; ++j) sums[0] += sums[j];
  return sums[0];
}

double BytesPerSecond(size_t bytes, int64_t nanos) {
  return 1e9 * static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(nanos, 1));
}

double ReadRate(ThreadPool& pool, const void* memory) {
  const auto* words = static_cast<const uint64_t*>(memory);
  std::atomic<uint64_t> sum{0};  // used, so that the reads cannot be left out
  const int64_t start = Clock::Steady()->NowNanos();
  pool.For(kBytes / sizeof(uint64_t), 4096,
           [&](int64_t begin, int64_t end, int) { sum += SumWords(words + begin, end - begin); });
  const int64_t nanos = Clock::Steady()->NowNanos() - start;
  return sum == 0 ? 0 : BytesPerSecond(kBytes, nanos);
}

absl::StatusOr<double> CopyRate(Device& device, char* memory) {
  RILL_RETURN_IF_ERROR(device.Synchronize());
  const int64_t start = Clock::Steady()->NowNanos();
  RILL_RETURN_IF_ERROR(device.CopyOn(memory, memory + kBytes / 2, kBytes / 2));
  RILL_RETURN_IF_ERROR(device.Synchronize());
  return BytesPerSecond(kBytes, Clock::Steady()->NowNanos() - start);
}

}  // namespace

absl::StatusOr<Bandwidth> MeasureBandwidth(Device& device) {
  RILL_ASSIGN_OR_RETURN(const Buffer buffer, Buffer::Allocate(device, kBytes));
  RILL_RETURN_IF_ERROR(device.Fill(buffer.data(), 1, kBytes));
  const bool reads = device.is_host() && device.pool() != nullptr;
  Bandwidth result{0, reads ? "streaming read" : "copy, read and written"};
  for (int pass = 0; pass < kPasses; ++pass) {
    double rate = 0;
    if (reads) {
      rate = ReadRate(*device.pool(), buffer.data());
    } else {
      RILL_ASSIGN_OR_RETURN(rate, CopyRate(device, static_cast<char*>(buffer.data())));
    }
    result.bytes_per_second = std::max(result.bytes_per_second, rate);
  }
  return result;
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (absl::StripAsciiWhitespace(field.first) == "model name")
      return std::string(absl::StripAsciiWhitespace(field.second));
  }
  return "unknown processor";
}

}  // namespace rill::tools
