// A tap is a node `actviz::tap(Tensor, node, sink)` that hands the tensor to Rust while the
// network runs, so it sees what is inside of branches and loops, before an in-place operator
// can spoil it.
#pragma once

#include "shim.h"

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

struct Sink {
  actviz_receive receive;
  void* context;
};

inline void tap_kernel(Stack& stack) {
  // The sink travels through the graph as an address, so it needs no global state
  // and reaches taps in any block or forked subgraph.
  const auto address = pop(stack).toIntList();
  const auto node = pop(stack).toInt();
  at::Tensor tensor = pop(stack).toTensor();
  if (address.empty() || !tensor.defined()) {
    return;
  }
  const auto* sink = reinterpret_cast<const Sink*>(static_cast<intptr_t>(address.get(0)));
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
    // By its schema a tap reads the tensor and writes to the sink. The write keeps it
    // from being removed or merged; that the tensor is only read lets freezing treat
    // the network as if no tap were there.
    RegisterOperators({Operator(
        "actviz::tap(Tensor tensor, int node, int[](a!) sink) -> ()",
        Operation(tap_kernel),
        c10::AliasAnalysisKind::FROM_SCHEMA)});
    // The profiling executor rewrites the graph after the first runs: results would
    // differ in the last bits between the first run and later ones, and the first
    // would be slow. It concerns only calls that could not be inlined.
    getProfilingMode() = false;
    // What a network prints would go to stdout, which is for data.
    setPrintHandler([](const std::string&) {});
    keep_memory();
  });
}

}  // namespace actviz
