#include "cli/client/table_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "control/json_util.h"

namespace sluice::cli {
namespace {

constexpr size_t kGap = 3;
constexpr size_t kMaxCellBytes = 4096;

bool is_shown(const json::value& column, const TableStyle& style) {
  const json::object* fields = column.if_object();
  if (fields == nullptr) return false;
  return style.wide || control::integer_at(*fields, "priority").value_or(0) == 0;
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::string labels_text(const json::object& row) {
  const json::object* labels = control::object_at(row, "object.metadata.labels");
  if (labels == nullptr || labels->empty()) return "<none>";
  std::string out;
  for (const auto& [key, value] : *labels) {
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", std::string_view(key), cell_text(value));
  }
  return out;
}

}  // namespace

size_t shown_width(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string cell_text(const json::value& value) {
  if (value.is_null()) return "<none>";
  std::string text = value.is_string() ? std::string(value.get_string()) : json::serialize(value);
  if (text.empty()) return "";
  // What a server says must not steer the terminal.
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (text.size() > kMaxCellBytes) text.resize(kMaxCellBytes);
  return text;
}

std::string TextTable::text(bool with_head) {
  widths_.resize(std::max(widths_.size(), head_.size()));
  const auto fit = [this](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size() && i < widths_.size(); ++i) {
      widths_[i] = std::max(widths_[i], shown_width(row[i]));
    }
  };
  if (with_head) fit(head_);
  std::ranges::for_each(rows_, fit);
  std::string out;
  const auto put = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 == row.size()) break;
      const size_t width = i < widths_.size() ? widths_[i] : 0;
      out += std::string(width - std::min(width, shown_width(row[i])) + kGap, ' ');
    }
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  };
  if (with_head) put(head_);
  std::ranges::for_each(rows_, put);
  return out;
}

std::vector<std::string> table_head(const json::array& columns, const TableStyle& style) {
  std::vector<std::string> head;
  if (style.with_namespace) head.emplace_back("NAMESPACE");
  for (const json::value& column : columns) {
    if (is_shown(column, style))
      head.push_back(upper(control::text_at(column.as_object(), "name")));
  }
  if (style.with_labels) head.emplace_back("LABELS");
  return head;
}

std::vector<std::string> table_row(const json::array& columns, const json::object& row,
                                   const TableStyle& style) {
  std::vector<std::string> out;
  if (style.with_namespace) {
    out.emplace_back(control::text_at(row, "object.metadata.namespace"));
  }
  const json::array* cells = control::array_at(row, "cells");
  for (size_t i = 0; cells != nullptr && i < columns.size(); ++i) {
    if (!is_shown(columns[i], style)) continue;
    std::string text = i < cells->size() ? cell_text((*cells)[i]) : "";
    if (control::text_at(columns[i].as_object(), "format") == "name") text.insert(0, style.prefix);
    out.push_back(std::move(text));
  }
  if (style.with_labels) out.push_back(labels_text(row));
  return out;
}

}  // namespace sluice::cli
