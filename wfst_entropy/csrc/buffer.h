// A growing array of plain values whose room is made before it is written to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace wfst_entropy {

// Values are neither initialised nor checked for: `make_room(n)` before n calls of `push`, which compilers then inline
// to the stores alone.
template <class T>
class Buffer {
  static_assert(std::is_trivial_v<T>, "values are copied as bytes and never constructed");

 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer(const Buffer& other) : size_(other.size_), capacity_(other.size_) {
    data_.reset(new T[capacity_]);
    std::copy(other.begin(), other.end(), begin());
  }
  Buffer& operator=(Buffer other) noexcept {
    swap(other);
    return *this;
  }
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  void make_room(size_t more) {
    if (size_ + more <= capacity_) return;
    capacity_ = std::max(size_ + more, 2 * capacity_);
    std::unique_ptr<T[]> larger(new T[capacity_]);
    std::copy(data_.get(), data_.get() + size_, larger.get());
    data_ = std::move(larger);
  }
  void push(const T& value) { data_[size_++] = value; }
  void resize(size_t size) { size_ = size; }  // within what there was room for
  void clear() { size_ = 0; }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_.get(); }
  T* end() { return data_.get() + size_; }
  const T* begin() const { return data_.get(); }
  const T* end() const { return data_.get() + size_; }

 private:
  std::unique_ptr<T[]> data_;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace wfst_entropy
