/* Compiled as C11, pedantic, warnings as errors: the header alone, and every struct initialised. */
#include <rill/rill.h>

int rill_header_c11(void);
int rill_header_c11(void) {
  rill_model_params model;
  rill_session_params session;
  rill_gen_params generation;
  rill_rewind_cost cost;
  rill_sync_report report;
  RILL_INIT(model);
  RILL_INIT(session);
  RILL_INIT(generation);
  RILL_INIT(cost);
  RILL_INIT(report);
  generation.temperature = 0.5f;
  if (cost.struct_size != sizeof cost || report.struct_size != sizeof report) return RILL_E_ARG;
  return model.struct_size == sizeof model && session.struct_size == sizeof session ? RILL_OK
                                                                                    : RILL_E_ARG;
}
