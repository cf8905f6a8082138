#include "interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace rill_chat {
namespace {

// Atomic, because the system may run a handler on any thread that the library has.
std::atomic<bool> interrupted{false}, terminated{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a handler may not wait");

// Every signal leaves a byte here. A wait looks at both ends at once, so there is no moment between
// a look at the flag and the wait in which a signal could come and be missed.
int wake_pipe[2] = {-1, -1};

void Handle(int signal) {
  const int saved = errno;
  (signal == SIGTERM ? terminated : interrupted) = true;
  const char byte = 0;
  const ssize_t written = write(wake_pipe[1], &byte, 1);  // a full pipe wakes as well
  static_cast<void>(written);
  errno = saved;
}

bool OpenWakePipe() {
  if (pipe(wake_pipe) != 0) return false;
  for (const int fd : wake_pipe) {
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return false;
  }
  return true;
}

}  // namespace

bool CatchInterrupts() {
  if (!OpenWakePipe()) return false;
  struct sigaction action = {};
  action.sa_handler = Handle;
  sigemptyset(&action.sa_mask);  // and no SA_RESTART: a blocked write to stdout has to hear of it
  return sigaction(SIGINT, &action, nullptr) == 0 && sigaction(SIGTERM, &action, nullptr) == 0;
}

bool Interrupted() { return interrupted || terminated; }
bool Terminated() { return terminated; }

void ForgetInterrupt() {
  char bytes[64];
  while (read(wake_pipe[0], bytes, sizeof bytes) > 0) {
  }
  interrupted = false;
}

bool WaitForInput(int fd) {
  pollfd ready[] = {{fd, POLLIN, 0}, {wake_pipe[0], POLLIN, 0}};
  while (!Interrupted()) {
    if (poll(ready, 2, -1) <= 0) continue;
    return ready[1].revents == 0;
  }
  return false;
}

}  // namespace rill_chat
