// A list that never changes: another one with one value more shares all of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace wfst_entropy {

template <class T>
class SharedList {
 public:
  SharedList() = default;
  SharedList(const SharedList& other) : last_(keep(other.last_)) {}
  SharedList(SharedList&& other) noexcept : last_(std::exchange(other.last_, nullptr)) {}
  SharedList& operator=(SharedList other) noexcept {
    std::swap(last_, other.last_);
    return *this;
  }
  ~SharedList() { drop(last_); }

  SharedList with(const T& value) const { return SharedList(new Node{value, keep(last_), {1}}); }
  bool empty() const { return last_ == nullptr; }
  const T& last() const { return last_->value; }

  // Calls visit(value) from the last one back, until it returns false.
  template <class Visit>
  void backwards(const Visit& visit) const {
    for (const Node* node = last_; node != nullptr && visit(node->value);) node = node->before;
  }

  // Whether this list is the other one without its last value, if equal(a, b) tells which values are the same.
  template <class Equal>
  bool is_begun_by(const SharedList& other, const Equal& equal) const {
    const Node *a = last_, *b = other.last_->before;
    while (a != b) {
      if (a == nullptr || b == nullptr || !equal(a->value, b->value)) return false;
      a = a->before;
      b = b->before;
    }
    return true;
  }

 private:
  struct Node {
    T value;
    Node* before;
    std::atomic<int64_t> uses;  // lists may be dropped by several threads
  };
  explicit SharedList(Node* last) : last_(last) {}

  static Node* keep(Node* node) {
    if (node != nullptr) node->uses.fetch_add(1, std::memory_order_relaxed);
    return node;
  }
  static void drop(Node* node) {  // a loop, for lists are long
    while (node != nullptr && node->uses.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      Node* before = node->before;
      delete node;
      node = before;
    }
  }

  Node* last_ = nullptr;
};

}  // namespace wfst_entropy
