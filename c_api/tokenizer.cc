#include "model/tokenizer/tokenizer.h"

#include <cstring>
#include <string>

#include "c_api/objects.h"
#include "c_api/structs.h"
#include "model/tokenizer/chat.h"
#include "model/tokenizer/utf8_stream.h"

namespace rill::capi {
namespace {

// Keeps the model alive while its tokenizer is used.
struct TokenizerRef {
  std::shared_ptr<ModelObject> object;
  const Tokenizer& operator*() const { return *object->model->tokenizer(); }
  const Tokenizer* operator->() const { return object->model->tokenizer(); }
};

rill_status FindTokenizer(const rill_model* handle, TokenizerRef* tokenizer) {
  RILL_C_TRY(FindModel(handle, &tokenizer->object));
  if (tokenizer->object->model->tokenizer() != nullptr) return RILL_OK;
  return Fail(RILL_E_UNSUPPORTED, "the model file has no tokenizer");
}

// Starts an answer: nothing yet, into a buffer that can be.
template <typename T>
rill_status StartBuffer(const T* buf, size_t cap, size_t* count) {
  RILL_C_TRY(NeedOut("count", count));
  *count = 0;
  return CheckSpan("buffer", buf, cap, sizeof(T));
}

using Ids = absl::StatusOr<std::vector<int32_t>>;

rill_status GiveIds(const Ids& made, int32_t* ids, size_t cap, size_t* count) {
  if (!made.ok()) return Answer(made.status(), Origin::kArgs);
  return FillBuffer(made->data(), made->size(), ids, cap, count);
}

rill_status Tokenize(const rill_model* model, const char* utf8, size_t len, uint32_t flags,
                     int32_t* ids, size_t cap, size_t* count) {
  RILL_C_TRY(StartBuffer(ids, cap, count));
  std::string_view text;
  RILL_C_TRY(CheckText("utf8", utf8, len, &text));
  RILL_C_TRY(CheckFlags(flags, RILL_TOKENIZE_SPECIAL));
  TokenizerRef tokenizer;
  RILL_C_TRY(FindTokenizer(model, &tokenizer));
  const EncodeMode mode =
      (flags & RILL_TOKENIZE_SPECIAL) != 0 ? EncodeMode::kAllowSpecial : EncodeMode::kContent;
  return GiveIds(tokenizer->Encode(text, mode), ids, cap, count);
}

rill_status DetokPiece(const rill_model* model, int32_t id, char* buf, size_t cap, size_t* len) {
  RILL_C_TRY(StartBuffer(buf, cap, len));
  TokenizerRef tokenizer;
  RILL_C_TRY(FindTokenizer(model, &tokenizer));
  const auto bytes = tokenizer->TokenBytes(id);
  if (!bytes.ok()) return Answer(bytes.status(), Origin::kArgs);
  return FillBuffer(bytes->data(), bytes->size(), buf, cap, len);
}

rill_status ResumeStream(const rill_utf8* state, Utf8Stream* stream) {
  if (state->n > sizeof state->pending) {
    return Fail(RILL_E_ARG, absl::StrCat("stream: ", state->n, " pending bytes cannot be"));
  }
  auto resumed = Utf8Stream::FromPending({reinterpret_cast<const char*>(state->pending), state->n});
  if (!resumed.ok()) return Answer(resumed.status(), Origin::kArgs);
  *stream = *resumed;
  return RILL_OK;
}

rill_status PushToken(const Tokenizer& tokenizer, int32_t id, Utf8Stream* stream,
                      std::string* text) {
  if (id == -1) {
    stream->Flush(text);
    return RILL_OK;
  }
  const auto bytes = tokenizer.TokenBytes(id);
  if (!bytes.ok()) return Answer(bytes.status(), Origin::kArgs);
  if (!tokenizer.IsSpecial(id)) stream->Push(*bytes, text);
  return RILL_OK;
}

rill_status DetokPush(const rill_model* model, rill_utf8* state, int32_t id, char* buf, size_t cap,
                      size_t* len) {
  RILL_C_TRY(StartBuffer(buf, cap, len));
  RILL_C_TRY(NeedOut("stream", state));
  TokenizerRef tokenizer;
  RILL_C_TRY(FindTokenizer(model, &tokenizer));
  Utf8Stream stream;
  RILL_C_TRY(ResumeStream(state, &stream));
  std::string text;
  RILL_C_TRY(PushToken(*tokenizer, id, &stream, &text));
  RILL_C_TRY(FillBuffer(text.data(), text.size(), buf, cap, len));
  if (cap == 0 && !text.empty()) return RILL_OK;  // only asked
  *state = rill_utf8{};
  state->n = static_cast<uint32_t>(stream.pending().size());
  std::memcpy(state->pending, stream.pending().data(), stream.pending().size());
  return RILL_OK;
}

ChatEnd EndOf(uint32_t flags) {
  return (flags & RILL_CHAT_OPEN_REPLY) != 0 ? ChatEnd::kOpenReply : ChatEnd::kComplete;
}

rill_status ChatRender(const rill_model* model, std::string_view messages, std::string_view tools,
                       uint32_t flags, int32_t* ids, size_t cap, size_t* count) {
  RILL_C_TRY(CheckFlags(flags, RILL_CHAT_OPEN_REPLY));
  TokenizerRef tokenizer;
  RILL_C_TRY(FindTokenizer(model, &tokenizer));
  return GiveIds(RenderChat(*tokenizer, messages, tools, EndOf(flags)), ids, cap, count);
}

rill_status ChatAppend(const rill_model* model, int32_t last_id, std::string_view messages,
                       uint32_t flags, int32_t* ids, size_t cap, size_t* count) {
  RILL_C_TRY(CheckFlags(flags, RILL_CHAT_OPEN_REPLY));
  TokenizerRef tokenizer;
  RILL_C_TRY(FindTokenizer(model, &tokenizer));
  if (last_id < -1 || last_id >= tokenizer->vocab_size()) {
    return Fail(RILL_E_ARG,
                absl::StrCat("last_id ", last_id, " is outside -1..", tokenizer->vocab_size() - 1));
  }
  return GiveIds(AppendMessages(*tokenizer, last_id, messages, EndOf(flags)), ids, cap, count);
}

}  // namespace
}  // namespace rill::capi

using namespace rill::capi;  // the entry points below: checks of their arguments, then the call

rill_status rill_tokenize(const rill_model* model, const char* utf8, size_t len, uint32_t flags,
                          int32_t* ids, size_t cap, size_t* count) {
  return Guard(__func__, [&] { return Tokenize(model, utf8, len, flags, ids, cap, count); });
}

rill_status rill_detok_piece(const rill_model* model, int32_t id, char* buf, size_t cap,
                             size_t* len) {
  return Guard(__func__, [&] { return DetokPiece(model, id, buf, cap, len); });
}

rill_status rill_detok_push(const rill_model* model, rill_utf8* stream, int32_t id, char* buf,
                            size_t cap, size_t* len) {
  return Guard(__func__, [&] { return DetokPush(model, stream, id, buf, cap, len); });
}

rill_status rill_chat_render(const rill_model* model, const char* messages_json,
                             size_t messages_len, const char* tools_json, size_t tools_len,
                             uint32_t flags, int32_t* ids, size_t cap, size_t* count) {
  return Guard(__func__, [&]() -> rill_status {
    RILL_C_TRY(StartBuffer(ids, cap, count));
    std::string_view messages, tools;
    RILL_C_TRY(CheckText("messages_json", messages_json, messages_len, &messages));
    RILL_C_TRY(CheckText("tools_json", tools_json, tools_len, &tools));
    return ChatRender(model, messages, tools, flags, ids, cap, count);
  });
}

rill_status rill_chat_append(const rill_model* model, int32_t last_id, const char* messages_json,
                             size_t messages_len, uint32_t flags, int32_t* ids, size_t cap,
                             size_t* count) {
  return Guard(__func__, [&]() -> rill_status {
    RILL_C_TRY(StartBuffer(ids, cap, count));
    std::string_view messages;
    RILL_C_TRY(CheckText("messages_json", messages_json, messages_len, &messages));
    return ChatAppend(model, last_id, messages, flags, ids, cap, count);
  });
}
