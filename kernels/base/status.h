// kernels/base/status.h — how errors travel inside Rill: absl::Status, two macros, no type of our own.
//
// A message names the thing and both numbers: "tensor model.norm.weight: 4096 bytes declared, 2048 in file".
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#define RILL_STATUS_CONCAT_(a, b) a##b
#define RILL_STATUS_CONCAT(a, b) RILL_STATUS_CONCAT_(a, b)

// Leaves the function with the status of `expr` unless it is ok.
#define RILL_RETURN_IF_ERROR(expr)                     \
  do {                                                 \
    if (absl::Status rill_status_ = (expr); !rill_status_.ok()) return rill_status_; \
  } while (0)

// RILL_ASSIGN_OR_RETURN(auto file, fs.Open(path)): assigns the value or leaves with the status.
#define RILL_ASSIGN_OR_RETURN(lhs, expr) \
  RILL_ASSIGN_OR_RETURN_(RILL_STATUS_CONCAT(rill_status_or_, __LINE__), lhs, expr)
#define RILL_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                           \
  if (!tmp.ok()) return tmp.status();          \
  lhs = *std::move(tmp)
