// A loop over utterances on several threads.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace wfst_entropy {

// Whether this is the thread that called parallel_for.
inline bool is_calling_thread() {
#ifdef _OPENMP
  return omp_get_thread_num() == 0;
#else
  return true;
#endif
}

// Calls body(0) ... body(n - 1), each once, in any order. An exception (such as one for lack of memory) may not leave
// an OpenMP region, so the first one is kept and thrown after it.
template <class Body>
void parallel_for(int64_t n, [[maybe_unused]] int num_threads, const Body& body) {
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic) num_threads(num_threads)
  for (int64_t i = 0; i < n; ++i) {
    try {
      body(i);
    } catch (...) {
#pragma omp critical(wfst_entropy_failure)
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

// The same; and while the calling thread waits for the others, it calls watch() again and again. For what only that
// thread can do, such as to look for Ctrl-C. If watch() throws, the caller must make the bodies that still run end.
template <class Body, class Watch>
void parallel_for(int64_t n, [[maybe_unused]] int num_threads, const Body& body, const Watch& watch) {
  constexpr std::chrono::milliseconds kBetween(50);
  std::exception_ptr failure;
  std::mutex mutex;
  std::condition_variable all_done;
  int64_t left = n;
  const auto keep = [&](const auto& call) {
    try {
      call();
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const auto wait = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    while (!all_done.wait_for(lock, kBetween, [&] { return left == 0; })) {
      lock.unlock();
      watch();
      lock.lock();
    }
  };
#pragma omp parallel num_threads(num_threads)
  {
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < n; ++i) {
      keep([&] { body(i); });
      std::lock_guard<std::mutex> lock(mutex);
      if (--left == 0) all_done.notify_one();
    }
    if (is_calling_thread()) keep(wait);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace wfst_entropy
