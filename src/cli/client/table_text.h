// Tables in columns, as kubectl prints them. Plain values, one owner.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::cli {

// Rows of texts under a head; the columns are as wide as their widest text.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> head) : head_(std::move(head)) {}

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }

  // Widths only grow from one call to the next, so that a table that goes on stays in line.
  std::string text(bool with_head);
  void clear_rows() { rows_.clear(); }

 private:
  std::vector<std::string> head_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<size_t> widths_;
};

// How a server's Table (meta.k8s.io/v1) is shown.
struct TableStyle {
  bool wide = false;
  bool with_namespace = false;
  bool with_labels = false;
  std::string prefix = {};  // put before each name: "inferenceservice.serving.kserve.io/"
};

// The head of the table, in capitals.
std::vector<std::string> table_head(const json::array& columns, const TableStyle& style);
// One of its rows; `columns` say which cells are shown.
std::vector<std::string> table_row(const json::array& columns, const json::object& row,
                                   const TableStyle& style);

// A cell: texts as they are, numbers, "<none>" for nothing.
std::string cell_text(const json::value& value);

// How many columns of a terminal the UTF-8 text takes, each character one.
size_t shown_width(std::string_view text);

}  // namespace sluice::cli
