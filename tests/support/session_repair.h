// tests/support/session_repair.h — makes the checksums and hashes of a damaged session file right.
#pragma once

#include <string>

namespace rill::test {

// Header, roots, slots, directories and records, as far as they lie in the file. What the numbers
// say is left as it is: that is what the reader has to judge.
void RepairSessionFile(std::string& bytes);

}  // namespace rill::test
