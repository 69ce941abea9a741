// StopStrings: finds the first stop string in a growing text, and holds back text that may yet
// become one.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::completion {

// One per choice, one thread.
class StopStrings {
 public:
  // `stops`: not empty strings. `include` keeps a matched stop string in the text.
  StopStrings(std::vector<std::string> stops, bool include);

  struct Piece {
    std::string text;            // safe to send
    std::optional<size_t> stop;  // index of the stop string that ended it; nothing follows
  };

  // Adds text; of stop strings that end at the same place the one that starts first wins.
  Piece push(std::string_view text);
  // The text held back, when the sequence ended otherwise.
  std::string finish();

 private:
  size_t held_back() const;

  std::vector<std::string> stops_;
  bool include_;
  std::string pending_;  // not sent yet
};

}  // namespace sluice::completion
