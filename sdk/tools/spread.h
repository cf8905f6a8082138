// sdk/tools/spread.h — what a few repetitions of a measurement say.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace rill::tools {

// In the unit of what was measured.
struct Spread {
  double median = 0, least = 0, most = 0;
};

// Of at least one value.
inline Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return Spread{(values[n / 2] + values[(n - 1) / 2]) / 2, values.front(), values.back()};
}

}  // namespace rill::tools
