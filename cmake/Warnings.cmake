add_library(rill_warnings INTERFACE)
target_compile_options(rill_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers>
  $<$<AND:$<COMPILE_LANGUAGE:C,CXX>,$<BOOL:${RILL_WERROR}>>:-Werror>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety>)

# Sums keep their written order and products their written rounding everywhere; the SIMD kernels ask for fused
# multiply-add by name where they want it (docs/NUMERICS.md).
add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-ffp-contract=off>)
