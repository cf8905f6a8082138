#include "interrupt.h"

#include <signal.h>

namespace rill_chat {
namespace {

volatile sig_atomic_t interrupted = 0;
volatile sig_atomic_t terminated = 0;

void Handle(int signal) {
  interrupted = 1;
  if (signal == SIGTERM) terminated = 1;
}

}  // namespace

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = Handle;
  sigemptyset(
      &action.sa_mask);  // and no SA_RESTART: a prompt that waits for input has to hear of it
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool Interrupted() { return interrupted != 0; }
bool Terminated() { return terminated != 0; }
void ForgetInterrupt() { interrupted = terminated; }

}  // namespace rill_chat
