#include "model/loader.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "model/weights_cache.h"

namespace sluice::model {
namespace {

using tensor::Shape;
using tensor::TensorView;

constexpr size_t kProblemsShown = 12;

// Tensors that files carry and the reader has already taken into the configuration, or that repeat
// what every implementation computes.
constexpr std::array<std::string_view, 4> kUsedByReader = {
    "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight",
    "attn_rot_embd.weight"};

bool used_by_reader(std::string_view name) {
  return std::ranges::any_of(kUsedByReader, [&](std::string_view s) { return name.ends_with(s); });
}

// A vector may be stored with leading dimensions of 1.
std::span<const int64_t> without_leading_ones(const Shape& shape) {
  std::span<const int64_t> rest = shape;
  while (rest.size() > 1 && rest.front() == 1) rest = rest.subspan(1);
  return rest;
}

bool same_shape(const Shape& a, const Shape& b) {
  return std::ranges::equal(without_leading_ones(a), without_leading_ones(b));
}

TensorView rows_of(const TensorView& view, int64_t first, int64_t count) {
  const auto row = static_cast<size_t>(view.row_bytes());
  return {.dtype = view.dtype,
          .shape = {count, view.cols()},
          .bytes = view.bytes.subspan(static_cast<size_t>(first) * row,
                                      static_cast<size_t>(count) * row)};
}

}  // namespace

std::string layer_tensor(int layer, std::string_view part, std::string_view kind) {
  return fmt::format("blk.{}.{}.{}", layer, part, kind);
}

Loader::Loader(const formats::ModelSource& source, const ModelOptions& options, ThreadTeam& team,
               WeightsCache* cache)
    : source_(source), options_(options), team_(team), cache_(cache) {}

const TensorView* Loader::claim(const std::string& name, const Shape& shape) {
  claimed_.insert(name);
  const TensorView* view = source_.find(name);
  if (view == nullptr) {
    problems_.push_back(fmt::format("{} is missing", name));
    return nullptr;
  }
  if (!same_shape(view->shape, shape)) {
    problems_.push_back(fmt::format("{} is {{{}}}, expected {{{}}}", name,
                                    fmt::join(view->shape, ", "), fmt::join(shape, ", ")));
    return nullptr;
  }
  return view;
}

std::unique_ptr<kernels::Matrix> Loader::prepare(const std::string& name, const TensorView& view) {
  std::span<const std::byte> kept;
  if (cache_ != nullptr) kept = cache_->find(name, view);
  auto matrix = kept.empty() ? kernels::prepare_matrix(view, options_.isa, team_)
                             : kernels::adopt_matrix(view, options_.isa, kept);
  if (!matrix) {
    problems_.push_back(fmt::format("{}: {}", name, matrix.error().message()));
    return nullptr;
  }
  if ((*matrix)->is_repacked()) {
    source_.release(view);
    if (cache_ != nullptr) cache_->note(name, view, (*matrix)->repacked());
  }
  return *std::move(matrix);
}

std::vector<float> Loader::vector(const std::string& name, int64_t length) {
  const TensorView* view = claim(name, {length});
  if (view == nullptr) return {};
  auto values = kernels::to_float(*view);
  if (!values) {
    problems_.push_back(fmt::format("{}: {}", name, values.error().message()));
    return {};
  }
  return *std::move(values);
}

std::unique_ptr<kernels::Matrix> Loader::matrix(const std::string& name, int64_t out, int64_t in) {
  const TensorView* view = claim(name, {out, in});
  return view == nullptr ? nullptr : prepare(name, *view);
}

FloatMatrix Loader::float_matrix(const std::string& name, int64_t out, int64_t in) {
  FloatMatrix result;
  const TensorView* view = claim(name, {out, in});
  if (view == nullptr) return result;
  TensorView floats{.dtype = tensor::DType::kF32, .shape = {out, in}, .bytes = view->bytes};
  if (view->dtype == tensor::DType::kF32) {
    result.weight = prepare(name, floats);
    return result;
  }
  auto values = kernels::to_float(*view);
  if (!values) {
    problems_.push_back(fmt::format("{}: {}", name, values.error().message()));
    return result;
  }
  // Not by the cache, which tells matrices apart by where they lie in the source.
  floats.bytes = std::as_bytes(std::span(*values));
  auto matrix = kernels::prepare_matrix(floats, options_.isa, team_);
  if (!matrix) {
    problems_.push_back(fmt::format("{}: {}", name, matrix.error().message()));
    return result;
  }
  result.weight = *std::move(matrix);
  if (!result.weight->is_repacked()) result.values = *std::move(values);
  return result;
}

void Loader::require(const std::string& name) {
  if (!has(name)) problems_.push_back(fmt::format("{} is missing", name));
}

Linear Loader::linear(int layer, std::string_view part, int64_t out, int64_t in) {
  return linear_rows(layer, part, {.total = out, .first = 0, .count = out}, in);
}

Linear Loader::linear_rows(int layer, std::string_view part, Rows rows, int64_t in) {
  Linear result;
  const std::string name = layer_tensor(layer, part);
  if (const TensorView* view = claim(name, {rows.total, in})) {
    result.weight = prepare(name, rows_of(*view, rows.first, rows.count));
  }
  const std::string bias = layer_tensor(layer, part, "bias");
  if (has(bias)) {
    const std::vector<float> all = vector(bias, rows.total);
    if (!all.empty()) {
      result.bias.assign(all.begin() + rows.first, all.begin() + rows.first + rows.count);
    }
  }
  return result;
}

std::vector<std::unique_ptr<kernels::Matrix>> Loader::stack(const std::string& name, int64_t count,
                                                            int64_t out, int64_t in) {
  std::vector<std::unique_ptr<kernels::Matrix>> result;
  const TensorView* view = claim(name, {count, out, in});
  if (view == nullptr) return result;
  result.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    result.push_back(prepare(name, rows_of(*view, i * out, out)));
  }
  return result;
}

TensorView Loader::table(const std::string& name, int64_t rows, int64_t cols) {
  const TensorView* view = claim(name, {rows, cols});
  if (view == nullptr) return {};
  source_.release(*view);  // single rows are read, and few of them often
  return *view;
}

Outcome Loader::finish() const {
  std::vector<std::string> problems = problems_;
  for (const auto& [name, view] : source_.tensors()) {
    if (!claimed_.contains(name) && !used_by_reader(name)) {
      problems.push_back(fmt::format("{} has no place in it", name));
    }
  }
  if (problems.empty()) return {};
  const size_t shown = std::min(problems.size(), kProblemsShown);
  std::string list = fmt::format(
      "{}", fmt::join(problems.begin(), problems.begin() + static_cast<ptrdiff_t>(shown), "; "));
  if (shown < problems.size()) list += fmt::format("; and {} more", problems.size() - shown);
  return invalid(fmt::format(
      "the tensors do not fit architecture {}: {}. The file may be damaged, or of a variant of "
      "this architecture that is not supported",
      config().architecture, list));
}

}  // namespace sluice::model
