// Folds normalisation into the convolutions before it, within the memory of their weights.
//
// libtorch's own pass makes new weights: that takes the memory of a network twice, and what
// it folded cannot be told when other weights are filled in.
#pragma once

#include "operators.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

namespace actviz {

using namespace torch::jit;

// A convolution that normalises. With the normalisation's mean m, variance v, factors g
// and shifts s, all of them one number a channel, y = (conv(x) - m) / sqrt(v + eps) * g + s
// is a convolution of weights w * g / sqrt(v + eps); the order of the operators is that of
// libtorch's pass, so that the last bits are, too.
struct Folded {
  at::Tensor weight;
  at::Tensor bias;
  std::optional<at::Tensor> own_bias;
  // None are all one and all zero.
  std::optional<at::Tensor> factors;
  std::optional<at::Tensor> shifts;
  at::Tensor mean;
  at::Tensor variance;
  double epsilon;

  // What the weight, as it was saved, is multiplied by, and the bias.
  struct Change {
    at::Tensor factor;
    at::Tensor bias;
  };

  // Changes nothing. May fail where nobody could normalise with these numbers.
  Change change() const {
    const at::Tensor root = at::rsqrt(variance + epsilon);
    std::vector<int64_t> a_channel(static_cast<size_t>(weight.dim()), 1);
    a_channel[0] = -1;
    const at::Tensor scale = factors ? *factors : at::ones_like(mean);
    const at::Tensor before = own_bias ? *own_bias : at::zeros_like(mean);
    const at::Tensor shift = shifts ? *shifts : at::zeros_like(mean);
    return {(scale * root).reshape(a_channel), (before - mean) * root * scale + shift};
  }

  // Changes the weight, which must be as it was saved, and sets the bias.
  void apply(const Change& change) {
    weight.mul_(change.factor);
    bias.copy_(change.bias);
  }
};

// Finds convolutions with a normalisation, where nothing else uses the weight.
class Folder {
 public:
  explicit Folder(Graph& graph) {
    for_each_node(graph.block(), [&](Node* node) {
      if (is_tensor_constant(node) && node->t(attr::value).has_storage()) {
        ++constants_[storage_of(node->t(attr::value))];
      }
      if (is_aten(node, "batch_norm")) {
        normalisations_.push_back(node);
      }
      // What freezing leaves in the module may be changed by a run, and may be the memory of a
      // weight, too.
      has_attributes_ = has_attributes_ || node->kind() == prim::GetAttr;
    });
  }

  // Finds what can be folded, and computes what by. Changes nothing.
  void prepare() {
    if (has_attributes_) {
      return;
    }
    for (Node* normalisation : normalisations_) {
      Node* convolution = normalisation->input(0)->node();
      if (auto folded = read(convolution, normalisation)) {
        Folded::Change change = folded->change();
        prepared_.push_back({convolution, normalisation, std::move(*folded), std::move(change)});
      }
    }
  }

  // Changes graph and weights. If it fails, neither is of use any more.
  std::vector<Folded> fold() {
    std::vector<Folded> all;
    for (auto& [convolution, normalisation, folded, change] : prepared_) {
      folded.apply(change);
      WithInsertPoint point(convolution);
      convolution->replaceInput(2, convolution->owningGraph()->insertConstant(folded.bias));
      normalisation->output()->replaceAllUsesWith(convolution->output());
      normalisation->destroy();
      all.push_back(std::move(folded));
    }
    prepared_.clear();
    return all;
  }

 private:
  struct Prepared {
    Node* convolution;
    Node* normalisation;
    Folded folded;
    Folded::Change change;
  };

  std::vector<Node*> normalisations_;
  std::vector<Prepared> prepared_;
  bool has_attributes_ = false;
  // How many constants lie in the same memory.
  std::unordered_map<const void*, size_t> constants_;

  static const void* storage_of(const at::Tensor& tensor) {
    return tensor.storage().unsafeGetStorageImpl();
  }

  static bool is_false(const Value* value) {
    const auto constant = toIValue(value);
    return constant && constant->isBool() && !constant->toBool();
  }

  static bool is_convolution(Node* node) {
    return is_aten(node, "conv1d") || is_aten(node, "conv2d") || is_aten(node, "conv3d") ||
        (is_aten(node, "_convolution") && is_false(node->input(6)));
  }

  static std::optional<at::Tensor> floats(Value* value) {
    if (is_tensor_constant(value->node()) &&
        value->node()->t(attr::value).scalar_type() == at::kFloat) {
      return value->node()->t(attr::value);
    }
    return std::nullopt;
  }

  // Whether a change of this weight is seen by one operator alone.
  bool is_alone(const Value* value, const at::Tensor& weight) const {
    return value->uses().size() == 1 && weight.dim() > 1 && weight.has_storage() &&
        weight.is_non_overlapping_and_dense() && constants_.at(storage_of(weight)) == 1;
  }

  // Whether there is one number a channel, or none at all where there may be none.
  static bool fits(const at::Tensor& weight, Value* value, bool may_be_none) {
    const auto tensor = floats(value);
    const auto constant = toIValue(value);
    return tensor ? tensor->dim() == 1 && tensor->size(0) == weight.size(0)
                  : may_be_none && constant && constant->isNone();
  }

  std::optional<Folded> read(Node* convolution, Node* normalisation) const {
    if (!is_convolution(convolution) || convolution->output()->uses().size() != 1 ||
        convolution->owningBlock() != normalisation->owningBlock() ||
        !is_false(normalisation->input(5))) {
      return std::nullopt;
    }
    const auto weight = floats(convolution->input(1));
    const auto epsilon = toIValue(normalisation->input(7));
    if (!weight || !is_alone(convolution->input(1), *weight) || !epsilon || !epsilon->isDouble() ||
        !fits(*weight, convolution->input(2), true) ||
        !fits(*weight, normalisation->input(1), true) ||
        !fits(*weight, normalisation->input(2), true) ||
        !fits(*weight, normalisation->input(3), false) ||
        !fits(*weight, normalisation->input(4), false)) {
      return std::nullopt;
    }
    const auto mean = *floats(normalisation->input(3));
    return Folded{
        *weight, at::empty_like(mean), floats(convolution->input(2)),
        floats(normalisation->input(1)), floats(normalisation->input(2)), mean,
        *floats(normalisation->input(4)), epsilon->toDouble()};
  }
};

}  // namespace actviz
