#include "formats/hf_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "formats/hf_names.h"
#include "formats/model_check.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

using tensor::TensorView;

// One stack's matrices by expert; those not seen yet are nullptr.
using Stack = std::vector<const TensorView*>;

std::span<const std::byte> own(std::vector<std::byte> bytes, ModelParts& parts) {
  parts.owned.push_back(std::move(bytes));
  return parts.owned.back();
}

Outcome add_expert(const CanonicalName& name, const TensorView& view, int experts, Stack& stack) {
  stack.resize(static_cast<size_t>(experts));
  if (*name.expert >= experts) {
    return invalid(fmt::format("tensor \"{}\": expert {} found; the model has {}", name.name,
                               *name.expert, experts));
  }
  const TensorView*& place = stack[static_cast<size_t>(*name.expert)];
  if (place != nullptr) {
    return invalid(fmt::format("tensor \"{}\": expert {} stands twice", name.name, *name.expert));
  }
  place = &view;
  return {};
}

// The stack as one {n, out, in} tensor: a view when the matrices lie one behind the other in their
// file, else a copy.
Result<TensorView> join(const std::string& name, const Stack& stack, ModelParts& parts) {
  const auto missing = std::ranges::find(stack, nullptr);
  if (missing != stack.end()) {
    return invalid(
        fmt::format("tensor \"{}\": expert {} is missing", name, missing - stack.begin()));
  }
  const TensorView& first = *stack.front();
  bool contiguous = true;
  size_t bytes = 0;
  for (const TensorView* view : stack) {
    if (view->dtype != first.dtype || view->shape != first.shape || view->shape.size() != 2) {
      return invalid(
          fmt::format("tensor \"{}\": experts are expected to be matrices of one shape "
                      "and type; found [{}] and [{}]",
                      name, fmt::join(first.shape, ", "), fmt::join(view->shape, ", ")));
    }
    contiguous = contiguous && view->bytes.data() == first.bytes.data() + bytes;
    bytes += view->bytes.size();
  }
  TensorView joined = first;
  joined.shape.insert(joined.shape.begin(), static_cast<int64_t>(stack.size()));
  if (contiguous) {
    joined.bytes = {first.bytes.data(), bytes};
    return joined;
  }
  std::vector<std::byte> copy;
  copy.reserve(bytes);
  for (const TensorView* view : stack) {
    copy.insert(copy.end(), view->bytes.begin(), view->bytes.end());
  }
  joined.bytes = own(std::move(copy), parts);
  return joined;
}

// gemma computes with 1 + weight; GGUF files hold that sum.
TensorView plus_one(const TensorView& view, ModelParts& parts) {
  std::vector<float> values = read_vector(view);
  for (float& v : values) v += 1.0f;
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {tensor::DType::kF32, view.shape, own(std::move(bytes), parts)};
}

TensorView adapt(const Architecture& a, const std::string& name, const TensorView& view,
                 ModelParts& parts) {
  if (a.gemma && name.ends_with("norm.weight") && view.shape.size() == 1) {
    return plus_one(view, parts);
  }
  TensorView out = view;
  if (name.ends_with("ffn_gate_inp_shexp.weight") && out.shape.size() == 2 && out.shape[0] == 1) {
    out.shape.erase(out.shape.begin());
  }
  return out;
}

}  // namespace

Outcome adopt_tensors(const Architecture& a, const std::vector<SafeTensor>& tensors,
                      ModelParts& parts) {
  std::map<std::string, Stack> stacks;
  for (const SafeTensor& t : tensors) {
    const auto name = canonical_name(a, t.name);
    if (!name) continue;
    if (name->expert) {
      if (parts.config.moe.experts == 0) {
        return invalid(
            fmt::format("tensor \"{}\": the configuration names no experts", printable(t.name)));
      }
      SLUICE_RETURN_IF_ERROR(
          add_expert(*name, t.view, parts.config.moe.experts, stacks[name->name]));
      continue;
    }
    if (parts.config.tied_embeddings && name->name == "output.weight") continue;
    const bool added =
        parts.tensors.emplace(name->name, adapt(a, name->name, t.view, parts)).second;
    if (!added) {
      return invalid(fmt::format("tensor \"{}\" stands twice (as {})", printable(t.name),
                                 printable(name->name)));
    }
  }
  for (const auto& [name, stack] : stacks) {
    SLUICE_ASSIGN_OR_RETURN(TensorView joined, join(name, stack, parts));
    parts.tensors.emplace(name, std::move(joined));
  }
  return {};
}

}  // namespace sluice::formats
