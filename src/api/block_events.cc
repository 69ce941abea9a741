#include "api/block_events.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "api/internal_wire.h"

namespace sluice::api {
namespace {

enum class Kind : uint8_t { kHello = 1, kStored = 2, kRemoved = 3, kSynced = 4, kBeat = 5 };

constexpr size_t kTagBytes = sizeof(uint64_t);
constexpr size_t kTagsOfFrame = 8192;
constexpr size_t kMaxFrameBytes = 1u << 20;
constexpr size_t kMaxModels = 4096;  // and names of all of them together
constexpr size_t kMaxName = 1024;
constexpr uint64_t kMaxBlock = 1 << 16;

uint8_t number_of(Kind kind) { return static_cast<uint8_t>(kind); }

void append_tags(std::string& out, std::span<const PrefixChange> changes) {
  for (const PrefixChange& change : changes) {
    for (size_t i = 0; i < kTagBytes; ++i) {
      out += static_cast<char>((change.tag >> (8 * i)) & 0xFF);
    }
  }
}

Outcome read_model(std::string_view bytes, size_t& names, BlockHello& hello) {
  BlockHello::Model& model = hello.models.emplace_back();
  WireReader in(bytes, "model");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        model.names.push_back(in.text(kMaxName));
        if (++names > kMaxModels) in.fail("too many names");
        break;
      case 2:
        model.fingerprint = in.text(kMaxName);
        break;
      case 3:
        model.block_size = static_cast<int>(in.uint_up_to(kMaxBlock));
        break;
      default:
        in.unknown();
    }
  }
  if (!in.failed() && (model.names.empty() || model.block_size == 0)) {
    return invalid("a model without a name or block size");
  }
  return in.outcome();
}

Result<BlockEvent> read_hello(std::string_view message) {
  BlockHello hello;
  size_t names = 0;
  WireReader in(message, "hello");
  while (in.next()) {
    if (in.field() != 1) {
      in.unknown();
      continue;
    }
    const Outcome model = read_model(in.bytes(), names, hello);
    if (!model) in.fail(model.error());
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return hello;
}

Result<BlockEvent> read_changes(std::string_view message, bool stored, size_t models) {
  BlockChanges changes{.model = 0, .stored = stored, .tags = {}};
  std::string_view tags;
  WireReader in(message, "block changes");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        changes.model = in.uint_up_to(kMaxModels);
        break;
      case 2:
        tags = in.bytes();
        break;
      default:
        in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  if (changes.model >= models) return invalid("blocks of a model that was not announced");
  if (tags.size() % kTagBytes != 0) return invalid("a block's tag is cut");
  changes.tags.resize(tags.size() / kTagBytes);
  static_assert(std::endian::native == std::endian::little);
  if (!tags.empty()) std::memcpy(changes.tags.data(), tags.data(), tags.size());
  return changes;
}

Outcome nothing_in(std::string_view message) {
  if (message.empty()) return {};
  return invalid("an event with more in it than it can have");
}

}  // namespace

void BlockEventWriter::write(const BlockHello& hello, std::string& out) {
  write_frame(number_of(Kind::kHello), next_++, out, [&](WireWriter& w) {
    for (const BlockHello::Model& model : hello.models) {
      w.message(1, [&](WireWriter& m) {
        for (const std::string& name : model.names) m.set_bytes(1, name);
        m.bytes(2, model.fingerprint);
        m.uint(3, static_cast<uint64_t>(model.block_size));
      });
    }
  });
}

void BlockEventWriter::write(size_t model, std::span<const PrefixChange> changes,
                             std::string& out) {
  std::string tags;
  while (!changes.empty()) {
    const bool stored = changes.front().stored;
    const auto other =
        std::ranges::find_if(changes, [&](const auto& each) { return each.stored != stored; });
    const auto run = std::min<size_t>(static_cast<size_t>(other - changes.begin()), kTagsOfFrame);
    tags.clear();
    append_tags(tags, changes.first(run));
    changes = changes.subspan(run);
    write_frame(number_of(stored ? Kind::kStored : Kind::kRemoved), next_++, out,
                [&](WireWriter& w) {
                  w.uint(1, model);
                  w.bytes(2, tags);
                });
  }
}

void BlockEventWriter::write(BlocksSynced, std::string& out) {
  write_frame(number_of(Kind::kSynced), next_++, out, [](WireWriter&) {});
}

void BlockEventWriter::write_beat(std::string& out) {
  write_frame(number_of(Kind::kBeat), 0, out, [](WireWriter&) {});
}

BlockEventReader::BlockEventReader() : frames_(kMaxFrameBytes, number_of(Kind::kBeat)) {}

Outcome BlockEventReader::feed(std::string_view bytes, const Take& take) {
  return frames_.feed(bytes, [&](uint8_t kind, std::string_view message) -> Outcome {
    SLUICE_ASSIGN_OR_RETURN(auto event, read(kind, message));
    take(std::move(event));
    return {};
  });
}

Result<BlockEvent> BlockEventReader::read(uint8_t kind, std::string_view message) {
  if (kind == number_of(Kind::kBeat)) {
    SLUICE_RETURN_IF_ERROR(nothing_in(message));
    return BlockBeat{};
  }
  if ((kind == number_of(Kind::kHello)) == greeted_) {
    return invalid(greeted_ ? "a second hello" : "an event before the hello");
  }
  switch (static_cast<Kind>(kind)) {
    case Kind::kHello: {
      SLUICE_ASSIGN_OR_RETURN(auto event, read_hello(message));
      greeted_ = true;
      models_ = std::get<BlockHello>(event).models.size();
      return event;
    }
    case Kind::kStored:
      return read_changes(message, true, models_);
    case Kind::kRemoved:
      return read_changes(message, false, models_);
    case Kind::kSynced:
      if (std::exchange(synced_, true)) return invalid("synced twice");
      SLUICE_RETURN_IF_ERROR(nothing_in(message));
      return BlocksSynced{};
    case Kind::kBeat:
      break;
  }
  return invalid("an event of a kind that is not known");
}

}  // namespace sluice::api
