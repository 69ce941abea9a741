#include "text/trusted_text.h"

#include <algorithm>

#include "text/utf8.h"

namespace sluice::text {

TrustedText::TrustedText(std::span<const Segment> segments) {
  for (const Segment& segment : segments) {
    if (segment.text.empty()) continue;
    text_ += segment.text;
    if (!spans_.empty() && spans_.back().trusted == segment.trusted) {
      spans_.back().end = text_.size();
    } else {
      spans_.push_back({text_.size(), segment.trusted});
    }
  }
  if (!is_valid_utf8(text_)) repair();
}

void TrustedText::repair() {
  std::string repaired;
  repaired.reserve(text_.size() + 16);
  size_t span = 0;
  for (size_t at = 0; at < text_.size();) {
    const DecodedChar c = decode_char(std::string_view(text_).substr(at));
    const size_t before = repaired.size();
    repaired += c.valid ? std::string_view(text_).substr(at, c.length) : kReplacementText;
    at += c.length;
    for (; span < spans_.size() && spans_[span].end <= at; ++span) {
      // A span that ends inside the character keeps it only if it is the untrusted side.
      const bool inside = spans_[span].end < at;
      spans_[span].end = inside && spans_[span].trusted ? before : repaired.size();
    }
  }
  text_ = std::move(repaired);
}

bool TrustedText::is_trusted(size_t begin, size_t end) const {
  auto span = std::ranges::upper_bound(spans_, begin, {}, &Span::end);
  for (; span != spans_.end(); ++span) {
    if (!span->trusted) return false;
    if (span->end >= end) return true;
  }
  return false;
}

}  // namespace sluice::text
