// Preparing a weight matrix: repacking it, or taking what was repacked before.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <mutex>

#include "base/check.h"
#include "kernels/weight_matrix.h"

namespace sluice::kernels {
namespace {

using tensor::TensorView;

constexpr int64_t kLargePage = int64_t{2} << 20;
constexpr int64_t kSlabBytes = int64_t{64} << 20;

// Pages that several matrices lie in, large ones where the system has them. They go back to it
// with the last of the matrices.
class Slab {
 public:
  explicit Slab(int64_t bytes) : mapped_(static_cast<size_t>(bytes + kLargePage)) {
    void* p = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return;
    memory_ = p;
    const auto at = reinterpret_cast<uintptr_t>(p);
    next_ = static_cast<std::byte*>(p) + (kLargePage - at % kLargePage) % kLargePage;
    end_ = next_ + bytes;
    ::madvise(next_, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab() {
    if (memory_ != nullptr) ::munmap(memory_, mapped_);
  }

  // The next bytes; null where they do not fit.
  std::byte* take(int64_t bytes) {
    if (end_ - next_ < bytes) return nullptr;
    std::byte* found = next_;
    next_ += (bytes + kRepackedAlignment - 1) / kRepackedAlignment * kRepackedAlignment;
    return found;
  }

 private:
  size_t mapped_;
  void* memory_ = nullptr;
  std::byte* next_ = nullptr;
  std::byte* end_ = nullptr;
};

int64_t panels_of(int64_t columns) { return (columns + kPanelColumns - 1) / kPanelColumns; }

Outcome check(const TensorView& view, Isa isa) {
  if (!isa_supported(isa)) {
    return fail(Code::kFailedPrecondition,
                fmt::format("this processor does not support {} (supported best: {})",
                            isa_name(isa), isa_name(best_isa())));
  }
  if (view.shape.size() != 2) {
    return invalid(fmt::format("a weight matrix has 2 dimensions, found {}", view.shape.size()));
  }
  const tensor::DTypeInfo& info = tensor::dtype_info(view.dtype);
  if (view.shape[0] < 1 || view.shape[1] < 1 || view.shape[1] % info.block_elements != 0) {
    return invalid(fmt::format("a {} matrix has rows of a multiple of {} elements, found {} x {}",
                               info.name, info.block_elements, view.shape[0], view.shape[1]));
  }
  SLUICE_CHECK(static_cast<int64_t>(view.bytes.size()) == view.rows() * view.row_bytes(),
               "a view holds exactly its tensor");
  return {};
}

// What multiplies weights of a type as panels; nullptr where they are used as stored.
const PanelOps* panel_ops_for(tensor::DType dtype, Isa isa) {
  const PanelTable* table = panel_table(isa);
  return table == nullptr ? nullptr : &table->of(dtype);
}

WeightRows stored_rows(const TensorView& view) {
  return {view.dtype, view.bytes.data(), view.row_bytes(), view.shape[0], view.shape[1]};
}

}  // namespace

std::shared_ptr<std::byte> panel_memory(int64_t bytes) {
  static std::mutex mutex;
  static std::weak_ptr<Slab> last;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Slab> slab = last.lock();
  std::byte* found = slab == nullptr ? nullptr : slab->take(bytes);
  if (found == nullptr) {
    const int64_t whole = (bytes + kLargePage - 1) / kLargePage * kLargePage;
    slab = std::make_shared<Slab>(std::max(kSlabBytes, whole));
    found = slab->take(bytes);
    last = slab;
  }
  return found == nullptr ? nullptr : std::shared_ptr<std::byte>(std::move(slab), found);
}

int64_t repacked_bytes(tensor::DType dtype, int64_t out, int64_t in, Isa isa) {
  if (panel_ops_for(dtype, isa) == nullptr) return 0;
  return panels_of(out) * panel_bytes(dtype, in);
}

bool rounds_rows(tensor::DType dtype, Isa isa) {
  const PanelOps* ops = panel_ops_for(dtype, isa);
  return ops != nullptr && ops->row_kind != RowKind::kF32;
}

Result<std::unique_ptr<Matrix>> prepare_matrix(const TensorView& view, Isa isa, ThreadTeam& team) {
  SLUICE_RETURN_IF_ERROR(check(view, isa));
  const WeightRows rows = stored_rows(view);
  const PanelOps* ops = panel_ops_for(view.dtype, isa);
  if (ops == nullptr) return std::make_unique<WeightMatrix>(rows, isa);
  const int64_t bytes = panel_bytes(rows.dtype, rows.in);
  const int64_t panels = panels_of(rows.out);
  const int64_t total = repacked_bytes(rows.dtype, rows.out, rows.in, isa);
  std::shared_ptr<std::byte> memory = panel_memory(total);
  if (memory == nullptr) {
    return fail(Code::kResourceExhausted,
                fmt::format("no memory for {} bytes of repacked weights", total));
  }
  team.parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) pack_panel(rows, p, memory.get() + p * bytes);
  });
  const std::span<const std::byte> packed(memory.get(), static_cast<size_t>(total));
  return std::make_unique<WeightMatrix>(rows, isa, *ops, packed, std::move(memory));
}

Result<std::unique_ptr<Matrix>> adopt_matrix(const TensorView& view, Isa isa,
                                             std::span<const std::byte> repacked) {
  SLUICE_RETURN_IF_ERROR(check(view, isa));
  const WeightRows rows = stored_rows(view);
  const PanelOps* ops = panel_ops_for(view.dtype, isa);
  const int64_t expected = repacked_bytes(rows.dtype, rows.out, rows.in, isa);
  if (ops == nullptr || std::ssize(repacked) != expected) {
    return invalid(fmt::format("a {} matrix of {} x {} has {} repacked bytes for {}, found {}",
                               tensor::dtype_info(rows.dtype).name, rows.out, rows.in, expected,
                               isa_name(isa), repacked.size()));
  }
  SLUICE_CHECK(reinterpret_cast<uintptr_t>(repacked.data()) % kRepackedAlignment == 0,
               "repacked weights are aligned");
  return std::make_unique<WeightMatrix>(rows, isa, *ops, repacked);
}

}  // namespace sluice::kernels
