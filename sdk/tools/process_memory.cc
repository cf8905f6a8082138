#include "sdk/tools/process_memory.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace rill::tools {
namespace {

struct Statm {
  uint64_t size = 0, resident = 0, shared = 0;  // bytes
};

Statm ReadStatm() {
  Statm m;
  std::ifstream file("/proc/self/statm");
  if (!(file >> m.size >> m.resident >> m.shared)) return {};
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return {m.size * page, m.resident * page, m.shared * page};
}

}  // namespace

uint64_t AnonymousBytes() {
  const Statm m = ReadStatm();
  return m.resident - m.shared;
}

uint64_t ResidentBytes() { return ReadStatm().resident; }

uint64_t PeakResidentBytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t kilobytes = 0;
    if (words >> name >> kilobytes && name == "VmHWM:") return kilobytes * 1024;
  }
  return 0;
}

void ResetPeakResident() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace rill::tools
