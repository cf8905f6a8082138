#include <rill/rill.h>
#include <stdio.h>

static int32_t print(void *to, const rill_event *event) {
  return fwrite(event->text, 1, event->text_len, to) != event->text_len || fflush(to);
}

int main(int argc, char **argv) {
  const char chat[] = "[{\"role\": \"user\", \"content\": \"Hello! Who are you?\"}]";
  int32_t ids[256];
  size_t n = 0;
  rill_model *model = NULL;
  rill_session *session = NULL;
  if (argc != 2) return fputs("usage: hello_stream MODEL.rill\n", stderr), 1;
  rill_status bad = rill_model_open(argv[1], strlen(argv[1]), NULL, &model);
  if (!bad) bad = rill_session_create(model, NULL, &session);
  if (!bad) bad = rill_chat_render(model, chat, strlen(chat), "", 0, RILL_CHAT_OPEN_REPLY, ids, 256, &n);
  if (!bad) bad = rill_session_append(session, ids, n, NULL, NULL);
  if (!bad) bad = rill_generate(session, NULL, print, stdout, NULL);
  char why[512] = "ok";
  if (bad) rill_last_error(why, sizeof why), fprintf(stderr, "%s\n", why);
  return rill_session_close(session) || rill_model_release(model) || bad;
}
