/* Compiled as C11, pedantic, warnings as errors: the header alone, and every struct initialised. */
#include <rill/rill.h>

int rill_header_c11(void);
int rill_header_c11(void) {
  rill_model_params model;
  rill_session_params session;
  rill_gen_params generation;
  rill_rewind_cost cost;
  rill_sync_report report;
  rill_save_params save;
  rill_save_report saved;
  rill_load_params load;
  rill_load_report loaded;
  rill_file_info file;
  rill_file_difference difference;
  RILL_INIT(model);
  RILL_INIT(session);
  RILL_INIT(generation);
  RILL_INIT(cost);
  RILL_INIT(report);
  RILL_INIT(save);
  RILL_INIT(saved);
  RILL_INIT(load);
  RILL_INIT(loaded);
  RILL_INIT(file);
  RILL_INIT(difference);
  if (save.struct_size != sizeof save || saved.struct_size != sizeof saved) return RILL_E_ARG;
  if (load.struct_size != sizeof load || loaded.struct_size != sizeof loaded) return RILL_E_ARG;
  if (file.struct_size != sizeof file) return RILL_E_ARG;
  if (difference.struct_size != sizeof difference) return RILL_E_ARG;
  generation.temperature = 0.5f;
  if (cost.struct_size != sizeof cost || report.struct_size != sizeof report) return RILL_E_ARG;
  return model.struct_size == sizeof model && session.struct_size == sizeof session ? RILL_OK
                                                                                    : RILL_E_ARG;
}
