// The same for tests.
#include <gtest/gtest.h>

#include "common.h"
