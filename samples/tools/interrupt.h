// interrupt.h — Ctrl-C as a question that loops ask, not as the end of the program.
#pragma once

namespace rill_chat {

// From now on SIGINT raises a flag; SIGTERM does the same for good. False where the system has no
// descriptors left for it: then nothing is caught.
bool CatchInterrupts();

bool Interrupted();
bool Terminated();
void ForgetInterrupt();

// Waits until `fd` has something to read or has come to its end. False when an interrupt was or is
// raised, however close to the beginning of the wait: none is slept through.
bool WaitForInput(int fd);

}  // namespace rill_chat
