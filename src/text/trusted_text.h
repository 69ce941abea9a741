// TrustedText: the segments of a prompt as one valid text that knows which bytes are trusted.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::text {

class TrustedText {
 public:
  // Repairs ill-formed UTF-8 in the concatenation. A character that trusted and untrusted bytes
  // make together is not trusted.
  explicit TrustedText(std::span<const Segment> segments);

  const std::string& text() const { return text_; }
  // Whether all of [begin, end) is trusted.
  bool is_trusted(size_t begin, size_t end) const;

 private:
  struct Span {
    size_t end = 0;
    bool trusted = false;
  };
  void repair();

  std::string text_;
  std::vector<Span> spans_;  // in order, adjacent ones differ
};

}  // namespace sluice::text
