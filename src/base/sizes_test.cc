#include "base/sizes.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(Sizes, ParseAndShow) {
  EXPECT_EQ(*parse_size("4096"), 4096);
  EXPECT_EQ(*parse_size("2G"), int64_t{2} << 30);
  EXPECT_EQ(*parse_size("3MiB"), 3 << 20);
  for (const char* bad : {"", "G", "-1", "1.5G", "9999999999G", "5T", "1 G"}) {
    EXPECT_FALSE(parse_size(bad)) << bad;
  }
  EXPECT_EQ(show_size(512), "512 B");
  EXPECT_EQ(show_size(3 << 20), "3.0 MiB");
}

}  // namespace
}  // namespace sluice
