// The operators of a graph: visiting them, and which are activations or change how fine a
// map is.
#pragma once

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

// The pointwise activations of torch.nn.functional that are one operator each.
// softsign and tanhshrink have none and are found by their pattern.
inline const std::unordered_set<std::string>& activations() {
  static const std::unordered_set<std::string> names{
      "relu",     "relu6",      "leaky_relu",  "prelu",       "rrelu",      "elu",
      "selu",     "celu",       "gelu",        "silu",        "mish",       "hardswish",
      "hardtanh", "hardsigmoid", "sigmoid",    "tanh",        "softplus",   "threshold",
      "log_sigmoid", "hardshrink", "softshrink"};
  return names;
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

// `x / (abs(x) + 1)`: torch.nn.functional.softsign.
inline bool is_softsign(Node* node) {
  if (!is_aten(node, "div") || node->inputs().size() != 2) {
    return false;
  }
  Node* sum = node->input(1)->node();
  return is_aten(sum, "add") && is_aten(sum->input(0)->node(), "abs") &&
      sum->input(0)->node()->input(0) == node->input(0) && number(sum->input(1)) == 1.0;
}

// `x - tanh(x)`: torch.nn.functional.tanhshrink.
inline bool is_tanhshrink(Node* node) {
  return is_aten(node, "sub") && is_aten(node->input(1)->node(), "tanh") &&
      node->input(1)->node()->input(0) == node->input(0);
}

inline bool is_inside_tanhshrink(Node* node) {
  const auto& uses = node->output()->uses();
  return is_aten(node, "tanh") &&
      std::any_of(uses.begin(), uses.end(), [](const Use& use) { return is_tanhshrink(use.user); });
}

inline bool is_quantized(const Node* node) {
  return std::strcmp(node->kind().ns().toUnqualString(), "quantized") == 0;
}

inline bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() &&
      text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

// The activation function that `node` calls, if it does.
inline std::optional<std::string> activation(Node* node) {
  if (node->outputs().size() != 1 ||
      !node->output()->type()->isSubtypeOf(*TensorType::get())) {
    return std::nullopt;
  }
  if (is_quantized(node)) {
    const std::string name = node->kind().toUnqualString();
    // What quantizing has merged has its own name: conv2d_relu, linear_relu, add_relu, ...
    return activations().count(name) != 0 || ends_with(name, "_relu") ? std::optional(name)
                                                                      : std::nullopt;
  }
  if (!node->kind().is_aten()) {
    return std::nullopt;
  }
  if (is_softsign(node)) {
    return "softsign";
  }
  if (is_tanhshrink(node)) {
    return "tanhshrink";
  }
  std::string name = node->kind().toUnqualString();
  if (name.back() == '_') {
    name.pop_back();
  }
  if (activations().count(name) == 0 || is_inside_tanhshrink(node)) {
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

// The operators, besides activations, that change how fine the structure of a tensor
// is: what `actviz insights` looks at.
inline const std::unordered_set<std::string>& shaping_operators() {
  static const std::unordered_set<std::string> names{
      "conv2d", "_convolution", "convolution", "conv_transpose2d", "max_pool2d", "avg_pool2d",
      "lp_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "batch_norm", "layer_norm",
      "group_norm", "instance_norm", "local_response_norm", "add", "sub", "mul", "div", "cat",
      "linear", "slice", "pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d",
      "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "pixel_shuffle",
      "pixel_unshuffle"};
  return names;
}

inline std::optional<std::string> shaping_operator(Node* node) {
  if (!node->kind().is_aten() || node->outputs().size() != 1 ||
      !node->output()->type()->isSubtypeOf(*TensorType::get())) {
    return std::nullopt;
  }
  std::string name = node->kind().toUnqualString();
  if (name.back() == '_') {
    name.pop_back();
  }
  if (shaping_operators().count(name) == 0) {
    return std::nullopt;
  }
  if (name == "_convolution" || name == "convolution") {
    const auto transposed = toIValue(node->namedInput("transposed"));
    const bool is_transposed = transposed && transposed->isBool() && transposed->toBool();
    return is_transposed ? "conv_transpose2d" : "conv2d";
  }
  return name;
}

}  // namespace actviz
