// Other weights for a network that is loaded already.
//
// The folds of a cross-validation are one program with other weights. Reading the program
// and preparing it takes longer than to read the weights, so it is done for one of them.
#pragma once

#include "audit.h"
#include "dependents.h"
#include "fold.h"
#include "operators.h"
#include "values.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

namespace actviz {

using namespace torch::jit;

// Whether code that was not frozen yet makes anything but tensors of the weights' values,
// e.g. a number that decides which branch is taken: freezing may do that once and for all.
inline bool reads_weights(Graph& graph) {
  const Dependents dependents(graph, graph.inputs().at(0));
  // What asks whether there is a tensor, or puts it somewhere.
  static const std::unordered_set<std::string> of_no_value{
      "__is__", "__isnot__", "TupleConstruct", "ListConstruct", "DictConstruct"};
  static const std::unordered_set<TypeKind> plain{
      TypeKind::IntType,     TypeKind::FloatType,  TypeKind::BoolType,   TypeKind::NumberType,
      TypeKind::ComplexType, TypeKind::StringType, TypeKind::ListType,   TypeKind::TupleType,
      TypeKind::DictType,    TypeKind::AnyType,    TypeKind::OptionalType};
  const auto is_tensor = [](const Value* value) {
    return value->type()->isSubtypeOf(*OptionalType::ofTensor()) ||
        value->type()->isSubtypeOf(*ListType::ofTensors());
  };
  bool found = false;
  for_each_node(graph.block(), [&](Node* node) {
    // What could not be inlined may do anything.
    if (node->kind() == prim::CallMethod || node->kind() == prim::CallFunction) {
      found = true;
    }
    if (Dependents::reads_only_shape(node) ||
        of_no_value.count(node->kind().toUnqualString()) != 0) {
      return;
    }
    const auto& inputs = node->inputs();
    const auto& outputs = node->outputs();
    const bool reads = std::any_of(inputs.begin(), inputs.end(), [&](Value* input) {
      return is_tensor(input) && dependents.contain(input);
    });
    const bool gives = std::any_of(outputs.begin(), outputs.end(), [&](Value* output) {
      return !is_tensor(output) && plain.count(output->type()->kind()) != 0;
    });
    found = found || (reads && gives);
  });
  return found;
}

// The weights of a network, and what was made of them.
class Refill {
 public:
  // Where nothing can be filled in.
  Refill() = default;

  // `graph` is frozen, and `folded` says what was done to its weights.
  Refill(Graph& graph, Loaded loaded, std::vector<Folded> folded)
      : weights_(std::move(loaded.weights)), folded_(std::move(folded)) {
    Memories known;
    for (const WeightRecord& weight : weights_) {
      if (weight.storage && weight.storage.nbytes() == weight.size) {
        known.insert(weight.storage.unsafeGetStorageImpl());
      }
    }
    possible_ = !weights_.empty() &&
        std::all_of(folded_.begin(), folded_.end(), [&](const Folded& one) {
          return has(known, one.weight);
        });
    for (const at::Tensor& constant : loaded.constants) {
      known.insert(constant.storage().unsafeGetStorageImpl());
    }
    for (const Folded& one : folded_) {
      possible_ = possible_ && has(known, one.mean) && has(known, one.variance);
      for (const auto& source : {one.own_bias, one.factors, one.shifts}) {
        possible_ = possible_ && (!source || has(known, *source));
      }
    }
    for (const Folded& one : folded_) {
      known.insert(one.bias.storage().unsafeGetStorageImpl());
    }
    for_each_node(graph.block(), [&](Node* node) { possible_ = possible_ && knows(node, known); });
    if (!possible_) {
      weights_.clear();
      folded_.clear();
      return;
    }
    // Nobody else holds the memory of what the frozen network does not use.
    for (WeightRecord& weight : weights_) {
      if (weight.storage && weight.storage.use_count() == 1) {
        weight.storage = c10::Storage();
      }
    }
  }

  bool is_possible() const {
    return possible_;
  }

  // Takes the weights of another file, whose records are called and sized like these. If
  // `unpack` throws, the network is of no use any more.
  void operator()(const Unpack& unpack) {
    std::vector<std::vector<char>> unused;
    std::vector<actviz_record> records;
    for (const WeightRecord& weight : weights_) {
      void* to = nullptr;
      if (weight.storage) {
        to = weight.storage.mutable_data();
      } else {
        unused.emplace_back(weight.size);
        to = unused.back().data();
      }
      records.push_back({weight.name.c_str(), to, weight.size});
    }
    unpack(records);
    for (Folded& one : folded_) {
      one.apply(one.change());
    }
  }

 private:
  using Memories = std::unordered_set<const void*>;

  std::vector<WeightRecord> weights_;
  std::vector<Folded> folded_;
  bool possible_ = false;

  static bool has(const Memories& memories, const at::Tensor& tensor) {
    return tensor.has_storage() && memories.count(tensor.storage().unsafeGetStorageImpl()) != 0;
  }

  // Whether the node holds weights only as they were saved, and changes nothing that
  // outlives a run.
  static bool knows(Node* node, const Memories& known) {
    if (node->kind() == prim::GetAttr || node->kind() == prim::SetAttr ||
        node->kind() == prim::CallMethod || node->kind() == prim::CallFunction) {
      return false;
    }
    if (node->kind() != prim::Constant || !node->hasAttribute(attr::value)) {
      return true;
    }
    const auto constant = toIValue(node->output());
    bool all = constant && !constant->isCapsule() && !constant->isObject();
    if (all) {
      for_each_tensor(*constant, [&](const at::Tensor& tensor) {
        all = all && (!tensor.defined() || has(known, tensor));
      });
    }
    return all;
  }
};

}  // namespace actviz
