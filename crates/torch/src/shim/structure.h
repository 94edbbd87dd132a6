// Writes down which operator reads which.
#pragma once

#include "operators.h"
#include "reader.h"
#include "tap.h"

#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace actviz {

using namespace torch::jit;

// What an operator gives; see actviz_value of shim.h.
struct GraphValue {
  size_t id;
  std::string operation;
  // Kernel, stride, padding, dilation.
  std::vector<std::vector<int64_t>> window;
  std::vector<int64_t> dimensions;
  std::vector<int64_t> sources;
};

// Writes down which operator reads which: what receptive fields are computed from. One
// value for each that depends on the input.
//
// Code may write into what is there already (`l.append(x)`, `y += x`, `y[:, 0] = x`): from
// there on what was written to has another id.
class Structure {
 public:
  Structure(const std::shared_ptr<Graph>& graph, const Reader& reader)
      : reader_(reader), aliases_(graph) {
    ids_[graph->inputs().at(1)] = 0;
    seen_.push_back(graph->inputs().at(1));
    for_each_node(graph->block(), [&](Node* node) {
      if (node->kind() == prim::SetAttr) {
        assigned_.insert(node->s(attr::name));
      } else if (node->kind() == prim::GetAttr && aliases_.hasWriters(node->output())) {
        assigned_.insert(node->s(attr::name));
      }
    });
    walk(graph->block());
  }

  std::vector<GraphValue> values;
  // What each tap sees, in the order of the code; -1 if that does not depend on the input.
  std::vector<int64_t> taps;

 private:
  // The source that nobody knows.
  static constexpr int64_t unknown = -1;

  const Reader& reader_;
  AliasDb aliases_;
  // What each value is now.
  std::unordered_map<Value*, size_t> ids_;
  size_t last_ = 0;
  // Values that something else may write to.
  std::vector<Value*> seen_;
  // Attributes that the code sets or writes into: nobody follows what they hold.
  std::set<std::string> assigned_;
  // What an in-place operator returns is what it was given.
  std::unordered_map<Value*, Value*> same_;

  Value* origin(Value* value) const {
    auto found = same_.find(value);
    return found == same_.end() ? value : found->second;
  }

  // What stands for a value among the sources; nothing if it depends on no input.
  std::vector<int64_t> source(Value* value) const {
    auto id = ids_.find(origin(value));
    if (id != ids_.end()) {
      return {static_cast<int64_t>(id->second)};
    }
    const bool is_assigned = value->node()->kind() == prim::GetAttr &&
        assigned_.count(value->node()->s(attr::name)) != 0;
    return is_assigned || reader_.depends_on_input(value) ? std::vector<int64_t>{unknown}
                                                          : std::vector<int64_t>();
  }

  size_t add(GraphValue value) {
    value.id = ++last_;
    values.push_back(std::move(value));
    return last_;
  }

  size_t add(const char* operation, std::vector<int64_t> sources) {
    return add(GraphValue{0, operation, {{}, {}, {}, {}}, {}, std::move(sources)});
  }

  void walk(Block* block) {
    for (Node* node : block->nodes()) {
      if (node->kind() == tap_symbol()) {
        auto id = ids_.find(origin(node->input(0)));
        taps.push_back(id == ids_.end() ? -1 : static_cast<int64_t>(id->second));
        continue;
      }
      for (Block* inner : node->blocks()) {
        walk(inner);
      }
      if (!Dependents::reads_only_shape(node)) {
        write(node);
      }
    }
  }

  std::vector<int64_t> sources(Node* node) const {
    std::vector<int64_t> from;
    const auto append = [&](const std::vector<int64_t>& more) {
      from.insert(from.end(), more.begin(), more.end());
    };
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      // What decides for a branch is no part of its result, and has a say in it.
      const bool decides = node->kind() == prim::If && !source(node->input(i)).empty();
      const bool overwritten = i == 0 && is_aten(node, "copy_");
      if (decides) {
        from.push_back(unknown);
      } else if (!overwritten) {
        append(source(node->input(i)));
      }
    }
    for (Block* inner : node->blocks()) {
      for (Value* output : inner->outputs()) {
        append(source(output));
      }
    }
    return from;
  }

  void write(Node* node) {
    const std::vector<int64_t> from = sources(node);
    const bool depends = !from.empty() ||
        std::any_of(node->outputs().begin(), node->outputs().end(), [&](Value* output) {
                           return reader_.depends_on_input(output);
                         });
    std::vector<Value*> written;
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      if (Dependents::writes_to(Use(node, i))) {
        written.push_back(node->input(i));
      }
    }
    if (!written.empty() && returns_what_it_writes(node)) {
      same_[node->output()] = origin(written.front());
    }
    if (depends) {
      write(node, from, written);
    }
    for (Value* output : node->outputs()) {
      const bool may_change = is_tensor(output) ? aliases_.hasWriters(output)
                                                : holds_tensors(output->type());
      if (may_change && origin(output) == output) {
        seen_.push_back(output);
      }
    }
  }

  void write(
      Node* node, const std::vector<int64_t>& from, const std::vector<Value*>& written) {
    GraphValue operation = described(node);
    operation.sources = from;
    for (Value* output : node->outputs()) {
      size_t id = add(operation);
      if (drops_dimensions(node)) {
        id = add("squeeze", {static_cast<int64_t>(id)});
      }
      ids_[origin(output)] = id;
    }
    for (Value* value : written) {
      Value* target = origin(value);
      if (node->outputs().size() != 1 || origin(node->output()) != target) {
        ids_[target] = add(operation);
      }
      // A branch or a loop may do so or not.
      if (target->node()->owningBlock() != node->owningBlock()) {
        ids_[target] = add("written_in_a_block", source(target));
      }
      for (Value* other : seen_) {
        if (other != target && changes_with(other, value)) {
          const bool holds = !is_tensor(other) && is_tensor(value);
          auto sources = source(other);
          const auto more = source(target);
          sources.insert(sources.end(), more.begin(), more.end());
          ids_[other] = add(holds ? "written_inside" : "written_elsewhere", std::move(sources));
        }
      }
    }
  }

  // Whether a write to `value` may change `other`: they share memory, or one holds the
  // other. A list that grows does not change the tensors in it.
  bool changes_with(Value* other, Value* value) const {
    if (is_tensor(value)) {
      return aliases_.mayContainAlias(other, value);
    }
    return !is_tensor(other) &&
        (aliases_.mayAlias(other, value) ||
         (holds_containers(other->type()) && aliases_.mayContainAlias(other, value)));
  }

  static bool is_tensor(Value* value) {
    return value->type()->isSubtypeOf(*TensorType::get());
  }

  static bool holds_tensors(const TypePtr& type) {
    const auto inner = type->containedTypes();
    return type->kind() == TypeKind::ClassType ||
        std::any_of(inner.begin(), inner.end(), [](const TypePtr& one) {
             return one->isSubtypeOf(*TensorType::get()) || holds_tensors(one);
           });
  }

  static bool holds_containers(const TypePtr& type) {
    const auto inner = type->containedTypes();
    return type->kind() == TypeKind::ClassType ||
        std::any_of(inner.begin(), inner.end(), holds_tensors);
  }

  static bool returns_what_it_writes(Node* node) {
    const FunctionSchema* schema = node->maybeSchema();
    if (!schema || node->outputs().size() != 1 || schema->returns().size() != 1) {
      return false;
    }
    const auto* alias = schema->returns()[0].alias_info();
    return alias && alias->isWrite();
  }

  // The operator with its sizes, before it is known what it reads.
  GraphValue described(Node* node) const {
    const std::string kind = name_of(node);
    const bool by_batch = kind == "batch_norm" && !is_false(node, "training");
    return GraphValue{
        0, by_batch ? "batch_norm_of_batch" : kind, window(node, kind), dimensions(node, kind), {}};
  }

  // The dimensions that an operator works along, as its code counts them.
  static std::vector<int64_t> dimensions(Node* node, const std::string& kind) {
    if (node->kind() == prim::ConstantChunk) {
      return {node->i(attr::dim)};
    }
    if (kind == "layer_norm") {
      // The last ones, as many as the shape has that is normalised over.
      std::vector<int64_t> last;
      for (size_t i = numbers(node, 1).size(); i > 0; --i) {
        last.push_back(-static_cast<int64_t>(i));
      }
      return last;
    }
    for (const char* name : {"dim", "dims", "start_dim"}) {
      if (auto at = position(node, name)) {
        return numbers(node, *at);
      }
    }
    return {};
  }

  // Whether an argument is known to be false.
  static bool is_false(Node* node, const char* name) {
    const auto at = position(node, name);
    const auto value = at ? toIValue(node->input(*at)) : std::nullopt;
    return value && value->isBool() && !value->toBool();
  }

  static std::vector<int64_t> numbers(Node* node, size_t at) {
    if (at >= node->inputs().size()) {
      return {};
    }
    auto constant = toIValue(node->input(at));
    if (constant && constant->isIntList()) {
      return constant->toIntVector();
    }
    return constant && constant->isInt() ? std::vector<int64_t>{constant->toInt()}
                                         : std::vector<int64_t>{};
  }

  // Padding may be given as a word. `same` adds the odd one out at the far side.
  static std::vector<int64_t> padding(
      Node* node,
      size_t at,
      const std::vector<int64_t>& kernel,
      const std::vector<int64_t>& dilation) {
    auto constant = at < node->inputs().size() ? toIValue(node->input(at)) : std::nullopt;
    if (!constant || !constant->isString()) {
      return numbers(node, at);
    }
    std::vector<int64_t> sizes(kernel.size(), 0);
    if (constant->toStringRef() == "same" && !dilation.empty()) {
      for (size_t i = 0; i < kernel.size(); ++i) {
        sizes[i] = (kernel[i] - 1) * dilation[i < dilation.size() ? i : 0] / 2;
      }
    }
    return sizes;
  }

  // Kernel, stride, padding, dilation, each by axis; empty where there is none.
  std::vector<std::vector<int64_t>> window(Node* node, const std::string& kind) const {
    if (kind == "conv2d" || kind == "_convolution" || kind == "convolution" ||
        kind == "conv_transpose2d") {
      std::vector<int64_t> kernel;
      if (auto weight = reader_.tensor_of(node->input(1)); weight && weight->dim() == 4) {
        kernel = {weight->size(2), weight->size(3)};
      }
      const bool transposed = kind == "conv_transpose2d" ||
          (kind != "conv2d" && toIValue(node->input(6)) && toIValue(node->input(6))->toBool());
      const size_t dilation = kind == "conv_transpose2d" ? 7 : 5;
      if (transposed && kind != "conv_transpose2d") {
        return {{}, {}, {}, {}};
      }
      const auto steps = numbers(node, dilation);
      return {kernel, numbers(node, 3), padding(node, 4, kernel, steps), steps};
    }
    if (kind == "max_pool2d") {
      return {numbers(node, 1), numbers(node, 2), numbers(node, 3), numbers(node, 4)};
    }
    if (kind == "avg_pool2d") {
      return {numbers(node, 1), numbers(node, 2), numbers(node, 3), {1}};
    }
    if (kind == "adaptive_avg_pool2d" || kind == "adaptive_max_pool2d") {
      return {numbers(node, 1), {}, {}, {}};
    }
    return {{}, {}, {}, {}};
  }
};

}  // namespace actviz
