#include "cli/line_reader.h"

#include <histedit.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <utility>

namespace sluice::cli {
namespace {

constexpr int kHistoryLines = 500;
constexpr std::string_view kFence = "\"\"\"";

}  // namespace

struct LineReader::Impl {
  std::string prompt;
  std::string shown;
  EditLine* line = nullptr;
  History* history = nullptr;

  static char* prompt_of(EditLine* line) {
    void* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    return static_cast<Impl*>(self)->shown.data();
  }
};

LineReader::LineReader(std::string prompt) : impl_(std::make_unique<Impl>()) {
  impl_->prompt = std::move(prompt);
  if (::isatty(STDIN_FILENO) == 0) return;
  impl_->line = el_init("sluice", stdin, stdout, stderr);
  impl_->history = history_init();
  HistEvent event;
  history(impl_->history, &event, H_SETSIZE, kHistoryLines);
  el_set(impl_->line, EL_CLIENTDATA, impl_.get());
  el_set(impl_->line, EL_PROMPT, &Impl::prompt_of);
  el_set(impl_->line, EL_EDITOR, "emacs");
  el_set(impl_->line, EL_HIST, history, impl_->history);
  el_set(impl_->line, EL_SIGNAL, 1);
}

LineReader::~LineReader() {
  if (impl_->history != nullptr) history_end(impl_->history);
  if (impl_->line != nullptr) el_end(impl_->line);
}

std::optional<std::string> LineReader::read_line(bool continued) {
  std::string text;
  if (impl_->line == nullptr) {
    if (!std::getline(std::cin, text)) return std::nullopt;
    return text;
  }
  impl_->shown = continued ? "… " : impl_->prompt;
  int count = 0;
  const char* typed = el_gets(impl_->line, &count);
  if (typed == nullptr || count <= 0) return std::nullopt;
  text.assign(typed, static_cast<size_t>(count));
  if (text.find_first_not_of(" \t\n") != std::string::npos) {
    HistEvent event;
    history(impl_->history, &event, H_ENTER, typed);
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::optional<std::string> LineReader::read() {
  auto line = read_line(false);
  if (!line) return std::nullopt;
  if (*line == kFence) {
    std::string message;
    while (auto more = read_line(true)) {
      if (*more == kFence) break;
      message += message.empty() ? *more : "\n" + *more;
    }
    return message;
  }
  while (!line->empty() && line->back() == '\\') {
    line->back() = '\n';
    const auto more = read_line(true);
    if (!more) break;
    *line += *more;
  }
  return line;
}

}  // namespace sluice::cli
