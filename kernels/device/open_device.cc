#include <charconv>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "kernels/base/status.h"
#include "kernels/cpu/open_cpu.h"
#include "kernels/cuda/open_cuda.h"
#include "kernels/device/device.h"
#include "kernels/ref/open_ref.h"

namespace rill {
namespace {

absl::Status UnknownDevice(std::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("device \"", absl::string_view(name.data(), name.size()),
                   "\": unknown; the devices are \"ref\", \"cpu\", \"cuda\" and \"cuda:N\""));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> OpenDevice(std::string_view name, int n_threads, int sm_budget) {
  if (n_threads < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("n_threads is ", n_threads, ", expected 0 or more"));
  }
  if (sm_budget != 0 && (name == "ref" || name == "cpu")) {
    return absl::InvalidArgumentError(absl::StrCat("sm_budget is ", sm_budget, ", expected 0 on a host device"));
  }
  if (name == "ref") return OpenRefDevice();
  if (name == "cpu") return OpenCpuDevice(n_threads);
  if (name == "cuda") return OpenCudaDevice(0, sm_budget);
  absl::string_view index(name.data(), name.size());
  if (!absl::ConsumePrefix(&index, "cuda:")) return UnknownDevice(name);
  int number = 0;
  const auto [end, error] = std::from_chars(index.data(), index.data() + index.size(), number);
  if (error != std::errc() || end != index.data() + index.size() || number < 0)
    return UnknownDevice(name);
  return OpenCudaDevice(number, sm_budget);
}

}  // namespace rill
