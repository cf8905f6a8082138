// chat.cc — a conversation in a terminal: chat MODEL.rill. Each turn feeds only what is new; the
// session holds the rest.
#include <cstdio>
#include <iostream>
#include <rill/rill.hpp>
#include <string>

namespace {

// A string as JSON. Bytes over 0x7f go through as they are: the terminal's UTF-8.
std::string Quote(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      json += code;
    } else {
      json += c;
    }
  }
  return json + "\"";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: chat MODEL.rill\n";
    return 2;
  }
  try {
    const rill::Model model(argv[1]);
    rill::Session session(model);
    auto params = rill::params<rill_gen_params>();
    params.temperature = 0.7f;
    params.top_p = 0.95f;
    params.max_tokens = 512;
    std::string line;
    while (std::cout << "> " << std::flush && std::getline(std::cin, line)) {
      const std::string message = R"([{"role": "user", "content": )" + Quote(line) + "}]";
      session.append(model.chat_after(session.last_token(), message));
      for (const rill::Event& event : session.generate(params))
        std::cout << event.text << std::flush;
      std::cout << '\n';
    }
    std::cout << '\n';
  } catch (const rill::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
