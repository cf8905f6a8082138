// interrupt.h — Ctrl-C as a question that loops ask, not as the end of the program.
#pragma once

namespace rill_chat {

// From now on SIGINT sets a flag and makes a blocked read return; SIGTERM does the same for good.
void CatchInterrupts();

bool Interrupted();
bool Terminated();
void ForgetInterrupt();

}  // namespace rill_chat
