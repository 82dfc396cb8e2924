// Working memory of a kernel, laid out by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "huge_pages.h"

namespace wfst_entropy {

// Hands out parts of one block of memory. An arena without a block only counts what would be taken.
class Arena {
 public:
  Arena() = default;
  explicit Arena(void* block) : begin_(reinterpret_cast<uintptr_t>(block)) {}

  // n values at an address that no other part's cache line or vector shares; not initialised.
  template <class P>
  P* take(int64_t n) {
    P* part = begin_ == 0 ? nullptr : reinterpret_cast<P*>(begin_ + used_);
    used_ += (static_cast<size_t>(n) * sizeof(P) + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  }
  size_t used() const { return used_; }

  static constexpr size_t kAlignment = 64;

 private:
  uintptr_t begin_ = 0;
  size_t used_ = 0;
};

// A block of memory for the duration of a call.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : block_(new unsigned char[bytes + Arena::kAlignment]) {
    advise_huge_pages(block_.get(), bytes);
  }
  void* begin() const {
    const uintptr_t address = reinterpret_cast<uintptr_t>(block_.get());
    return block_.get() + (Arena::kAlignment - address % Arena::kAlignment) % Arena::kAlignment;
  }

 private:
  std::unique_ptr<unsigned char[]> block_;
};

}  // namespace wfst_entropy
