// Reads from a frozen graph what taps depend on.
#pragma once

#include "dependents.h"
#include "operators.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace actviz {

using namespace torch::jit;

// What the frozen graph tells about its taps.
class Reader {
 public:
  Reader(Graph& graph, const Module& module)
      : graph_(graph), module_(module), dependents_(graph, graph.inputs().at(1)) {}

  // Whether the values of `value` come from the network's input.
  bool depends_on_input(Value* value) const {
    return dependents_.contain(value);
  }

  // Whether a number is read out of a tensor that depends on the input: what a branch
  // or a loop needs to depend on it.
  bool is_data_dependent() const {
    static const std::unordered_set<std::string> readers{
        "Bool", "Int", "Float", "Complex", "item", "is_nonzero", "IntImplicit",
        "FloatImplicit", "ComplexImplicit", "ScalarImplicit", "nonzero", "equal"};
    bool found = false;
    for_each_node(graph_.block(), [&](Node* node) {
      if (readers.count(node->kind().toUnqualString()) != 0 && !node->inputs().empty() &&
          node->input(0)->type()->isSubtypeOf(*TensorType::get())) {
        found = found || depends_on_input(node->input(0));
      }
    });
    return found;
  }

  // The channels of the network's input: those that a convolution takes that reads it as it is,
  // or through operators that leave the channels alone. 0 if there is none.
  int64_t input_channels() const {
    std::unordered_map<Value*, bool> known;
    int64_t channels = 0;
    for_each_node(graph_.block(), [&](Node* node) {
      if (channels == 0 && is_convolution(node) && has_input_channels(node->input(0), known)) {
        channels = channels_of(node);
      }
    });
    return channels;
  }

  // Whether what one image of a batch gets may depend on the others.
  bool mixes_images() const {
    bool found = false;
    for_each_node(graph_.block(), [&](Node* node) {
      const auto* row = row_of(node);
      if (found || !row || node->inputs().empty() || !depends_on_input(node->input(0))) {
        return;
      }
      found = row->images == Images::Together || is_by_batch(node) ||
          (row->images == Images::ByDimension && works_along_images(node));
    });
    return found;
  }

  // 0 unknown, 1 channels after the batch, 2 channels last: told by the operator that
  // made the tensor, seen through the operators that keep the order.
  int32_t order(Value* value) const {
    std::unordered_set<Value*> seen;
    return order(value, seen);
  }

  // The elements of all weights that `tap` depends on. Branches and loops count whole.
  uint64_t parameters(Node* tap) const {
    std::unordered_set<Value*> seen;
    std::unordered_set<const void*> weights;
    std::vector<Value*> open{tap->input(0)};
    uint64_t count = 0;
    while (!open.empty()) {
      Value* value = open.back();
      open.pop_back();
      if (!seen.insert(value).second) {
        continue;
      }
      if (auto tensor = tensor_of(value)) {
        if (at::isFloatingType(tensor->scalar_type()) &&
            weights.insert(tensor->unsafeGetTensorImpl()).second) {
          count += static_cast<uint64_t>(tensor->numel());
        }
        continue;
      }
      Node* node = value->node();
      push_inputs(node, open);
      for_each_inner_node(node, [&](Node* inner) { push_inputs(inner, open); });
      for (Block* block : node->blocks()) {
        open.insert(open.end(), block->outputs().begin(), block->outputs().end());
      }
      if (Node* around = node->owningBlock()->owningNode()) {
        push_inputs(around, open);
      }
      // What was written into it before, e.g. by appending to a list.
      for (const Use& use : value->uses()) {
        if (Dependents::writes_to(use) && use.user->isBefore(tap)) {
          push_inputs(use.user, open);
        }
      }
    }
    return count;
  }

  // The weight that `value` is: a constant, or an attribute that freezing left alone.
  std::optional<at::Tensor> tensor_of(Value* value) const {
    if (is_tensor_constant(value->node())) {
      return value->node()->t(attr::value);
    }
    auto attribute = attribute_of(value);
    if (attribute && attribute->isTensor() && attribute->toTensor().defined()) {
      return attribute->toTensor();
    }
    return std::nullopt;
  }

 private:
  Graph& graph_;
  const Module& module_;
  Dependents dependents_;

  static void push_inputs(Node* node, std::vector<Value*>& open) {
    open.insert(open.end(), node->inputs().begin(), node->inputs().end());
  }

  static void for_each_inner_node(Node* node, const std::function<void(Node*)>& visit) {
    for (Block* block : node->blocks()) {
      for_each_node(block, visit);
    }
    if (node->hasAttribute(attr::Subgraph)) {
      for_each_node(node->g(attr::Subgraph)->block(), visit);
    }
  }

  std::optional<IValue> attribute_of(Value* value) const {
    if (value == graph_.inputs().at(0)) {
      return IValue(module_._ivalue());
    }
    if (value->node()->kind() != prim::GetAttr) {
      return std::nullopt;
    }
    auto parent = attribute_of(value->node()->input());
    const auto& name = value->node()->s(attr::name);
    if (!parent || !parent->isObject() || !parent->toObjectRef().type()->hasAttribute(name)) {
      return std::nullopt;
    }
    return parent->toObjectRef().getAttr(name);
  }

  // A batch norm by the mean of the batch that it gets.
  static bool is_by_batch(Node* node) {
    const auto at = is_aten(node, "batch_norm") ? position(node, "training") : std::nullopt;
    const auto training = at ? toIValue(node->input(*at)) : std::nullopt;
    return training && training->isBool() && training->toBool();
  }

  static bool works_along_images(Node* node) {
    if (node->kind() == prim::ConstantChunk) {
      return node->i(attr::dim) == 0;
    }
    const auto at = position(node, "dim");
    if (!at) {
      // The mean of everything.
      return row_of(node)->kind == Class::Reduction;
    }
    const auto dims = toIValue(node->input(*at));
    const auto has_first = [](const std::vector<int64_t>& all) {
      return std::find(all.begin(), all.end(), 0) != all.end();
    };
    const bool is_first = dims &&
        ((dims->isInt() && dims->toInt() == 0) ||
         (dims->isIntList() && has_first(dims->toIntVector())));
    return is_first && !(is_aten(node, "slice") && is_whole(node));
  }

  // `x[:, 1:]` cuts along the first dimension, too, and leaves it whole.
  static bool is_whole(Node* slice) {
    const auto start = toIValue(slice->input(2)), end = toIValue(slice->input(3));
    return start && (start->isNone() || (start->isInt() && start->toInt() == 0)) && end &&
        (end->isNone() ||
         (end->isInt() && end->toInt() == std::numeric_limits<int64_t>::max())) &&
        number(slice->input(4)) == 1.0;
  }

  static bool is_convolution(Node* node) {
    return is_aten(node, "conv2d") || is_aten(node, "_convolution") ||
        is_aten(node, "convolution") || is_aten(node, "conv_transpose2d");
  }

  // The channels that a convolution takes; 0 if the graph does not tell.
  int64_t channels_of(Node* convolution) const {
    auto weight = tensor_of(convolution->input(1));
    auto groups = toIValue(convolution->namedInput("groups"));
    if (!weight || weight->dim() != 4 || !groups || !groups->isInt()) {
      return 0;
    }
    // The weights of a transposed one count the channels that come in first, of all groups.
    const bool transposed =
        is_aten(convolution, "conv_transpose2d") || is_transposed(convolution);
    return transposed ? weight->size(0) : weight->size(1) * groups->toInt();
  }

  // Whether a value has the channels of the input.
  bool has_input_channels(Value* value, std::unordered_map<Value*, bool>& known) const {
    if (value == graph_.inputs().at(1)) {
      return true;
    }
    const auto found = known.find(value);
    if (found != known.end()) {
      return found->second;
    }
    // For the time being: a loop's values depend on themselves.
    known[value] = false;
    return known[value] = finds_input_channels(value, known);
  }

  bool finds_input_channels(Value* value, std::unordered_map<Value*, bool>& known) const {
    Node* node = value->node();
    if (node->kind() == prim::If) {
      // One branch may be there for images without a batch, or grey ones.
      return std::any_of(node->blocks().begin(), node->blocks().end(), [&](Block* block) {
        return has_input_channels(block->outputs().at(value->offset()), known);
      });
    }
    if (!leaves_channels(node)) {
      return false;
    }
    bool any = false;
    for (Value* input : node->inputs()) {
      if (input->type()->isSubtypeOf(*TensorType::get()) && depends_on_input(input)) {
        if (!has_input_channels(input, known)) {
          return false;
        }
        any = true;
      }
    }
    return any;
  }

  // Whether the channels of what an operator gives are those of what it reads: it works on
  // each value, or on each channel alone.
  static bool leaves_channels(Node* node) {
    const auto* row = row_of(node);
    if (!row || !node->kind().is_aten()) {
      return false;
    }
    if (row->kind == Class::Padding) {
      // From the last dimension: more than four numbers are for more than height and width.
      const auto at = position(node, "pad");
      const auto sizes = toIValue(node->input(at ? *at : 1));
      return sizes && sizes->isIntList() && sizes->toIntVector().size() <= 4;
    }
    const bool is_on_values = row->field == Field::Pointwise || row->field == Field::Copies;
    return (is_on_values && row->channels != Channels::Moved) || row->kind == Class::Pooling ||
        row->kind == Class::Resize;
  }

  int32_t order(Value* value, std::unordered_set<Value*>& seen) const {
    Node* node = value->node();
    if (!seen.insert(value).second) {
      return 0;
    }
    const auto* row = row_of(node);
    if (row && row->channels == Channels::Second) {
      return 1;
    }
    if (row && row->channels == Channels::Last) {
      return 2;
    }
    if (is_aten(node, "permute")) {
      return permuted(node, seen);
    }
    if (node->kind() == prim::Param) {
      // The parameter of a loop's body: what the loop starts with.
      Node* around = node->owningBlock()->owningNode();
      size_t at = value->offset();
      if (!around || at == 0 || at + 1 >= around->inputs().size()) {
        return 0;
      }
      return order(around->input(at + 1), seen);
    }
    if (!row || row->channels != Channels::Keeps || drops_dimensions(node)) {
      return 0;
    }
    std::vector<Value*> sources(node->inputs().begin(), node->inputs().end());
    for (Block* block : node->blocks()) {
      sources.insert(sources.end(), block->outputs().begin(), block->outputs().end());
    }
    for (Value* source : sources) {
      if (depends_on_input(source)) {
        if (int32_t found = order(source, seen)) {
          return found;
        }
      }
    }
    return 0;
  }

  int32_t permuted(Node* node, std::unordered_set<Value*>& seen) const {
    auto dims = toIValue(node->input(1));
    if (!dims || !dims->isIntList()) {
      return 0;
    }
    const auto to = dims->toIntVector();
    const auto from = order(node->input(0), seen);
    if (from == 1 && to == std::vector<int64_t>{0, 2, 3, 1}) {
      return 2;
    }
    if (from == 2 && to == std::vector<int64_t>{0, 3, 1, 2}) {
      return 1;
    }
    return 0;
  }
};

}  // namespace actviz
