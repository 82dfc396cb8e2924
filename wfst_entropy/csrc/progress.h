// How far an operation is: its limits, and whether the user wants it to stop.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace wfst_entropy {

// The graph outgrows what the caller allows, or what 32-bit numbers can count.
struct LimitError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A cycle where none may be; the message names it.
struct CycleError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The input has no answer: the message says why and what to do.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Progress {
 public:
  // The limits are lowered to what int32 state numbers and arc numbers can count.
  Progress(std::string operation, int64_t max_states, int64_t max_arcs)
      : operation_(std::move(operation)),
        max_states_(std::min(max_states, kLargest)),
        max_arcs_(std::min(max_arcs, kLargest)),
        max_held_(std::max(kLeastHeld, kHeldPerState * max_states_)) {}

  // Tells that the result has, or is about to have, so many states and arcs. Throws LimitError, or what Ctrl-C raises.
  void grow(int64_t num_states, int64_t num_arcs) {
    num_states_ = num_states;
    num_arcs_ = num_arcs;
    if (num_states > max_states_ || num_arcs > max_arcs_) throw_limit();
    step();
  }

  // Call this in every long loop that does not call grow(): it lets Ctrl-C through.
  void step() {
    if (++steps_ % kStepsBetweenChecks == 0) check_interrupt();
  }

  // The same for so many steps at once.
  void steps(uint64_t count) {
    const uint64_t before = steps_ / kStepsBetweenChecks;
    steps_ += count;
    if (steps_ / kStepsBetweenChecks != before) check_interrupt();
  }

  // Throws what Ctrl-C raises. Takes the GIL; only the thread that Python called may do that.
  void check_interrupt() const;

  // Tells that the tables of the operation take so many more bytes (or fewer). Throws LimitError. See Held.
  void hold(int64_t bytes) {
    held_ += bytes;
    if (bytes > 0 && held_ > max_held_) throw_held();
  }

  const std::string& operation() const { return operation_; }
  int64_t max_states() const { return max_states_; }
  int64_t max_arcs() const { return max_arcs_; }

 private:
  static constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() - 1;
  static constexpr uint64_t kStepsBetweenChecks = 1 << 18;
  // Tables that no count of states or arcs bounds may take as much as the states that the caller allows.
  static constexpr int64_t kHeldPerState = 80, kLeastHeld = int64_t{64} << 20;

  [[noreturn]] void throw_limit() const;
  [[noreturn]] void throw_held() const;

  std::string operation_;
  int64_t max_states_, max_arcs_, max_held_;
  int64_t num_states_ = 0, num_arcs_ = 0;
  int64_t held_ = 0;
  uint64_t steps_ = 0;
};

// What one table of an operation holds, in bytes, about; given back when the table goes.
class Held {
 public:
  explicit Held(Progress& progress) : progress_(progress) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() { clear(); }

  void clear() {
    progress_.hold(-bytes_);
    bytes_ = 0;
  }

  void add(int64_t bytes) {
    bytes_ += bytes;
    progress_.hold(bytes);
  }

 private:
  Progress& progress_;
  int64_t bytes_ = 0;
};

}  // namespace wfst_entropy
