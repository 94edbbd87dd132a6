// A tap is a node `actviz::tap(Tensor, node, order)` that hands the tensor to Rust while the
// network runs, so it sees what is inside of branches and loops, before an in-place operator
// can spoil it.
#pragma once

#include "shim.h"

#include <ATen/Context.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/print_handler.h>

#include <mutex>
#include <stdexcept>
#include <utility>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace actviz {

using namespace torch::jit;

// Where the taps of a run put what they see.
struct Sink {
  actviz_receive receive;
  void* context;
};

// Makes a sink that of this thread's run for as long as this lives. The taps find it here and
// not in the graph: nothing that is computed can become the address of a sink. Forked parts run
// on the thread of the run (actviz_network::run), so they find it, too.
class SinkOfThread {
 public:
  explicit SinkOfThread(const Sink& sink) : outer_(std::exchange(current(), &sink)) {}
  SinkOfThread(const SinkOfThread&) = delete;
  SinkOfThread& operator=(const SinkOfThread&) = delete;
  ~SinkOfThread() {
    current() = outer_;
  }

  // Null outside of a run.
  static const Sink*& current() {
    thread_local const Sink* sink = nullptr;
    return sink;
  }

 private:
  const Sink* outer_;
};

inline void tap_kernel(Stack& stack) {
  drop(stack, 1);  // the order is for the compiler alone
  const auto node = pop(stack).toInt();
  at::Tensor tensor = pop(stack).toTensor();
  const Sink* sink = SinkOfThread::current();
  if (sink == nullptr) {
    throw std::runtime_error("a tap was reached outside of a run");
  }
  if (!tensor.defined()) {
    return;
  }
  auto* heap = new at::Tensor(std::move(tensor));
  if (sink->receive(sink->context, static_cast<size_t>(node), heap) != 0) {
    throw std::runtime_error("the receiver of a tap ended the run");
  }
}

inline const Symbol& tap_symbol() {
  static const Symbol symbol = Symbol::fromQualString("actviz::tap");
  return symbol;
}

// Every batch wants the memory that the last one gave back. Handing it to the system in
// between costs a page fault for every 4 KiB of it: a thirtieth of the time.
inline void keep_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc allows
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

// The weights as they were saved are gone once they are folded: nothing is as large again
// until the next network is loaded.
inline void give_back_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// Called explicitly: a static initialiser in a static library may be dropped by the
// linker.
inline void register_tap() {
  static std::once_flag once;
  std::call_once(once, [] {
    // By its schema a tap reads the tensor and writes to a list that is an input of the
    // graph. Nothing is ever in that list. The write keeps taps from being removed, merged,
    // swapped, or run before the network is; that the tensor is only read lets freezing
    // treat the network as if no tap were there.
    RegisterOperators({Operator(
        "actviz::tap(Tensor tensor, int node, int[](a!) order) -> ()",
        Operation(tap_kernel),
        c10::AliasAnalysisKind::FROM_SCHEMA)});
    // The profiling executor rewrites the graph after the first runs: results would
    // differ in the last bits between the first run and later ones, and the first
    // would be slow. It concerns only calls that could not be inlined.
    getProfilingMode() = false;
    // Sparse tensors, those of a file and those that its code makes, are looked at before they
    // are used: an index beyond the size would be one beyond the memory.
    at::globalContext().setCheckSparseTensorInvariants(true);
    // What a network prints would go to stdout, which is for data.
    setPrintHandler([](const std::string&) {});
    keep_memory();
  });
}

}  // namespace actviz
