/* Compiled as C11, pedantic, warnings as errors: the header alone, and every struct initialised. */
#include <rill/rill.h>

int rill_header_c11(void);
int rill_header_c11(void) {
  rill_model_params model;
  rill_session_params session;
  rill_gen_params generation;
  RILL_INIT(model);
  RILL_INIT(session);
  RILL_INIT(generation);
  generation.temperature = 0.5f;
  return model.struct_size == sizeof model && session.struct_size == sizeof session ? RILL_OK
                                                                                    : RILL_E_ARG;
}
