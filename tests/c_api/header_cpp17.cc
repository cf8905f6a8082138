// Compiled as C++17, pedantic, warnings as errors: both headers alone, the C++ one used.
#include <rill/rill.hpp>

int HeaderCpp17(const char* path);
int HeaderCpp17(const char* path) {
  const rill::Model model(path);
  rill::Session session(model);
  session.append(model.tokenize("x"));
  int n = 0;
  for (const rill::Event& event : session.generate()) n += event.is_end ? 0 : 1;
  session.mark(1);
  const rill::Snapshot snapshot = session.snapshot();
  rill::Session fork = session.fork();
  fork.resume().next();
  fork.rewind(session.sync({1, 2}).common, RILL_REWIND_ONLY_CHEAP);
  fork.restore(snapshot);
  session.unmark(1);
  session.set_user("u");
  session.attach("a");
  session.flush();
  session.detach();
  session.hibernate("b");
  if (session.asleep()) session.wake();
  std::string bytes;
  session.write([&](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
  });
  fork = rill::Session::read(
      model, bytes.size(), [&](std::uint64_t offset, void* data, std::size_t size) {
        bytes.copy(static_cast<char*>(data), size, static_cast<std::size_t>(offset));
      });
  fork = rill::Session::load(model, "b");
  rill::verify("b");
  rill::compact("b", "c");
  n += static_cast<int>(rill::inspect("b").tokens + rill::diff("b", "c").common_tokens);
  return n + static_cast<int>(session.checkpoints().size() + session.rewind_cost(0).anchor);
}
