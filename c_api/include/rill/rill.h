/* rill.h - streaming inference of Kimi Linear models on the device they run on.
 *
 * Start here; samples/c/hello_stream.c is the shortest program. A rill_model is loaded once and
 * shared; a rill_session is one timeline of tokens on it; a rill_gen is one reply being produced;
 * a rill_snapshot is a timeline as it was. Everything else is a plain struct or a buffer of yours.
 *
 * Conventions
 *  1. Handles are checked ids, not addresses. NULL, a handle of another kind and a number that
 *     never was a handle are RILL_E_ARG, one that was closed is RILL_E_CLOSED; none is ever
 *     followed. Closing NULL does nothing and is RILL_OK.
 *  2. Every call that can fail returns rill_status. On failure the outputs are zero, the objects
 *     are as before unless the comment says otherwise, and rill_last_error() has the sentence.
 *     RILL_E_NOMEM and RILL_E_INTERNAL can come from any call and are not listed each time.
 *  3. Strings are UTF-8 with a length in bytes; no NUL is needed. A NULL string has length 0.
 *  4. Buffers are yours. "buf, cap, count": *count is the size the whole answer has. With cap 0
 *     only that is asked for (RILL_OK, buf may be NULL); with a cap too small nothing is written,
 *     the answer is RILL_E_ARG and *count says what is needed. Counts are elements, not bytes.
 *  5. Structs begin with struct_size: use RILL_INIT(x) and set what you need. Zero always means
 *     the default, and a NULL params pointer means all defaults. A struct of a newer header works
 *     with an older library as long as the fields it does not know are zero (else
 *     RILL_E_UNSUPPORTED).
 *  6. Threads: a model may be used from any thread. A session, with its generation, has one
 *     caller at a time; a second one gets RILL_E_BUSY. rill_session_cancel, _length, _get_stats
 *     and _close may come from any thread at any time.
 *  7. Callbacks run on the calling thread. Inside one, calls that convention 6 does not allow
 *     from any thread answer RILL_E_REENTRANT for the session that is calling back. A callback
 *     must not throw.
 *  8. A session call that fails or is cancelled leaves the session at its last committed token:
 *     there is no poisoned state. Only RILL_E_DEVICE_LOST is for ever. A session that sleeps is
 *     woken by the call that needs it.
 *  9. No call prints, exits, reads an environment variable, installs a signal handler, or changes
 *     locale, rounding mode or the current directory. Nothing is downloaded.
 *
 * Sizes are bytes, times are nanoseconds, token ids are int32_t, positions and lengths of a
 * session are uint64_t tokens. All functions are since 0.1.
 */
#ifndef RILL_RILL_H_
#define RILL_RILL_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RILL_API __attribute__((visibility("default")))
#else
#define RILL_API
#endif

#define RILL_VERSION_MAJOR 0
#define RILL_VERSION_MINOR 1
#define RILL_VERSION_PATCH 0
#define RILL_ABI_VERSION 0

/* Makes a struct of this header all defaults: rill_gen_params p; RILL_INIT(p); p.top_k = 40; */
#define RILL_INIT(x) (memset(&(x), 0, sizeof(x)), (void)((x).struct_size = (uint32_t)sizeof(x)))

/* ---- status --------------------------------------------------------------------------------- */

typedef int32_t rill_status;

enum { /* numbers never change */
  RILL_OK = 0,
  RILL_E_ARG = 1,             /* an argument; the message names it and its limits */
  RILL_E_NOMEM = 2,           /* host or device memory */
  RILL_E_BUDGET = 3,          /* over a limit that the caller set */
  RILL_E_IO = 4,              /* a file cannot be opened, read or written, or the disk is full */
  RILL_E_CORRUPT = 5,         /* a file is damaged: a checksum or a size does not hold */
  RILL_E_FORMAT_VERSION = 6,  /* a file of another major version */
  RILL_E_MISMATCH = 7,        /* belongs to another model; the message names what differs */
  RILL_E_BUSY = 8,            /* the session is in a call on another thread */
  RILL_E_REENTRANT = 9,       /* called from a callback of the same session */
  RILL_E_CANCELLED = 10,      /* by rill_session_cancel or a callback */
  RILL_E_CONTEXT_FULL = 11,   /* the session's max_tokens */
  RILL_E_UNSUPPORTED = 12,    /* not in this build, on this device, or in this version */
  RILL_E_DEVICE = 13,         /* the device cannot be opened */
  RILL_E_DEVICE_LOST = 14,    /* the device failed; every later call on its model says so again */
  RILL_E_GRAMMAR = 15,        /* kept */
  RILL_E_CLOSED = 16,         /* the handle was closed */
  RILL_E_INTERNAL = 17,       /* a bug in Rill */
  RILL_E_STATE = 18           /* not now: no logits yet, or a generation is open */
};

/* Library version: major << 16 | minor << 8 | patch. Never fails. Any thread. */
RILL_API uint32_t rill_version(void);

/* Version of this interface, RILL_ABI_VERSION of the header the library was built with. While it
 * is 0 it may change with every release; from 1 on, structs and symbols are only ever added. */
RILL_API uint32_t rill_abi_version(void);

/* "RILL_E_ARG" and so on, or "unknown status"; static, NUL-terminated. Any thread. */
RILL_API const char *rill_status_name(rill_status status);

/* The sentence of the last failure on the calling thread; only failures change it. Writes at most
 * cap bytes with the NUL (cut off between characters) and returns the length without it. */
RILL_API size_t rill_last_error(char *buf, size_t cap);

enum { RILL_LOG_DEBUG = 0, RILL_LOG_INFO = 1, RILL_LOG_WARNING = 2, RILL_LOG_ERROR = 3 };

/* component is NUL-terminated, msg has len bytes; both are valid during the call. Any thread may
 * be calling. It must not call rill_set_log. */
typedef void (*rill_log_fn)(void *ud, int32_t level, const char *component, const char *msg,
                            size_t len);

/* Messages of min_level and above go to fn; NULL (the default) drops them. Any thread, any time;
 * when it returns the previous fn is not running and will not be called again. RILL_E_ARG:
 * min_level outside RILL_LOG_DEBUG..RILL_LOG_ERROR. */
RILL_API rill_status rill_set_log(rill_log_fn fn, void *ud, int32_t min_level);

/* Nonzero cancels the call. done counts to total, never back. */
typedef int32_t (*rill_progress_fn)(void *ud, uint64_t done, uint64_t total);

/* ---- handles -------------------------------------------------------------------------------- */

typedef struct rill_model rill_model;
typedef struct rill_session rill_session;
typedef struct rill_gen rill_gen;
typedef struct rill_snapshot rill_snapshot;

/* ---- plan before you pay -------------------------------------------------------------------- */

enum { RILL_MLA_BF16 = 0, RILL_MLA_F32 = 1 };   /* element type of MLA cache rows */
enum { RILL_LOAD_COPY = 0, RILL_LOAD_MAP = 1 }; /* see rill_model_params */
enum { RILL_NO_REWIND_WINDOW = -1 };            /* see rill_session_params */

typedef struct rill_plan_params {
  uint32_t struct_size;
  int32_t load_mode;       /* RILL_LOAD_* */
  const char *device;      /* as in rill_model_params; only its kind matters here */
  size_t device_len;
  uint64_t max_tokens;     /* of each session; 0: 4096 */
  uint32_t prefill_chunk;  /* 0: 256 */
  int32_t mla_dtype;       /* RILL_MLA_* */
  uint32_t sessions;       /* open at the same time; 0: 1 */
  int32_t rewind_window;   /* as in rill_session_params, as the next one */
  uint32_t ladder_slots;
  uint32_t reserved;       /* zero */
  uint64_t host_budget;    /* bytes of host memory there are; 0: no limit */
  uint64_t device_budget;  /* bytes of device memory there are; 0: no limit */
} rill_plan_params;

/* For one session unless the name says otherwise. Host devices have no memory of their own: all
 * is host memory. */
typedef struct rill_plan {
  uint32_t struct_size;
  int32_t fits;              /* 1 when both totals are within their budgets */
  uint64_t file_bytes;       /* of the model file */
  uint64_t weights;          /* the model's own memory, once; 0 when mapped */
  uint64_t weights_mapped;   /* file pages used in place: they count against no budget */
  uint64_t state;            /* KDA states and convolution tails: constant, whatever the context */
  uint64_t shadow;           /* their copy while a prefill pass runs */
  uint64_t cache_per_token;  /* MLA rows, all layers */
  uint64_t cache;            /* MLA rows for max_tokens */
  uint64_t workspace;        /* activations and scratch of one pass */
  uint64_t logits;           /* logits, host copy, sampler */
  uint64_t ledger;           /* token ids */
  uint64_t ring;             /* records of the last tokens: rewind_window */
  uint64_t ladder;           /* checkpoints: ladder_slots states with their logits */
  uint64_t session_total;    /* state + shadow + cache + workspace + logits + ledger + ring +
                                ladder */
  uint64_t total_host;       /* weights and all sessions, host memory */
  uint64_t total_device;     /* weights and all sessions, device memory */
} rill_plan;

/* What a model and its sessions will take, from the file's directory alone: no weight is read, no
 * device is opened. Memory of libraries, drivers and thread stacks is not in it. Any thread.
 * RILL_E_ARG: a parameter, or no Rill model. RILL_E_IO, RILL_E_CORRUPT, RILL_E_FORMAT_VERSION:
 * file. */
RILL_API rill_status rill_plan_compute(const char *model_path, size_t path_len,
                                       const rill_plan_params *params, rill_plan *out);

/* ---- model ---------------------------------------------------------------------------------- */

typedef struct rill_model_params {
  uint32_t struct_size;
  int32_t load_mode;          /* RILL_LOAD_COPY reads the file into memory of its own: what
                                 happens to the file later does no harm. RILL_LOAD_MAP uses its
                                 pages in place (host devices): it must not change while the
                                 model is open. */
  const char *device;         /* "cpu" (default), "ref", "cuda", "cuda:N" */
  size_t device_len;
  int32_t threads;            /* of host devices, with the caller; 0: all there are */
  int32_t skip_verify;        /* 1: do not check the tensors' checksums while they are read */
  int32_t sm_budget;          /* GPU multiprocessors to use, so that others have the rest; 0: all;
                                 on host devices only 0 */
  uint32_t reserved;          /* zero */
  rill_progress_fn progress;  /* bytes of tensors; nonzero cancels: RILL_E_CANCELLED */
  void *progress_ud;
} rill_model_params;

/* Loads a *.rill file. The handle starts with one reference, yours. Any thread. RILL_E_ARG: a
 * parameter, or no Rill model. RILL_E_IO, RILL_E_CORRUPT (names the tensor),
 * RILL_E_FORMAT_VERSION: file. RILL_E_UNSUPPORTED: no such device in this build, or an operator
 * it lacks. RILL_E_DEVICE: no driver or no such GPU. RILL_E_CANCELLED: progress said so. */
RILL_API rill_status rill_model_open(const char *path, size_t path_len,
                                     const rill_model_params *params, rill_model **out);

/* One more or one fewer reference. The last release closes the handle; sessions that are open
 * keep the weights until they are closed. Any thread. RILL_E_ARG, RILL_E_CLOSED. */
RILL_API rill_status rill_model_retain(rill_model *model);
RILL_API rill_status rill_model_release(rill_model *model);

typedef struct rill_model_info {
  uint32_t struct_size;
  int32_t vocab_size;
  int32_t hidden_size;
  int32_t n_layers;
  int32_t n_kda_layers;
  int32_t n_mla_layers;
  int32_t n_experts;             /* routed ones of a layer */
  int32_t experts_per_token;
  int32_t has_tokenizer;         /* 0: text functions answer RILL_E_UNSUPPORTED */
  int32_t n_stop_ids;            /* of stop_ids */
  int32_t stop_ids[4];           /* end a reply: <|im_end|>, [EOS], [EOT] */
  int32_t threads;               /* of the device */
  uint32_t reserved;
  uint64_t max_context;          /* what the model was trained for: advice, not a limit */
  uint64_t weight_bytes;         /* of all tensors, owned or mapped */
  uint64_t device_weight_bytes;  /* of them, memory the model owns */
  char recipe[32];               /* NUL-terminated: "bf16", "q8", "q4" */
  char device[32];               /* "cpu", "cuda:0" */
  char device_description[96];   /* "AVX-512, 2 threads" */
  char numerics[96];             /* equal strings promise equal bits for equal calls */
} rill_model_info;

/* out->struct_size must be set. Any thread. RILL_E_ARG, RILL_E_CLOSED. */
RILL_API rill_status rill_model_get_info(const rill_model *model, rill_model_info *out);

typedef struct rill_fingerprint {
  uint32_t struct_size;
  uint8_t architecture[32]; /* SHA-256 of the shape's meaning */
  uint8_t tokenizer[32];    /* of the tokenizer */
  uint8_t weights[32];      /* of names, formats, shapes and checksums of all tensors */
} rill_fingerprint;

/* What makes this model this model. Any thread. RILL_E_ARG, RILL_E_CLOSED. */
RILL_API rill_status rill_model_fingerprint(const rill_model *model, rill_fingerprint *out);

/* ---- tokenizer and chat: any thread --------------------------------------------------------- */
/* All answer RILL_E_UNSUPPORTED for a model without tokenizer. */

enum { RILL_TOKENIZE_SPECIAL = 1 };

/* The ids of a text; never adds a BOS. Without RILL_TOKENIZE_SPECIAL, text that spells a control
 * token stays text: what a user wrote must never become control. RILL_E_ARG: no UTF-8 (names the
 * byte), an unknown flag, cap too small. */
RILL_API rill_status rill_tokenize(const rill_model *model, const char *utf8, size_t len,
                                   uint32_t flags, int32_t *ids, size_t cap, size_t *count);

/* The raw bytes of one token, which may end inside a character; the name of a special token.
 * RILL_E_ARG: no such id, cap too small. */
RILL_API rill_status rill_detok_piece(const rill_model *model, int32_t id, char *buf, size_t cap,
                                      size_t *len);

/* A character that is not whole yet. Yours: zero it to start a text, copy it to fork one. */
typedef struct rill_utf8 {
  uint8_t pending[8];
  uint32_t n;
} rill_utf8;

/* Appends a token to a text and gives the characters that are whole now, perhaps none. Bytes that
 * are no UTF-8 become U+FFFD; special tokens give nothing. id -1 ends the text: an unfinished
 * character becomes U+FFFD. At most 3 bytes more than the token's. The stream advances only when
 * the answer was written (cap 0 with a non-empty answer asks, and leaves it as it was).
 * RILL_E_ARG: no such id, a stream that is none, cap too small. */
RILL_API rill_status rill_detok_push(const rill_model *model, rill_utf8 *stream, int32_t id,
                                     char *buf, size_t cap, size_t *len);

enum { RILL_CHAT_OPEN_REPLY = 1 }; /* end with the prompt of the next reply, ready to generate */

/* A whole conversation as token ids. messages_json is an array of objects with role and content
 * (strings; also name, tool_calls, tool_call_id), tools_json an array or empty. Contents are
 * encoded as content: they cannot become control tokens. RILL_E_ARG: names the message's index
 * and the field; an unknown flag; cap too small. */
RILL_API rill_status rill_chat_render(const rill_model *model, const char *messages_json,
                                      size_t messages_len, const char *tools_json,
                                      size_t tools_len, uint32_t flags, int32_t *ids, size_t cap,
                                      size_t *count);

/* Only what follows a conversation that a session already holds. last_id is the session's last
 * token (-1: empty); a reply that stopped before its end token is closed first. Errors as
 * rill_chat_render. */
RILL_API rill_status rill_chat_append(const rill_model *model, int32_t last_id,
                                      const char *messages_json, size_t messages_len,
                                      uint32_t flags, int32_t *ids, size_t cap, size_t *count);

/* ---- session -------------------------------------------------------------------------------- */

typedef struct rill_session_params {
  uint32_t struct_size;
  int32_t mla_dtype;       /* RILL_MLA_* */
  uint64_t max_tokens;     /* longest timeline; 0: 4096 */
  uint32_t prefill_chunk;  /* tokens of one prefill pass, 1..4096; 0: 256 */
  int32_t rewind_window;   /* last tokens that a rewind reaches without running layers, 1..1024;
                              0: 64; RILL_NO_REWIND_WINDOW: none */
  uint32_t ladder_slots;   /* states kept for rewinds further back, 8..256, four of them spare;
                              0: 12 */
  uint32_t reserved;       /* zero */
} rill_session_params;

/* An empty session. Every byte it will ever use on the device is allocated here; the session
 * keeps the model's weights. Any thread. RILL_E_ARG: a parameter. RILL_E_NOMEM: names both
 * numbers. RILL_E_UNSUPPORTED: the device lacks an operator. RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_create(rill_model *model, const rill_session_params *params,
                                         rill_session **out);

/* Closes the session, and its generation if one is open. A call that is running on another thread
 * is cancelled and waited for. Any thread. RILL_E_ARG, RILL_E_CLOSED; RILL_E_REENTRANT: from a
 * callback of this session (it stays open). */
RILL_API rill_status rill_session_close(rill_session *session);

/* Tokens fed so far; 0 for a handle that is none. Any thread, also while a call runs. */
RILL_API uint64_t rill_session_length(const rill_session *session);

/* Ids of the timeline from position `from` to its end. *count is what there is from there on, and
 * a smaller cap gives the first cap of them: RILL_OK. RILL_E_ARG: from is past the end. */
RILL_API rill_status rill_session_tokens(const rill_session *session, uint64_t from, int32_t *ids,
                                         size_t cap, size_t *count);

/* Feeds n tokens, in passes of prefill_chunk; each pass is committed whole. progress (may be
 * NULL) counts tokens of this call. RILL_E_ARG: an id outside the vocabulary (nothing is fed).
 * RILL_E_CONTEXT_FULL: would pass max_tokens (nothing is fed). RILL_E_CANCELLED: whole passes
 * stay, rill_session_length says how far. RILL_E_STATE: a generation is open. RILL_E_BUSY,
 * RILL_E_REENTRANT, RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_append(rill_session *session, const int32_t *ids, size_t n,
                                         rill_progress_fn progress, void *ud);

/* Feeds exactly one token, the way generation does. Errors as rill_session_append. */
RILL_API rill_status rill_session_step(rill_session *session, int32_t id);

/* Back to an empty timeline; keeps all memory, gives up all checkpoints and marks. RILL_E_STATE: a
 * generation is open. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_reset(rill_session *session);

/* Ends the call that is running on the session with RILL_E_CANCELLED: within one layer of a
 * prefill (on CUDA a short one is fed token by token: within one of these), one token of a
 * generation, one write of a file. When none is running, it ends the next call of the generation
 * that is open, or does nothing: later calls are not its business. Any thread, also a callback.
 * RILL_E_ARG, RILL_E_CLOSED. */
RILL_API rill_status rill_session_cancel(rill_session *session);

/* Logits after the last token: *n = vocab_size floats in host memory, the session's, valid until
 * the next call that moves it, puts it to sleep or closes it. RILL_E_STATE: nothing was fed yet.
 * RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_logits(rill_session *session, const float **logits, size_t *n);

typedef struct rill_token_prob {
  int32_t id;
  float logprob; /* natural logarithm */
} rill_token_prob;

/* Log softmax of those logits: out[i] for ids[i], and the k most probable tokens in falling
 * order. n or k may be 0. RILL_E_ARG: an id outside the vocabulary, k over the vocabulary.
 * RILL_E_STATE: nothing was fed yet. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_logprobs(rill_session *session, const int32_t *ids, size_t n,
                                           float *out, rill_token_prob *top, size_t k);

typedef struct rill_stats {
  uint32_t struct_size;
  int32_t asleep;                  /* 1: see rill_session_hibernate */
  uint64_t prefill_tokens;         /* through append */
  uint64_t decode_tokens;          /* through step and generation */
  uint64_t sampled_tokens;
  int64_t prefill_ns;
  int64_t decode_ns;               /* steps and sampling */
  int64_t last_ttft_ns;            /* start of the last append to the next first token */
  uint64_t cancelled_calls;
  uint64_t device_bytes;           /* allocated by this session */
  uint64_t planned_bytes;          /* what the plan said */
  uint64_t weight_bytes_per_token; /* weights a decode step reads */
} rill_stats;

/* Counters since the session was created. Any thread, also while a call runs. RILL_E_ARG,
 * RILL_E_CLOSED. */
RILL_API rill_status rill_session_get_stats(const rill_session *session, rill_stats *out);

/* ---- back along the timeline ---------------------------------------------------------------- */

/* A session goes back to any position it has passed, with the state and the logits it had there;
 * on host devices bit for bit. What makes it quick is kept as the session grows, within the plan:
 * a checkpoint of the state now and then, denser where it is newer (the ladder), and a record of
 * each of the last tokens (the window). */

typedef struct rill_rewind_cost {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t anchor;      /* position of the checkpoint it starts from; costs one copy */
  uint64_t replayed;    /* tokens replayed from their records; no weight is read */
  uint64_t recomputed;  /* tokens fed again through all layers */
} rill_rewind_cost;     /* the three add up to the position */

/* What a rewind to that position would cost now; nothing moves. RILL_E_ARG: position is past the
 * end. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_rewind_cost(const rill_session *session, uint64_t position,
                                              rill_rewind_cost *out);

/* Refuse to recompute more than the one token that gives the logits. */
enum { RILL_REWIND_ONLY_CHEAP = 1 };

/* Takes back all tokens from position on. progress (may be NULL) counts recomputed tokens; out
 * (may be NULL) is the cost. On any failure the session is where it was. RILL_E_ARG: position is
 * past the end, an unknown flag. RILL_E_BUDGET: dearer than RILL_REWIND_ONLY_CHEAP allows; out has
 * the cost all the same. RILL_E_CANCELLED. RILL_E_STATE: a generation is open. RILL_E_BUSY,
 * RILL_E_REENTRANT, RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_rewind(rill_session *session, uint64_t position, uint32_t flags,
                                         rill_progress_fn progress, void *ud,
                                         rill_rewind_cost *out);

/* Keeps a checkpoint of this position, so that coming back costs one copy, until
 * rill_session_unmark with that tag, a reset, or a rewind below it. A position has one mark, the
 * last; several positions may have one tag. RILL_E_STATE: nothing was fed yet. RILL_E_BUDGET:
 * ladder_slots leaves no place for one more. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_mark(rill_session *session, uint64_t tag);

/* From now on the marks of that tag are checkpoints like others, which the ladder may give up.
 * Does nothing when there is none. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_unmark(rill_session *session, uint64_t tag);

/* Positions of all checkpoints, ascending (convention 4). RILL_E_ARG: cap too small. RILL_E_BUSY,
 * RILL_E_REENTRANT. */
RILL_API rill_status rill_session_checkpoints(const rill_session *session, uint64_t *positions,
                                              size_t cap, size_t *count);

enum {
  RILL_SYNC_SAME = 0,     /* the session held exactly these tokens */
  RILL_SYNC_EXTENDED = 1, /* it held a beginning of them, perhaps an empty one */
  RILL_SYNC_REWOUND = 2,  /* it held a common beginning and then others, which were taken back */
  RILL_SYNC_REBUILT = 3   /* it held others, with nothing in common */
};

typedef struct rill_sync_report {
  uint32_t struct_size;
  int32_t reason;       /* RILL_SYNC_* */
  uint64_t common;      /* tokens the session held and keeps */
  uint64_t anchor;      /* how it came to stand there: as rill_rewind_cost, all of common when it */
  uint64_t replayed;    /* stood there already */
  uint64_t recomputed;
  uint64_t appended;    /* common + appended is the session's length now */
} rill_sync_report;

/* Makes the timeline these n tokens: keeps what is in common, takes back what is not, appends the
 * rest. One call for a client that has the whole conversation every time. progress (may be NULL)
 * counts tokens recomputed and appended; out (may be NULL) is what was done. RILL_E_ARG: an id
 * outside the vocabulary (nothing is changed). RILL_E_CONTEXT_FULL: more than max_tokens (nothing
 * is changed). RILL_E_CANCELLED: the session holds what it held, or a beginning of ids.
 * RILL_E_STATE: a generation is open. RILL_E_BUSY, RILL_E_REENTRANT, RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_sync(rill_session *session, const int32_t *ids, size_t n,
                                       rill_progress_fn progress, void *ud, rill_sync_report *out);

/* ---- branches ------------------------------------------------------------------------------- */

/* The timeline as it is, to come back to: one copy of the constant-size part, whatever the length;
 * MLA rows are shared and copied only where somebody writes. An open generation is in it, see
 * rill_gen_resume. It is immutable, keeps the model's weights, and outlives the session.
 * RILL_E_NOMEM: names both numbers; a snapshot is not in the session's plan. RILL_E_BUSY,
 * RILL_E_REENTRANT, RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_snapshot(rill_session *session, rill_snapshot **out);

/* The session becomes the snapshot's timeline, any number of times; the snapshot may be of another
 * session. Checkpoints of what both have in common stay. On any failure the session is as before.
 * RILL_E_MISMATCH: of another model or mla_dtype. RILL_E_CONTEXT_FULL: longer than max_tokens.
 * RILL_E_STATE: a generation is open. RILL_E_BUSY, RILL_E_REENTRANT, RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_restore(rill_session *session, const rill_snapshot *snapshot);

/* Tokens of the timeline, and bytes of memory that the snapshot may come to cost when nobody else
 * needs what it shares; 0 for a handle that is none. Any thread. */
RILL_API uint64_t rill_snapshot_length(const rill_snapshot *snapshot);
RILL_API uint64_t rill_snapshot_bytes(const rill_snapshot *snapshot);

/* Any thread. RILL_E_ARG, RILL_E_CLOSED. */
RILL_API rill_status rill_snapshot_close(rill_snapshot *snapshot);

/* A second session that stands where this one stands, of the same params, at the price of a copy
 * of the constant-size part. Each goes its own way; either may be closed first. An open generation
 * goes on in both, see rill_gen_resume. RILL_E_NOMEM: names both numbers; the plan counts it as
 * one more session. RILL_E_BUSY, RILL_E_REENTRANT, RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_fork(rill_session *session, rill_session **out);

/* ---- session files -------------------------------------------------------------------------- */

/* A *.rillstate file (docs/FORMATS.md) is a whole session: tokens, MLA rows, state, logits, an
 * open reply, checkpoints, and bytes of yours. A session that comes back from it goes on as if it
 * had never stopped, bit for bit on the device it was made on. Every byte is under a checksum and
 * every part under a hash of the tokens it belongs to. A path holds the old content or the new,
 * never something between, whenever the process is killed or the power goes. */

enum { /* what a call waits for before it says that something is saved */
  RILL_DURABILITY_FULL = 0, /* the file's data and its name: there after a power cut */
  RILL_DURABILITY_DATA = 1, /* its data: after a power cut the old content or the new */
  RILL_DURABILITY_NONE = 2  /* nothing: safe from a killed process, not from a power cut */
};

enum { /* what a file may have beyond the session itself */
  RILL_SAVE_LADDER = 1, /* the checkpoints: as much again as the state, each */
  RILL_SAVE_RING = 2,   /* the records of the last tokens: short rewinds without running layers */
  RILL_SAVE_BARE = 4    /* neither */
};

typedef struct rill_save_params {
  uint32_t struct_size;
  int32_t durability;         /* RILL_DURABILITY_* */
  uint32_t parts;             /* RILL_SAVE_*; 0: ladder and ring, with rill_session_flush neither */
  uint32_t reserved;          /* zero */
  rill_progress_fn progress;  /* bytes; nonzero cancels: RILL_E_CANCELLED */
  void *progress_ud;
} rill_save_params;

typedef struct rill_save_report {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t revision;     /* of the file: 1 after a save, one more after every flush */
  uint64_t kept_tokens;  /* that the file had already */
  uint64_t new_tokens;   /* written now; the two are the session's length */
  uint64_t page_bytes;   /* written: full MLA pages */
  uint64_t state_bytes;  /* written: the state, the logits and the page in progress */
  uint64_t extra_bytes;  /* written: ladder and ring */
  uint64_t total_bytes;  /* written: everything */
  uint64_t file_bytes;   /* size of the file now */
  uint64_t superseded;   /* of it that only rill_file_compact gives back */
} rill_save_report;

/* Writes the session to a file that takes the place of what is at path in one step; an open reply
 * is saved with it. out may be NULL. On any failure path holds what it held and the session is as
 * before. RILL_E_ARG: a parameter. RILL_E_IO: names the path, the operation and the reason; when
 * only making it durable failed, path holds the new content. RILL_E_CANCELLED: when it came too
 * late, likewise. RILL_E_BUSY, RILL_E_REENTRANT, RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_save(rill_session *session, const char *path, size_t path_len,
                                       const rill_save_params *params, rill_save_report *out);

/* Saves, and from then on rill_session_flush brings that file up to date. Takes the place of an
 * attachment before it. Errors as rill_session_save; on any failure the session is attached as
 * before. */
RILL_API rill_status rill_session_attach(rill_session *session, const char *path, size_t path_len,
                                         const rill_save_params *params, rill_save_report *out);

/* Appends what is new: pages, tokens and one state slot, whatever the length. Nothing in the file
 * that is in use is written over. With RILL_SAVE_LADDER also marks, and a checkpoint for as many
 * tokens as weigh as much as one: without, a session loaded from the file goes back by one turn at
 * no price and further from the checkpoints of the save. RILL_E_STATE: not attached, or somebody
 * else wrote to the file. RILL_E_IO: the file holds the old content or the new, the session is
 * whole, and later flushes say the same again: attach anew. Else errors as rill_session_save. */
RILL_API rill_status rill_session_flush(rill_session *session, const rill_save_params *params,
                                        rill_save_report *out);

/* The file stays as the last flush left it. Does nothing when not attached. RILL_E_BUSY,
 * RILL_E_REENTRANT. */
RILL_API rill_status rill_session_detach(rill_session *session);

typedef struct rill_load_params {
  uint32_t struct_size;
  int32_t rewind_window;      /* as in rill_session_params, but 0: as saved, as the next three */
  uint64_t max_tokens;
  uint32_t prefill_chunk;
  uint32_t ladder_slots;
  int32_t lazy;               /* 1: only the constant part, tokens and texts are checked before the
                                 session is there; checkpoints and records when they are used, MLA
                                 pages not at all. For files this program wrote itself. */
  int32_t any_numerics;       /* 1: also from a device or release whose bits differ */
  int32_t attach;             /* 1: attached to this file from the start */
  uint32_t reserved;          /* zero */
  rill_progress_fn progress;  /* bytes checked; nonzero cancels: RILL_E_CANCELLED */
  void *progress_ud;
} rill_load_params;

typedef struct rill_load_report {
  uint32_t struct_size;
  int32_t mapped;            /* 1: pages are used in place: the file must not be written to but by
                                rill_session_flush; it may be replaced or removed */
  int32_t reply_open;        /* 1: rill_gen_resume goes on with it */
  int32_t unfinished_flush;  /* 1: the last flush was cut off; this is the session before it */
  uint64_t revision;         /* of the file */
  uint64_t tokens;
  uint64_t checkpoints;      /* that came with it */
  uint64_t recorded;         /* last tokens that a rewind can replay */
  uint64_t max_tokens;       /* of the session */
} rill_load_report;

/* A session that stands where the saved one stood, its next token ready to be sampled. out_report
 * may be NULL. Any thread. RILL_E_IO. RILL_E_CORRUPT: truncated (both lengths) or damaged (the
 * part, both checksums). RILL_E_ARG: a parameter, or no session file. RILL_E_FORMAT_VERSION: of
 * another major version. RILL_E_MISMATCH: of another model; names the first of architecture,
 * tokenizer, quantization, weights, state_layout, numerics that differs. RILL_E_CONTEXT_FULL: more
 * tokens than max_tokens. RILL_E_NOMEM: names both numbers. RILL_E_CANCELLED,
 * RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_session_load(rill_model *model, const char *path, size_t path_len,
                                       const rill_load_params *params, rill_session **out,
                                       rill_load_report *out_report);

/* Takes the next n bytes of a file, first to last. Nonzero: they could not be taken. */
typedef int32_t (*rill_write_fn)(void *ud, const void *data, size_t n);

/* Gives the n bytes at offset, all of them. Nonzero: they could not be given. */
typedef int32_t (*rill_read_fn)(void *ud, uint64_t offset, void *data, size_t n);

/* rill_session_save and _load with storage of yours: the same bytes. size is that of the whole
 * file. RILL_E_IO: the callback said so; the message has its number. Else errors as there;
 * durability is yours, and RILL_E_ARG: attach is set. The write is over when it returns RILL_OK;
 * what was written before a failure is no file. read is not called after rill_session_read. */
RILL_API rill_status rill_session_write(rill_session *session, const rill_save_params *params,
                                        rill_write_fn write, void *ud, rill_save_report *out);
RILL_API rill_status rill_session_read(rill_model *model, uint64_t size, rill_read_fn read,
                                       void *ud, const rill_load_params *params,
                                       rill_session **out, rill_load_report *out_report);

/* Saves to path, or flushes to the attached file when path is empty, and gives the session's
 * memory back; the handle stays. A call that needs the session wakes it first, and where that
 * fails answers as rill_session_load would, the session still asleep: give the file back and call
 * again. The file must stay as it is until then; RILL_E_CORRUPT also when it holds another
 * session. An open generation goes on afterwards. out may be NULL. RILL_E_STATE: path is empty and
 * it is not attached. Else errors as rill_session_save; on any failure the session is awake. */
RILL_API rill_status rill_session_hibernate(rill_session *session, const char *path,
                                            size_t path_len, rill_save_report *out);

/* Takes the memory again and loads, checking every byte. Does nothing when it is awake. Errors as
 * rill_session_load. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_wake(rill_session *session);

/* Bytes of yours that are saved with the session, at most 64 MiB: a title, who said what. Copied.
 * They stay through rewind and reset; a fork begins with a copy, a snapshot has none. RILL_E_ARG:
 * too many. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_set_user(rill_session *session, const void *data, size_t n);

/* Those bytes (convention 4). RILL_E_ARG: cap too small. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_session_get_user(const rill_session *session, void *buf, size_t cap,
                                           size_t *count);

/* ---- session files without a model: any thread ---------------------------------------------- */
/* All answer RILL_E_IO, RILL_E_CORRUPT, RILL_E_ARG (no session file) and RILL_E_FORMAT_VERSION as
 * rill_session_load. */

typedef struct rill_file_info {
  uint32_t struct_size;
  int32_t unfinished_flush;  /* 1: the last flush was cut off; the rest is of the one before */
  uint64_t revision;         /* 1 after a save, one more after every flush */
  uint64_t tokens;
  uint64_t checkpoints;
  uint64_t recorded;         /* last tokens that a rewind can replay */
  uint64_t page_bytes;       /* full MLA pages in use */
  uint64_t state_bytes;      /* of one state: what a checkpoint takes, without its logits */
  uint64_t user_bytes;       /* of rill_session_set_user */
  uint64_t file_bytes;
  uint64_t superseded;       /* of them that rill_file_compact gives back */
  uint8_t ledger[32];        /* SHA-256 over the tokens: equal for equal timelines */
  uint8_t architecture[32];  /* these three as in rill_fingerprint */
  uint8_t tokenizer[32];
  uint8_t weights[32];
  char quantization[64];     /* NUL-terminated, as the next three: the model's recipe */
  char state_layout[64];
  char numerics[128];        /* of the device it was made on, as in rill_model_info */
  char mla_dtype[16];        /* "bf16", "f32" */
} rill_file_info;

/* What the file is, from its constant part, tokens and tables: damage to pages and checkpoints is
 * not seen. */
RILL_API rill_status rill_file_inspect(const char *path, size_t path_len, rill_file_info *out);

/* Reads every byte of the file and checks it. progress (may be NULL) counts bytes.
 * RILL_E_CANCELLED: progress said so. */
RILL_API rill_status rill_file_verify(const char *path, size_t path_len,
                                      rill_progress_fn progress, void *ud);

/* The same session as one save, without what was superseded; every byte of `from` is checked
 * first. to may be from, and is replaced in one step as by rill_session_save. params (parts 0:
 * all that is there) and out may be NULL. A session that is attached to the file can no longer
 * flush to it. RILL_E_ARG: also a parameter. RILL_E_CANCELLED. */
RILL_API rill_status rill_file_compact(const char *from, size_t from_len, const char *to,
                                       size_t to_len, const rill_save_params *params,
                                       rill_save_report *out);

enum { /* bits of rill_file_difference.identity */
  RILL_DIFFERS_ARCHITECTURE = 1,
  RILL_DIFFERS_TOKENIZER = 2,
  RILL_DIFFERS_WEIGHTS = 4,
  RILL_DIFFERS_QUANTIZATION = 8,
  RILL_DIFFERS_STATE_LAYOUT = 16,
  RILL_DIFFERS_NUMERICS = 32
};

typedef struct rill_file_difference {
  uint32_t struct_size;
  uint32_t identity;       /* RILL_DIFFERS_*; 0: each loads where the other does */
  uint64_t tokens_a;
  uint64_t tokens_b;
  uint64_t common_tokens;  /* from the first on */
} rill_file_difference;

/* How two files differ. */
RILL_API rill_status rill_file_diff(const char *a, size_t a_len, const char *b, size_t b_len,
                                    rill_file_difference *out);

/* ---- generation ----------------------------------------------------------------------------- */

typedef struct rill_token_bias {
  int32_t id;
  float bias; /* added to the logit */
} rill_token_bias;

typedef struct rill_str {
  const char *data;
  size_t len;
} rill_str;

typedef struct rill_gen_params {
  uint32_t struct_size;
  float temperature;             /* 0: greedy, the default */
  int32_t top_k;                 /* 0: all */
  float top_p;                   /* 0 or 1: all */
  float min_p;                   /* 0: all */
  float repeat_penalty;          /* 0 or 1: none */
  float frequency_penalty;
  float presence_penalty;
  uint32_t penalty_window;       /* last tokens the penalties look at; 0: 256 */
  uint32_t top_logprobs;         /* alternatives reported with each token, at most 20 */
  uint64_t seed;                 /* same seed, same position, same logits: same token */
  uint64_t max_tokens;           /* of the reply; 0: until it ends or the session is full */
  const rill_token_bias *bias;   /* distinct ids, at most 1024 */
  size_t n_bias;
  const int32_t *stop_ids;       /* end the reply, beside the model's own */
  size_t n_stop_ids;
  const rill_str *stop_strings;  /* at most 64 of 1..1024 bytes; the text ends before the first */
  size_t n_stop_strings;
  int32_t ignore_model_stops;    /* 1: the model's own stop tokens are ordinary */
  uint32_t reserved;             /* zero */
} rill_gen_params;

enum { RILL_EVENT_TOKEN = 0, RILL_EVENT_END = 1 };
enum {
  RILL_FINISH_NONE = 0,
  RILL_FINISH_STOP_TOKEN = 1,
  RILL_FINISH_STOP_STRING = 2,
  RILL_FINISH_MAX_TOKENS = 3,
  RILL_FINISH_CONTEXT_FULL = 4
};

typedef struct rill_event {
  uint32_t struct_size;
  int32_t kind;                /* RILL_EVENT_* */
  int32_t id;                  /* TOKEN: sampled and fed. END: the stop token, not fed, or -1 */
  float logprob;               /* of the model itself, before temperature and filters */
  int32_t finish;              /* END: RILL_FINISH_* */
  uint32_t n_top;
  uint64_t position;           /* of the token in the session */
  const char *text;            /* whole characters that no stop string can take back; often empty */
  size_t text_len;
  const rill_token_prob *top;  /* text and top are valid until the next call on the generation */
} rill_event;

/* Starts a reply after the session's last token. One generation at a time. The params are copied.
 * RILL_E_ARG: names the parameter. RILL_E_STATE: nothing was fed yet, or a generation is open.
 * RILL_E_UNSUPPORTED: stop strings on a model without tokenizer. RILL_E_BUSY, RILL_E_REENTRANT.
 * */
RILL_API rill_status rill_gen_begin(rill_session *session, const rill_gen_params *params,
                                    rill_gen **out);

/* Goes on with the reply that was open where this timeline was forked or taken as a snapshot: the
 * same params, the tokens counted, half a character and half a stop string held back, as if it had
 * never stopped. RILL_E_STATE: none was open there, the session has moved since, or a generation
 * is open. RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_gen_resume(rill_session *session, rill_gen **out);

/* Samples one token and feeds it: at most one decode step. After END it says END again.
 * out->struct_size must be set. RILL_E_CANCELLED: the session stands at the last token fed; call
 * again to go on. RILL_E_CLOSED: the generation was ended or its session closed. RILL_E_BUSY,
 * RILL_E_REENTRANT, RILL_E_DEVICE_LOST. */
RILL_API rill_status rill_gen_next(rill_gen *gen, rill_event *out);

/* Closes the generation, finished or not; the tokens it fed stay in the session. RILL_E_ARG,
 * RILL_E_CLOSED, RILL_E_BUSY, RILL_E_REENTRANT. */
RILL_API rill_status rill_gen_end(rill_gen *gen);

/* Nonzero ends the reply after this event: RILL_E_CANCELLED. The event is valid during the call. */
typedef int32_t (*rill_event_fn)(void *ud, const rill_event *event);

typedef struct rill_gen_stats {
  uint32_t struct_size;
  int32_t finish;        /* RILL_FINISH_*; NONE when it was cancelled or failed */
  uint64_t tokens;       /* fed by this reply */
  uint64_t text_bytes;   /* given to the callback */
  int64_t elapsed_ns;
} rill_gen_stats;

/* begin, next until END, end. fn (may be NULL) gets every event with the last one END; stats (may
 * be NULL, else with struct_size set) is filled in even when the call fails after it began. On
 * any failure the tokens fed so far stay in the session and no generation is left open. Errors as
 * rill_gen_begin and rill_gen_next. */
RILL_API rill_status rill_generate(rill_session *session, const rill_gen_params *params,
                                   rill_event_fn fn, void *ud, rill_gen_stats *stats);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* RILL_RILL_H_ */
