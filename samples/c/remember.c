/* remember.c - a conversation that outlives the program: remember MODEL.rill FILE.rillstate */
#include <rill/rill.h>
#include <stdio.h>

static int32_t print(void *ud, const rill_event *event) {
  (void)ud;
  fwrite(event->text, 1, event->text_len, stdout);
  return fflush(stdout);
}

/* The saved session, or a new one where there is no file yet. */
static rill_status come_back(rill_model *model, const char *path, rill_session **session) {
  const rill_status status = rill_session_load(model, path, strlen(path), NULL, session, NULL);
  return status == RILL_E_IO ? rill_session_create(model, NULL, session) : status;
}

static rill_status ask(rill_model *model, rill_session *session, const char *chat) {
  int32_t ids[256], last = -1;
  size_t n = 0;
  const uint64_t length = rill_session_length(session);
  rill_gen_params params;
  rill_status status = RILL_OK;
  RILL_INIT(params);
  params.max_tokens = 64;
  if (length > 0) status = rill_session_tokens(session, length - 1, &last, 1, &n);
  if (status == RILL_OK)
    status = rill_chat_append(model, last, chat, strlen(chat), RILL_CHAT_OPEN_REPLY, ids, 256, &n);
  if (status == RILL_OK) status = rill_session_append(session, ids, n, NULL, NULL);
  return status == RILL_OK ? rill_generate(session, &params, print, NULL, NULL) : status;
}

int main(int argc, char **argv) {
  const char *chat = "[{\"role\": \"user\", \"content\": \"Go on.\"}]";
  rill_model *model = NULL;
  rill_session *session = NULL;
  if (argc == 3 && rill_model_open(argv[1], strlen(argv[1]), NULL, &model) == RILL_OK &&
      come_back(model, argv[2], &session) == RILL_OK && ask(model, session, chat) == RILL_OK &&
      rill_session_save(session, argv[2], strlen(argv[2]), NULL, NULL) == RILL_OK) {
    rill_session_close(session);
    return rill_model_release(model);
  }
  char why[512] = "usage: remember MODEL.rill FILE.rillstate";
  if (argc == 3) rill_last_error(why, sizeof why);
  fprintf(stderr, "%s\n", why);
  return 1;
}
