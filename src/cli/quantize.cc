#include "cli/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iostream>
#include <limits>
#include <map>
#include <thread>
#include <unordered_set>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sizes.h"
#include "base/thread_team.h"
#include "cli/model_path.h"
#include "cli/progress_line.h"
#include "cli/quantize_plan.h"
#include "cli/signals.h"
#include "formats/gguf_file.h"
#include "formats/gguf_writer.h"
#include "formats/model_source.h"
#include "kernels/dequant.h"
#include "kernels/quantize.h"
#include "tensor/mapped_file.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;
using tensor::DType;
using tensor::TensorView;

constexpr int64_t kSlabBytes = int64_t{32} << 20;  // of floats: what is converted between writes
constexpr int64_t kTaskElements = int64_t{1} << 16;

// A model file opened twice: checked as a model, and as the container whose metadata is copied.
struct Input {
  fs::path path;
  std::unique_ptr<formats::ModelSource> model;
  std::unique_ptr<tensor::MappedFile> file;
  formats::GgufFile gguf;
  std::vector<std::string> names;  // tensors in file order
};

struct Report {
  uint64_t bytes = 0;
  std::map<std::string, int> counts;     // tensors by type
  std::map<std::string, int> fallbacks;  // tensors by type that another was wanted for
  int requantized = 0;                   // from a type that had lost precision already
  int64_t elements = 0;
  double seconds = 0;
};

std::string type_name(DType dtype) { return std::string(tensor::dtype_info(dtype).name); }

Result<Input> open_input(const std::string& given) {
  Input in;
  SLUICE_ASSIGN_OR_RETURN(const auto resolved, resolve_model(given));
  in.path = resolved.path;
  std::error_code none;
  if (fs::is_directory(in.path, none)) {
    return invalid(fmt::format("quantize reads GGUF files; {} is a folder", in.path.string()));
  }
  SLUICE_ASSIGN_OR_RETURN(in.model, formats::open_model(in.path));
  SLUICE_ASSIGN_OR_RETURN(auto mapped, tensor::MappedFile::open(in.path));
  in.file = std::make_unique<tensor::MappedFile>(std::move(mapped));
  SLUICE_ASSIGN_OR_RETURN(in.gguf, formats::parse_gguf(in.file->bytes()));
  std::unordered_set<std::string_view> seen;
  for (const formats::GgufTensor& t : in.gguf.tensors) {
    in.names.emplace_back(t.name);
    seen.insert(t.name);
  }
  for (const auto& [name, view] : in.model->tensors()) {
    if (!seen.contains(name)) in.names.push_back(name);  // of the further shards
  }
  return in;
}

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool all_finite(const float* x, int64_t count) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    finite &= std::abs(x[i]) <= std::numeric_limits<float>::max();
  }
  return finite;
}

class Quantizer {
 public:
  Quantizer(const Input& in, const QuantizeTarget& target, int threads)
      : in_(in), target_(target), team_(threads) {
    for (const std::string& name : in.names) {
      const TensorView& view = *in.model->find(name);
      tensors_.push_back({name, view.dtype, view.shape});
    }
    choices_ = plan_quantization(target, tensors_, in.model->config().layers);
  }

  Result<Report> write(const fs::path& path, formats::Existing existing, const Signals& signals,
                       ProgressLine& line) {
    const TimePoint start = system_clock().now();
    formats::GgufWriter writer;
    describe(writer);
    SLUICE_RETURN_IF_ERROR(writer.open(path, existing));
    uint64_t total = 0;
    for (const QuantizeInput& t : tensors_) total += in_.model->find(t.name)->bytes.size();
    uint64_t done = 0;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      const TensorView& view = *in_.model->find(tensors_[i].name);
      const auto converted = convert(view, choices_[i].dtype, writer, [&](uint64_t bytes) {
        line.show(tensors_[i].name, done += bytes, total);
        return signals.wait_for(std::chrono::milliseconds(0)) == 0;
      });
      if (!converted) return std::unexpected(converted.error().at("tensor " + tensors_[i].name));
    }
    SLUICE_RETURN_IF_ERROR(writer.commit());
    Report report = count();
    report.bytes = writer.file_bytes();
    report.seconds = to_seconds(system_clock().now() - start);
    return report;
  }

 private:
  using OnProgress = FunctionRef<bool(uint64_t)>;  // bytes of input that are through; false: stop

  void describe(formats::GgufWriter& writer) const {
    for (const formats::GgufEntry& entry : in_.gguf.entries) {
      if (entry.key == "general.file_type" || entry.key == "general.quantization_version" ||
          entry.key.starts_with("split.")) {
        continue;
      }
      writer.add(entry);
    }
    writer.add_u32("general.file_type", target_.file_type);
    writer.add_u32("general.quantization_version", 2);
    for (size_t i = 0; i < tensors_.size(); ++i) {
      writer.add_tensor(tensors_[i].name, choices_[i].dtype, tensors_[i].shape);
    }
  }

  Outcome convert(const TensorView& view, DType to, formats::GgufWriter& writer,
                  OnProgress on_progress) {
    const int64_t from_row = view.row_bytes();
    const int64_t to_row = TensorView{to, view.shape, {}}.row_bytes();
    const int64_t slab = std::max<int64_t>(1, kSlabBytes / 4 / view.cols());
    for (int64_t row = 0; row < view.rows(); row += slab) {
      const int64_t rows = std::min(slab, view.rows() - row);
      const auto source = view.bytes.subspan(static_cast<size_t>(row * from_row),
                                             static_cast<size_t>(rows * from_row));
      if (to == view.dtype) {
        SLUICE_RETURN_IF_ERROR(writer.append(source));
      } else {
        out_.resize(static_cast<size_t>(rows * to_row));
        SLUICE_RETURN_IF_ERROR(convert_rows(view, source, rows, to, to_row));
        SLUICE_RETURN_IF_ERROR(writer.append(out_));
      }
      if (!on_progress(source.size())) return fail(Code::kCancelled, "stopped by a signal");
    }
    return {};
  }

  Outcome convert_rows(const TensorView& view, std::span<const std::byte> source, int64_t rows,
                       DType to, int64_t to_row) {
    const int64_t cols = view.cols();
    const int64_t chunk = std::max<int64_t>(1, kTaskElements / cols);
    const int64_t from_row = view.row_bytes();
    std::atomic<bool> finite{true};
    team_.parallel_for(rows, chunk, [&](int64_t begin, int64_t end) {
      std::vector<float> floats(static_cast<size_t>(cols));
      for (int64_t r = begin; r < end; ++r) {
        kernels::dequantize(view.dtype, source.data() + r * from_row, cols, floats.data());
        if (!all_finite(floats.data(), cols)) return finite.store(false);
        kernels::quantize(to, floats.data(), cols, out_.data() + r * to_row);
      }
    });
    if (!finite) return fail(Code::kDataLoss, "holds an infinity or a NaN; the file is damaged");
    return {};
  }

  Report count() const {
    Report report;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      const std::string to = type_name(choices_[i].dtype);
      ++report.counts[to];
      if (choices_[i].fallback) ++report.fallbacks[to];
      const bool changed = choices_[i].dtype != tensors_[i].dtype;
      if (changed && !is_float(tensors_[i].dtype)) ++report.requantized;
      report.elements += in_.model->find(tensors_[i].name)->elements();
    }
    return report;
  }

  const Input& in_;
  const QuantizeTarget target_;
  ThreadTeam team_;
  std::vector<QuantizeInput> tensors_;
  std::vector<QuantizeChoice> choices_;
  std::vector<std::byte> out_;
};

double bits_per_weight(const Report& report) {
  return 8.0 * static_cast<double>(report.bytes) / static_cast<double>(report.elements);
}

template <typename Map>
json::object as_object(const Map& map) {
  json::object out;
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}

void print(const QuantizeOptions& options, const Input& in, const Report& report) {
  const uint64_t before = in.model->file_bytes();
  if (options.output == "json") {
    std::cout << to_json({{"input", in.path.string()},
                          {"output", options.output_file},
                          {"input_bytes", before},
                          {"output_bytes", report.bytes},
                          {"bits_per_weight", bits_per_weight(report)},
                          {"tensors_by_type", as_object(report.counts)},
                          {"fallbacks_by_type", as_object(report.fallbacks)},
                          {"requantized_tensors", report.requantized},
                          {"seconds", report.seconds}})
              << "\n";
    return;
  }
  std::cout << fmt::format("{}: {} of {} before, {:.2f} bits a weight, {:.1f} s\n",
                           options.output_file, show_size(static_cast<int64_t>(report.bytes)),
                           show_size(static_cast<int64_t>(before)), bits_per_weight(report),
                           report.seconds);
  for (const auto& [type, count] : report.counts) {
    std::cout << fmt::format("{:>8} {}\n", count, type);
  }
}

void warn(const Report& report, ProgressLine& line) {
  for (const auto& [type, count] : report.fallbacks) {
    line.note(
        fmt::format("note: {} tensors became {}, because their width does not divide into "
                    "the blocks of the type asked for",
                    count, type));
  }
  if (report.requantized > 0) {
    line.note(
        fmt::format("note: {} tensors were quantized before; the losses add up. Start from "
                    "F32, F16 or BF16 where you can",
                    report.requantized));
  }
}

Outcome quantize(const QuantizeOptions& options) {
  const Signals signals;
  SLUICE_ASSIGN_OR_RETURN(const QuantizeTarget target, parse_quantize_target(options.type));
  std::error_code none;  // a path that cannot be looked at is refused when it is written
  if (!options.force && fs::exists(options.output_file, none)) {
    return fail(Code::kAlreadyExists,
                fmt::format("{} exists already; --force replaces it", options.output_file));
  }
  SLUICE_ASSIGN_OR_RETURN(const Input in, open_input(options.input));
  const int threads = options.threads > 0
                          ? options.threads
                          : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  ProgressLine line;
  Quantizer quantizer(in, target, threads);
  const auto report = quantizer.write(
      options.output_file, options.force ? formats::Existing::kReplace : formats::Existing::kRefuse,
      signals, line);
  line.clear();
  if (!report) return std::unexpected(report.error());
  warn(*report, line);
  print(options, in, *report);
  return {};
}

}  // namespace

int run_quantize(const QuantizeOptions& options) {
  const Outcome outcome = quantize(options);
  if (outcome) return 0;
  log_error("{}", outcome.error().message());
  return 1;
}

}  // namespace sluice::cli
