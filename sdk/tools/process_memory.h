// sdk/tools/process_memory.h — what this process holds of the machine's memory, as the system
// counts it. Zeros where there is no /proc.
#pragma once

#include <cstdint>

namespace rill::tools {

// Resident memory that is no file's: what /proc/self/statm calls resident, less shared.
uint64_t AnonymousBytes();

// All resident memory, mapped files too.
uint64_t ResidentBytes();

// The highest that has been since ResetPeakResident, or since the process began where the system
// does not let a process reset it.
uint64_t PeakResidentBytes();
void ResetPeakResident();

}  // namespace rill::tools
