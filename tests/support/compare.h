// tests/support/compare.h — comparisons that say where and by how much: EXPECT_TRUE(Close(got,
// want, 1e-5)).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace rill::test {

// |got - want| <= tolerance * max(max|want|, terms) for every element: the measure of sums, where
// terms cancel. `terms` is their usual size, for results so few that all of them may cancel. NaN
// never fits.
::testing::AssertionResult Close(absl::Span<const float> got, absl::Span<const double> want,
                                 double tolerance, double terms = 0);
::testing::AssertionResult Close(absl::Span<const float> got, absl::Span<const float> want,
                                 double tolerance, double terms = 0);

// |got - want| <= relative * |want| + absolute for every element: the measure of scalar functions.
::testing::AssertionResult CloseEach(absl::Span<const float> got, absl::Span<const double> want,
                                     double relative, double absolute);

// The same float32 bits everywhere; a NaN is equal to the same NaN.
::testing::AssertionResult SameBits(absl::Span<const float> got, absl::Span<const float> want);

// Representable float32 values between a and b; INT64_MAX when one is NaN.
int64_t UlpDistance(float a, float b);

// Index of the first difference, -1 when there is none.
template <typename T>
int64_t FirstDifference(absl::Span<const T> a, absl::Span<const T> b) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (!(a[i] == b[i])) return static_cast<int64_t>(i);
  }
  return a.size() == b.size() ? -1
                              : static_cast<int64_t>(a.size() < b.size() ? a.size() : b.size());
}

}  // namespace rill::test
