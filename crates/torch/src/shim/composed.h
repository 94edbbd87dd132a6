// Finds activation functions that the code spells out, e.g. `x * sigmoid(x)`.
#pragma once

#include "operators.h"

#include <ATen/Functions.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace actviz {

using namespace torch::jit;

// An activation that several operators make together.
struct ComposedActivation {
  std::string name;
  // The operators, the last one included.
  std::unordered_set<Node*> nodes;
};

// An activation is known by its values: the operators between one value and the result are
// computed for numbers between -8 and 8, and the curve is compared with those of the
// activations. So it does not matter how the code writes `x * 0.5 * (1 + erf(x / sqrt(2)))`.
class Composer {
 public:
  // Whether the result of `node` may be such an activation's.
  static bool may_end_at(const Node* node) {
    static const std::unordered_set<std::string> names{
        "mul", "div", "sub", "clamp", "clamp_min", "maximum", "max", "where", "reciprocal"};
    return node->kind().is_aten() && names.count(name_of(node)) != 0 &&
        node->outputs().size() == 1 && is_tensor(node->output());
  }

  // The activation that ends at `last`.
  static std::optional<ComposedActivation> at(Node* last) {
    if (!may_end_at(last)) {
      return std::nullopt;
    }
    try {
      return Composer(last).found();
    } catch (const std::exception&) {
      // An operator that cannot be computed by itself.
      return std::nullopt;
    }
  }

 private:
  // More operators than any known way of writing an activation has.
  static constexpr size_t most = 20;

  struct Curve {
    const char* name;
    at::Tensor (*of)(const at::Tensor&);
  };

  explicit Composer(Node* last) : last_(last) {}

  Node* last_;
  // From the last operator back.
  std::vector<Node*> nodes_;
  // What they read and none of them gives.
  std::vector<Value*> open_;

  static bool is_tensor(const Value* value) {
    return value->type()->isSubtypeOf(*TensorType::get());
  }

  std::optional<ComposedActivation> found() {
    if (!take(last_)) {
      return std::nullopt;
    }
    while (nodes_.size() <= most) {
      if (open_.size() == 1) {
        if (auto name = name_of_curve(open_.front())) {
          return ComposedActivation{*name, {nodes_.begin(), nodes_.end()}};
        }
      }
      // All others are computed before the latest, so it is the one that may come of them.
      const auto latest = std::max_element(open_.begin(), open_.end(), [](Value* a, Value* b) {
        return a->node() != b->node() && a->node()->isBefore(b->node());
      });
      if (latest == open_.end()) {
        return std::nullopt;
      }
      Node* node = (*latest)->node();
      open_.erase(latest);
      if (!take(node)) {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  // Takes an operator on each value alone.
  bool take(Node* node) {
    const auto* row = row_of(node);
    const bool is_on_values = row && row->channels == Channels::Keeps &&
        (row->field == Field::Pointwise || row->field == Field::Copies);
    const std::string name = name_of(node);
    const bool is_like = name == "zeros_like" || name == "ones_like" || name == "full_like";
    const bool is_larger = name == "max" && node->inputs().size() == 2 && is_tensor(node->input(1));
    if (!(is_on_values || is_like || is_larger) || !node->kind().is_aten() ||
        !node->blocks().empty() || node->outputs().size() != 1 ||
        node->owningBlock() != last_->owningBlock() ||
        (node != last_ && is_read_after_write(node))) {
      return false;
    }
    nodes_.push_back(node);
    for (Value* input : node->inputs()) {
      const auto constant = toIValue(input);
      if (constant && constant->isTensor() && constant->toTensor().numel() != 1) {
        // Something for each channel or place.
        return false;
      }
      if (!constant && std::find(open_.begin(), open_.end(), input) == open_.end()) {
        open_.push_back(input);
      }
    }
    return true;
  }

  // Whether something reads what an in-place operator has changed by the name that it had
  // before.
  static bool is_read_after_write(Node* node) {
    if (std::string(node->kind().toUnqualString()) == name_of(node)) {
      return false;
    }
    const auto& uses = node->input(0)->uses();
    return std::any_of(uses.begin(), uses.end(), [&](const Use& use) {
      return use.user->owningBlock() != node->owningBlock() || use.user->isAfter(node);
    });
  }

  // What the operators give if `argument` has these values.
  at::Tensor computed(Value* argument, const at::Tensor& values) const {
    std::vector<Node*> in_order(nodes_);
    std::sort(in_order.begin(), in_order.end(), [](Node* a, Node* b) {
      return a != b && a->isBefore(b);
    });
    std::unordered_map<Value*, at::Tensor> known{{argument, values}};
    for (Node* node : in_order) {
      Stack stack;
      for (Value* input : node->inputs()) {
        const auto tensor = known.find(input);
        if (tensor != known.end()) {
          // A copy: it may be changed in place.
          stack.emplace_back(tensor->second.clone());
          continue;
        }
        IValue constant = toIValue(input).value();
        stack.push_back(constant.isTensor() ? IValue(constant.toTensor().cpu()) : constant);
      }
      node->getOperation()(stack);
      known[node->output()] = pop(stack).toTensor();
    }
    return known.at(last_->output());
  }

  std::optional<std::string> name_of_curve(Value* argument) const {
    if (!is_tensor(argument)) {
      return std::nullopt;
    }
    const at::Tensor values = at::linspace(-8, 8, 65, at::kDouble);
    const at::Tensor given = computed(argument, values);
    if (given.sizes() != values.sizes() || given.is_complex()) {
      return std::nullopt;
    }
    const at::Tensor curve = given.to(at::kDouble);
    // The ways to write GELU differ by more (its two by 1e-3), numbers that are cut off after
    // six digits by less.
    const auto is_like = [&](const at::Tensor& other) {
      return (curve - other).abs().max().item<double>() < 1e-4;
    };
    for (const Curve& known : curves()) {
      if (is_like(known.of(values))) {
        return known.name;
      }
    }
    // Of any slope below zero.
    const double slope = curve[0].item<double>() / -8;
    if (slope > 0 && slope < 1 && is_like(at::where(values.gt(0), values, values * slope))) {
      return "leaky_relu";
    }
    return std::nullopt;
  }

  using T = const at::Tensor&;

  static const std::vector<Curve>& curves() {
    static const std::vector<Curve> all{
        {"relu", [](T x) { return at::relu(x); }},
        {"relu6", [](T x) { return at::clamp(x, 0, 6); }},
        {"silu", [](T x) { return at::silu(x); }},
        {"gelu", [](T x) { return at::gelu(x); }},
        {"gelu", [](T x) { return at::gelu(x, "tanh"); }},
        {"quick_gelu", [](T x) { return x * at::sigmoid(x * 1.702); }},
        {"hardswish", [](T x) { return at::hardswish(x); }},
        {"hardsigmoid", [](T x) { return at::hardsigmoid(x); }},
        {"mish", [](T x) { return at::mish(x); }},
        {"elu", [](T x) { return at::elu(x); }},
        {"sigmoid", [](T x) { return at::sigmoid(x); }},
        {"softsign", [](T x) { return x / (x.abs() + 1); }},
        {"tanhshrink", [](T x) { return x - at::tanh(x); }},
    };
    return all;
  }
};

}  // namespace actviz
