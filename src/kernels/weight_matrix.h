// What a Matrix is: weights as the file has them, or panels. Private to the room.
#pragma once

#include <memory>
#include <span>

#include "kernels/ops.h"
#include "kernels/panels.h"

namespace sluice::kernels {

// Memory for panels, of one matrix after the other: neighbours share large pages, which a matrix by
// itself would fill in part only. Null when there is none. Any thread may call.
std::shared_ptr<std::byte> panel_memory(int64_t bytes);

// Weights as the file has them, or panels: of its own or of somebody who outlives it.
class WeightMatrix final : public Matrix {
 public:
  WeightMatrix(const WeightRows& rows, Isa isa) : isa_(isa), rows_(rows) {}
  WeightMatrix(const WeightRows& rows, Isa isa, const PanelOps& ops,
               std::span<const std::byte> panels, std::shared_ptr<std::byte> owned)
      : WeightMatrix(rows, isa, ops, panels) {
    owned_ = std::move(owned);
  }
  WeightMatrix(const WeightRows& rows, Isa isa, const PanelOps& ops,
               std::span<const std::byte> panels)
      : isa_(isa), rows_(rows), panel_ops_(&ops), panels_(panels) {
    rows_.data = nullptr;
  }

  int64_t out() const override { return rows_.out; }
  int64_t in() const override { return rows_.in; }
  tensor::DType dtype() const override { return rows_.dtype; }
  bool is_repacked() const override { return panel_ops_ != nullptr; }
  std::span<const std::byte> repacked() const override { return panels_; }
  Isa isa() const { return isa_; }
  const WeightRows& rows() const { return rows_; }
  const PanelOps& panel_ops() const { return *panel_ops_; }
  PanelWeights panels() const {
    return {.dtype = rows_.dtype,
            .data = panels_.data(),
            .out = rows_.out,
            .in = rows_.in,
            .panel_bytes = panel_bytes(rows_.dtype, rows_.in)};
  }

 private:
  Isa isa_;
  WeightRows rows_;
  const PanelOps* panel_ops_ = nullptr;
  std::span<const std::byte> panels_;
  std::shared_ptr<std::byte> owned_;
};

}  // namespace sluice::kernels
