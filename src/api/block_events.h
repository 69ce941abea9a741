// What a runtime's prefix caches hold, told to a gateway: the answer of POST /internal/v1/blocks, a
// stream of frames (api/internal_frame.h).
//
//   hello    1 Model …;  Model = 1 name …  2 numerics id  3 tokens of a block
//   stored   1 model (its place in hello)  2 tags (8 bytes each, little-endian)
//   removed  the same
//   synced   what came until here is all that was held; from here on it is what changes
//   beat     the process lives though it has nothing to say
// hello comes first and once. A tag is a block's prefix_tag() (base/prefix_hash.h). A stream that
// breaks is opened anew, and all that was known from it is forgotten.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/internal_frame.h"
#include "base/prefix_hash.h"
#include "base/status.h"

namespace sluice::api {

struct BlockHello {
  struct Model {
    std::vector<std::string> names;  // the first one is its own
    std::string fingerprint;
    int block_size = 0;
  };
  std::vector<Model> models;
};

struct BlockChanges {
  size_t model = 0;  // of the hello's, always one of them
  bool stored = false;
  std::vector<uint64_t> tags;
};

struct BlocksSynced {};
struct BlockBeat {};

using BlockEvent = std::variant<BlockHello, BlockChanges, BlocksSynced, BlockBeat>;

// Writes frames; counts them. One owner.
class BlockEventWriter {
 public:
  // Appends frames to `out`.
  void write(const BlockHello& hello, std::string& out);
  // In the order given, so many to a frame as there may be.
  void write(size_t model, std::span<const PrefixChange> changes, std::string& out);
  void write(BlocksSynced, std::string& out);
  static void write_beat(std::string& out);

 private:
  uint64_t next_ = 1;
};

// Turns a byte stream into events, however it is split; as strict as EventReader. One owner.
class BlockEventReader {
 public:
  using Take = std::function<void(BlockEvent&&)>;

  BlockEventReader();
  Outcome feed(std::string_view bytes, const Take& take);

 private:
  Result<BlockEvent> read(uint8_t kind, std::string_view message);

  FrameReader frames_;
  size_t models_ = 0;
  bool greeted_ = false;
  bool synced_ = false;
};

}  // namespace sluice::api
