// c_api/session_gate.h — who is inside a session: one call, or the close that ends them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "c_api/status.h"

namespace rill::capi {

// The session has a gate of its own for one call of it; this one spans a whole C call, callbacks
// and loops of several session calls included, and knows of closing.
class SessionGate {  // Thread-safe.
 public:
  // RILL_E_REENTRANT: this thread is inside. RILL_E_BUSY: another is. RILL_E_CLOSED: closing.
  rill_status Enter() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (inside_ && owner_ == std::this_thread::get_id()) {
      return Fail(RILL_E_REENTRANT, "called from a callback of the same session");
    }
    if (closed_) return Fail(RILL_E_CLOSED, "the session was closed");
    if (inside_) return Fail(RILL_E_BUSY, "the session is in a call on another thread");
    inside_ = true;
    owner_ = std::this_thread::get_id();
    return RILL_OK;
  }
  void Leave() {
    const std::lock_guard<std::mutex> lock(mutex_);
    inside_ = false;
    owner_ = std::thread::id();
    left_.notify_all();
  }
  // Whether this thread is inside, that is in a callback.
  bool IsInside() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return inside_ && owner_ == std::this_thread::get_id();
  }
  bool closed() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return closed_;
  }
  // Lets nobody in any more and waits for the one who is, asking again and again: a call that has
  // just come in may not be listening yet.
  template <typename Cancel>
  void Close(Cancel&& cancel) {
    std::unique_lock<std::mutex> lock(mutex_);
    closed_ = true;
    while (inside_) {
      cancel();
      left_.wait_for(lock, std::chrono::milliseconds(2));
    }
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable left_;
  std::thread::id owner_;
  bool inside_ = false;
  bool closed_ = false;
};

class GateScope {
 public:
  explicit GateScope(SessionGate& gate) : gate_(gate), status_(gate.Enter()) {}
  ~GateScope() {
    if (status_ == RILL_OK) gate_.Leave();
  }
  GateScope(const GateScope&) = delete;
  GateScope& operator=(const GateScope&) = delete;
  rill_status status() const { return status_; }

 private:
  SessionGate& gate_;
  rill_status status_;
};

}  // namespace rill::capi
