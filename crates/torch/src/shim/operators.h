// The operators of a graph: visiting them, and what the table (operators.rs) says of each.
#pragma once

#include "operator_table.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <unordered_set>

namespace actviz {

using namespace torch::jit;

inline void for_each_node(Block* block, const std::function<void(Node*)>& visit) {
  for (Node* node : block->nodes()) {
    visit(node);
    for (Block* inner : node->blocks()) {
      for_each_node(inner, visit);
    }
    if (node->hasAttribute(attr::Subgraph)) {
      for_each_node(node->g(attr::Subgraph)->block(), visit);
    }
  }
}

inline bool is_tensor_constant(Node* node) {
  return node->kind() == prim::Constant && node->hasAttribute(attr::value) &&
      node->kindOf(attr::value) == AttributeKind::t;
}

inline bool is_aten(const Node* node, const char* name) {
  return node->kind().is_aten() && std::strcmp(node->kind().toUnqualString(), name) == 0;
}

inline std::optional<double> number(const Value* value) {
  auto constant = toIValue(value);
  if (constant && constant->isScalar()) {
    return constant->toScalar().toDouble();
  }
  // Tracing makes tensors of the numbers in Python code.
  if (constant && constant->isTensor() && constant->toTensor().numel() == 1) {
    return constant->toTensor().item().toDouble();
  }
  return std::nullopt;
}

inline bool is_quantized(const Node* node) {
  return std::strcmp(node->kind().ns().toUnqualString(), "quantized") == 0;
}

// The row of this name; null if there is none.
inline const OperatorRow* row_of(const std::string& name) {
  const auto& table = operator_table();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

// The operator's name; `add_` is `add`, but `__getitem__` is no such operator.
inline std::string name_of(const Node* node) {
  std::string name = node->kind().toUnqualString();
  const bool is_private = name.rfind("__", 0) == 0;
  if (name.back() == '_' && !is_private && (node->kind().is_aten() || is_quantized(node))) {
    name.pop_back();
  }
  return name;
}

// What quantizing has made one operator of has its own name: conv2d_relu, add_relu, ...
// Gives the row of what comes before the activation, as `merged` of operators.rs does.
inline const OperatorRow* merged_row(const std::string& name) {
  for (size_t at = name.find('_'); at != std::string::npos; at = name.find('_', at + 1)) {
    const auto* after = row_of(name.substr(at + 1));
    if (!after || after->kind != Class::Activation) {
      continue;
    }
    const std::string before = name.substr(0, at);
    if (const auto* row = row_of(before)) {
      return row;
    }
    const size_t middle = before.rfind('_');
    if (middle != std::string::npos && row_of(before.substr(middle + 1))) {
      if (const auto* row = row_of(before.substr(0, middle))) {
        return row;
      }
    }
  }
  return nullptr;
}

// What is known of an operator; null if nothing is.
inline const OperatorRow* row_of(const Node* node) {
  if (!node->kind().is_aten() && !node->kind().is_prim() && !is_quantized(node)) {
    return nullptr;
  }
  const std::string name = name_of(node);
  const auto* row = row_of(name);
  return row || !is_quantized(node) ? row : merged_row(name);
}

// Where the argument of this name stands among the inputs.
inline std::optional<size_t> position(Node* node, const std::string& name) {
  const FunctionSchema* schema = node->maybeSchema();
  const auto at = schema ? schema->argumentIndexWithName(name) : std::nullopt;
  if (!at || static_cast<size_t>(*at) >= node->inputs().size()) {
    return std::nullopt;
  }
  return static_cast<size_t>(*at);
}

// Whether the dimensions that it works along are gone in what it gives.
inline bool drops_dimensions(Node* node) {
  const auto at = position(node, "keepdim");
  const auto keeps = at ? toIValue(node->input(*at)) : std::nullopt;
  return at && !(keeps && keeps->isBool() && keeps->toBool());
}

// Whether a convolution that is told by a flag is a transposed one.
inline bool is_transposed(Node* node) {
  const auto at = position(node, "transposed");
  const auto transposed = at ? toIValue(node->input(*at)) : std::nullopt;
  return transposed && transposed->isBool() && transposed->toBool();
}

// The activation function that `node` calls, if it does. Those that several operators make
// together are found in composed.h.
inline std::optional<std::string> activation(Node* node) {
  if (node->outputs().size() != 1 ||
      !node->output()->type()->isSubtypeOf(*TensorType::get())) {
    return std::nullopt;
  }
  if (is_quantized(node)) {
    const std::string name = name_of(node);
    const auto* row = row_of(name);
    const bool is_activation = row ? row->kind == Class::Activation : merged_row(name) != nullptr;
    return is_activation ? std::optional(name) : std::nullopt;
  }
  if (!node->kind().is_aten()) {
    return std::nullopt;
  }
  const std::string name = name_of(node);
  const auto* row = row_of(name);
  if (!row || row->kind != Class::Activation) {
    return std::nullopt;
  }
  if (name == "log_sigmoid") {
    return "logsigmoid";
  }
  // torch.nn.ReLU6 calls hardtanh(x, 0, 6).
  if (name == "hardtanh" && node->inputs().size() == 3 && number(node->input(1)) == 0.0 &&
      number(node->input(2)) == 6.0) {
    return "relu6";
  }
  return name;
}

// The operators, besides activations, that may change how fine the structure of a tensor is:
// what `actviz insights` looks at.
inline std::optional<std::string> shaping_operator(Node* node) {
  if (!node->kind().is_aten() || node->outputs().size() != 1 ||
      !node->output()->type()->isSubtypeOf(*TensorType::get())) {
    return std::nullopt;
  }
  const auto* row = row_of(node);
  if (!row || !row->is_shaping) {
    return std::nullopt;
  }
  const std::string name = name_of(node);
  if (name == "_convolution" || name == "convolution") {
    return is_transposed(node) ? "conv_transpose2d" : "conv2d";
  }
  return name;
}

}  // namespace actviz
