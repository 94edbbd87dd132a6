// Which values of a graph are computed from one of its inputs.
#pragma once

#include "tap.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <string>
#include <unordered_set>

namespace actviz {

using namespace torch::jit;

// The values whose contents depend on `start`. What is only told of a tensor's shape or
// type does not count.
class Dependents {
 public:
  Dependents(Graph& graph, Value* start) {
    marked_.insert(start);
    do {
      grown_ = false;
      spread(graph.block());
    } while (grown_);
  }

  bool contain(Value* value) const {
    return marked_.count(value) != 0;
  }

  // The shape of a tensor does not carry its values.
  static bool reads_only_shape(Node* node) {
    static const std::unordered_set<std::string> names{
        "size", "dim", "len", "numel", "sym_size", "shape", "dtype", "device", "layout"};
    return names.count(node->kind().toUnqualString()) != 0;
  }

  static bool writes_to(const Use& use) {
    const FunctionSchema* schema = use.user->maybeSchema();
    if (!schema || use.offset >= schema->arguments().size() || use.user->kind() == tap_symbol()) {
      return false;
    }
    const auto* alias = schema->arguments()[use.offset].alias_info();
    return alias && alias->isWrite();
  }

 private:
  std::unordered_set<Value*> marked_;
  bool grown_ = false;

  void mark(Value* value) {
    grown_ = marked_.insert(value).second || grown_;
  }

  void spread(Block* block) {
    for (Node* node : block->nodes()) {
      if (reads_only_shape(node)) {
        continue;
      }
      bool fed = std::any_of(node->inputs().begin(), node->inputs().end(), [&](Value* input) {
        return contain(input);
      });
      for (Block* inner : node->blocks()) {
        if (fed) {
          std::for_each(inner->inputs().begin(), inner->inputs().end(), [&](Value* v) { mark(v); });
        }
        spread(inner);
        fed = fed || std::any_of(inner->outputs().begin(), inner->outputs().end(), [&](Value* v) {
                return contain(v);
              });
      }
      if (node->hasAttribute(attr::Subgraph)) {
        auto subgraph = node->g(attr::Subgraph);
        for (size_t i = 0; i < node->inputs().size() && i < subgraph->inputs().size(); ++i) {
          if (contain(node->input(i))) {
            mark(subgraph->inputs()[i]);
          }
        }
        spread(subgraph->block());
      }
      if (fed) {
        std::for_each(node->outputs().begin(), node->outputs().end(), [&](Value* v) { mark(v); });
        for (size_t i = 0; i < node->inputs().size(); ++i) {
          if (writes_to(Use(node, i))) {
            mark(node->input(i));
          }
        }
      }
    }
  }
};

}  // namespace actviz
