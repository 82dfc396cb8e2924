// Working memory of a kernel, laid out by hand and kept by its thread.
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

// A block of memory for the duration of a call. Each thread keeps one of moderate size for its next call, because the
// system hands out, and clears, fresh memory page by page.
class Scratch {
 public:
  explicit Scratch(size_t bytes) {
    Kept& kept = kept_of_thread();
    if (bytes <= kKeptBytes) {
      if (kept.bytes < bytes) {
        kept.bytes = 0;
        kept.block = allocate(bytes);
        kept.bytes = bytes;
      }
      begin_ = kept.block.get();
    } else {
      own_ = allocate(bytes);
      begin_ = own_.get();
    }
  }
  void* begin() const {
    const uintptr_t address = reinterpret_cast<uintptr_t>(begin_);
    return begin_ + (Arena::kAlignment - address % Arena::kAlignment) % Arena::kAlignment;
  }

 private:
  using Block = std::unique_ptr<unsigned char[]>;
  struct Kept {
    Block block;
    size_t bytes = 0;
  };
  static constexpr size_t kKeptBytes = size_t(4) << 20;

  static Kept& kept_of_thread() {
    thread_local Kept kept;
    return kept;
  }
  static Block allocate(size_t bytes) {
    Block block(new unsigned char[bytes + Arena::kAlignment]);
    advise_huge_pages(block.get(), bytes);
    return block;
  }

  Block own_;
  unsigned char* begin_;
};

}  // namespace wfst_entropy
