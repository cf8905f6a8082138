// Runs a fuzz target without libFuzzer: every file of the folders that are named, and for each a
// few hundred mutations from a printed seed.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace {

constexpr int kMutations = 300;

rill::test::Random& Lots() {
  static rill::test::Random random;
  return random;
}

void Run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

std::string Mutated(const std::string& bytes) {
  std::string copy = bytes;
  copy.resize(bytes.size() + 4096);
  auto* data = reinterpret_cast<uint8_t*>(copy.data());
  copy.resize(LLVMFuzzerCustomMutator(data, bytes.size(), copy.size(),
                                      static_cast<unsigned int>(Lots().Bits())));
  return copy;
}

}  // namespace

size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size) {
  auto& random = Lots();
  const int64_t changes = random.Int(1, 4);
  for (int64_t i = 0; i < changes && size > 0; ++i) {
    const auto at = static_cast<size_t>(random.Int(0, static_cast<int64_t>(size) - 1));
    const size_t left = size - at;
    switch (random.Int(0, 5)) {
      case 0:
        data[at] ^= static_cast<uint8_t>(1 << random.Int(0, 7));
        break;
      case 1:
        data[at] = static_cast<uint8_t>(random.Bits());
        break;
      case 2: {  // a word that breaks arithmetic
        const uint64_t words[] = {0, 1, 0x7fffffff, 0xffffffff, ~uint64_t{0}, uint64_t{1} << 63};
        std::memcpy(data + at, &words[random.Int(0, 5)], std::min<size_t>(8, left));
        break;
      }
      case 3: {  // a part over another
        const auto from = static_cast<size_t>(random.Int(0, static_cast<int64_t>(size) - 1));
        const auto n = static_cast<size_t>(random.Int(1, 4096));
        std::memmove(data + at, data + from, std::min({n, left, size - from}));
        break;
      }
      case 4:
        if (random.Int(0, 7) == 0) size = at;
        break;
      default: {
        const auto more = static_cast<size_t>(random.Int(0, static_cast<int64_t>(max_size - size)));
        if (random.Int(0, 7) == 0) {
          std::memset(data + size, static_cast<int>(random.Int(0, 1)), more);
          size += more;
        }
      }
    }
  }
  return size;
}

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      const std::string bytes = rill::test::ReadFile(entry.path().string());
      ++files;
      Run(bytes);
      for (int k = 0; k < kMutations; ++k) Run(Mutated(bytes));
    }
  }
  std::printf("%d files, %d mutations of each\n", files, kMutations);
  return files > 0 ? 0 : 1;
}
