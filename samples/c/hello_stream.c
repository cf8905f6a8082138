/* hello_stream.c - the shortest program: hello_stream MODEL.rill */
#include <rill/rill.h>
#include <stdio.h>

static int32_t print(void *ud, const rill_event *event) {
  (void)ud;
  fwrite(event->text, 1, event->text_len, stdout);
  return fflush(stdout);
}

int main(int argc, char **argv) {
  const char *chat = "[{\"role\": \"user\", \"content\": \"Hello! Who are you?\"}]";
  rill_model *model = NULL;
  rill_session *session = NULL;
  int32_t ids[256];
  size_t n = 0;
  rill_gen_params params;
  RILL_INIT(params);
  params.max_tokens = 256;
  if (argc == 2 && rill_model_open(argv[1], strlen(argv[1]), NULL, &model) == RILL_OK &&
      rill_session_create(model, NULL, &session) == RILL_OK &&
      rill_chat_render(model, chat, strlen(chat), NULL, 0, RILL_CHAT_OPEN_REPLY, ids, 256, &n) ==
          RILL_OK &&
      rill_session_append(session, ids, n, NULL, NULL) == RILL_OK &&
      rill_generate(session, &params, print, NULL, NULL) == RILL_OK) {
    rill_session_close(session);
    return rill_model_release(model);
  }
  char why[512] = "usage: hello_stream MODEL.rill";
  if (argc == 2) rill_last_error(why, sizeof why);
  fprintf(stderr, "%s\n", why);
  return 1;
}
