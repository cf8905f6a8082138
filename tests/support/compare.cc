#include "tests/support/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernels/base/dtype.h"

namespace rill::test {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

// The element that passes its own limit by the largest factor decides.
template <typename Want, typename Limit>
AssertionResult CompareAll(absl::Span<const float> got, absl::Span<const Want> want, Limit limit) {
  if (got.size() != want.size())
    return AssertionFailure() << got.size() << " values, expected " << want.size();
  int64_t worst = -1, n_bad = 0;
  double worst_excess = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    const bool same_infinity =
        std::isinf(got[i]) && static_cast<double>(got[i]) == static_cast<double>(want[i]);
    if (error <= limit(want[i]) || same_infinity) continue;
    ++n_bad;
    const double excess =
        std::isnan(error) ? std::numeric_limits<double>::infinity() : error / limit(want[i]);
    if (worst < 0 || excess > worst_excess) {
      worst = static_cast<int64_t>(i);
      worst_excess = excess;
    }
  }
  if (worst < 0) return AssertionSuccess();
  return AssertionFailure() << n_bad << " of " << got.size() << " values differ, worst at ["
                            << worst << "]: got " << got[worst] << ", expected " << want[worst]
                            << ", " << worst_excess << " times the limit of " << limit(want[worst]);
}

template <typename Want>
double Largest(absl::Span<const Want> values) {
  double largest = 0;
  for (const Want& v : values) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  return largest;
}

}  // namespace

AssertionResult Close(absl::Span<const float> got, absl::Span<const double> want, double tolerance,
                      double terms) {
  const double limit = tolerance * std::max(Largest(want), terms) + 1e-37;
  return CompareAll(got, want, [&](double) { return limit; });
}

AssertionResult Close(absl::Span<const float> got, absl::Span<const float> want, double tolerance,
                      double terms) {
  const double limit = tolerance * std::max(Largest(want), terms) + 1e-37;
  return CompareAll(got, want, [&](double) { return limit; });
}

AssertionResult CloseEach(absl::Span<const float> got, absl::Span<const double> want,
                          double relative, double absolute) {
  return CompareAll(got, want, [&](double w) { return relative * std::fabs(w) + absolute; });
}

AssertionResult SameBits(absl::Span<const float> got, absl::Span<const float> want) {
  if (got.size() != want.size())
    return AssertionFailure() << got.size() << " values, expected " << want.size();
  for (size_t i = 0; i < got.size(); ++i) {
    if (FloatToBits(got[i]) == FloatToBits(want[i])) continue;
    return AssertionFailure() << "bits differ first at [" << i << "] of " << got.size() << ": got "
                              << got[i] << ", expected " << want[i] << ", "
                              << UlpDistance(got[i], want[i]) << " ulp apart";
  }
  return AssertionSuccess();
}

int64_t UlpDistance(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<int64_t>::max();
  const auto ordered = [](float x) {
    const int32_t bits = static_cast<int32_t>(FloatToBits(x));
    return bits < 0 ? int64_t{std::numeric_limits<int32_t>::min()} - bits : int64_t{bits};
  };
  return std::llabs(ordered(a) - ordered(b));
}

}  // namespace rill::test
