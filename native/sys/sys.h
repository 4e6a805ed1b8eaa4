// Thin wrappers of system calls that Node lacks. Numbers in, a number out: zero or more, or a negative errno. No
// policy.
#pragma once

#include <napi.h>

namespace futago {

void DefineSockets(Napi::Env env, Napi::Object exports);

// `value` of a system call, or its errno, negative.
Napi::Value Outcome(Napi::Env env, long value);

}  // namespace futago
