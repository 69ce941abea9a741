// A copy of a JSON object in one block of memory: objects that are kept and read, a thousand of
// them, in a third of what as many single pieces take.
//
// The copy is an ordinary json::object and may be read from any thread. What is copied or moved
// from it draws on the heap, and keeps the block as long as it lives.
#pragma once

#include "base/json.h"

namespace sluice::control {

json::object packed(const json::object& object);

}  // namespace sluice::control
