#include "gateway/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace sluice::gateway {
namespace {

constexpr size_t kMaxTenantsKept = 4096;

}  // namespace

bool Admission::room() const {
  if (places_ >= 0 && running_ >= places_) return false;
  return settings_.max_concurrent == 0 || running_ < settings_.max_concurrent;
}

void Admission::set_places(int places) {
  std::vector<Granted> next;
  {
    const std::lock_guard lock(mutex_);
    places_ = places;
    next = take_ready();
  }
  for (const Granted& granted : next) granted(Permit(shared_from_this()));
}

std::optional<Admission::Permit> Admission::try_enter() {
  const std::lock_guard lock(mutex_);
  if (!queue_.empty() || !room()) return std::nullopt;
  ++running_;
  return Permit(shared_from_this());
}

void Admission::configure(const plan::Queue& settings) {
  std::vector<Granted> next;
  {
    const std::lock_guard lock(mutex_);
    settings_ = settings;
    next = take_ready();
  }
  for (const Granted& granted : next) granted(Permit(shared_from_this()));
}

std::vector<Admission::Granted> Admission::take_ready() {
  std::vector<Granted> ready;
  while (!queue_.empty() && room()) {
    const auto first = queue_.begin();
    virtual_time_ = std::max(virtual_time_, first->first.start);
    ready.push_back(std::move(first->second));
    tickets_.erase(first->first.ticket);
    queue_.erase(first);
    ++running_;
  }
  if (queue_.empty()) {
    finish_.clear();
    virtual_time_ = 0;
  }
  return ready;
}

Result<uint64_t> Admission::ask(const Asker& asker, Granted granted) {
  uint64_t ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!room()) {
      if (static_cast<int>(queue_.size()) >= settings_.max_waiting) {
        return fail(Code::kResourceExhausted,
                    fmt::format("{} requests run and {} wait already; try again later", running_,
                                queue_.size()),
                    {}, "queue_full");
      }
      if (finish_.size() > kMaxTenantsKept) finish_.clear();
      double& finish = finish_[asker.tenant];
      const double start = std::max(virtual_time_, finish);
      finish = start + 1 / asker.weight;
      ticket = next_ticket_++;
      const Order order{-asker.priority, start, ticket};
      queue_.emplace(order, std::move(granted));
      tickets_.emplace(ticket, order);
      return ticket;
    }
    ++running_;
  }
  granted(Permit(shared_from_this()));
  return uint64_t{0};
}

bool Admission::withdraw(uint64_t ticket) {
  Granted dropped;  // destroyed behind the lock: it may own anything
  const std::lock_guard lock(mutex_);
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end()) return false;
  auto node = queue_.extract(found->second);
  dropped = std::move(node.mapped());
  tickets_.erase(found);
  return true;
}

void Admission::leave() {
  std::vector<Granted> next;
  {
    const std::lock_guard lock(mutex_);
    --running_;
    next = take_ready();
  }
  for (const Granted& granted : next) granted(Permit(shared_from_this()));
}

int Admission::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

int Admission::waiting() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(queue_.size());
}

}  // namespace sluice::gateway
