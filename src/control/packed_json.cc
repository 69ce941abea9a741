#include "control/packed_json.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <new>

namespace sluice::control {
namespace {

constexpr size_t kMaxAlignment = alignof(std::max_align_t);

size_t aligned(size_t at, size_t alignment) { return (at + alignment - 1) / alignment * alignment; }

// Hands out one piece of memory from its beginning to its end until it is sealed; what does not fit
// or comes later is the heap's. Nothing of the piece is given back before the whole. Once sealed:
// any thread.
class Block final : public json::memory_resource {
 public:
  Block(size_t bytes, Block** self)
      : memory_(static_cast<std::byte*>(::operator new(bytes))), size_(bytes) {
    *self = this;
  }
  ~Block() override { ::operator delete(memory_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void seal() { used_ = size_; }

 private:
  void* do_allocate(size_t bytes, size_t alignment) override {
    const size_t begin = aligned(used_, std::min(alignment, kMaxAlignment));
    if (begin > size_ || bytes > size_ - begin) return ::operator new(bytes);
    used_ = begin + bytes;
    return memory_ + begin;
  }

  void do_deallocate(void* at, size_t, size_t) override {
    const std::less<const void*> before;
    const bool ours = !before(at, memory_) && before(at, memory_ + size_);
    if (!ours) ::operator delete(at);
  }

  bool do_is_equal(const json::memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::byte* const memory_;
  const size_t size_;
  size_t used_ = 0;
};

// What Boost.JSON asks for when it copies a value, piece by piece in its order, as far as can be
// told from outside. Too little costs a piece on the heap, too much stays unused.
class Sizes {
 public:
  size_t total() const { return at_; }

  void add(const json::object& object) {
    if (object.empty()) return;
    const size_t index = object.size() > kFewMembers ? object.size() * kIndexEntry : 0;
    take(kHead + object.size() * sizeof(json::key_value_pair) + index, kMaxAlignment);
    for (const auto& [key, value] : object) {
      add(value);
      take(key.size() + 1, 1);
    }
  }

 private:
  static constexpr size_t kHead = 16;        // of an object's table
  static constexpr size_t kListHead = 8;     // of a list's
  static constexpr size_t kTextHead = 8;     // of a text's
  static constexpr size_t kTextInside = 14;  // so many bytes stand in the value itself
  static constexpr size_t kFirstText = 30;   // the least that is asked for otherwise
  static constexpr size_t kFewMembers = 18;  // above, an object has an index
  static constexpr size_t kIndexEntry = 4;

  void take(size_t bytes, size_t alignment) { at_ = aligned(at_, alignment) + bytes; }

  void add(const json::value& value) {
    if (const auto* text = value.if_string()) {
      if (text->size() <= kTextInside) return;
      take(kTextHead + std::max(kFirstText, text->size()) + 1, alignof(uint32_t));
    } else if (const auto* object = value.if_object()) {
      add(*object);
    } else if (const auto* list = value.if_array(); list != nullptr && !list->empty()) {
      take(kListHead + list->size() * sizeof(json::value), alignof(json::value));
      for (const json::value& each : *list) add(each);
    }
  }

  size_t at_ = 0;
};

}  // namespace

json::object packed(const json::object& object) {
  Sizes sizes;
  sizes.add(object);
  Block* block = nullptr;
  const json::storage_ptr storage = json::make_shared_resource<Block>(sizes.total(), &block);
  json::object copy(object, storage);
  block->seal();
  return copy;
}

}  // namespace sluice::control
