// Puts taps into a network's code.
#pragma once

#include "composed.h"
#include "operators.h"
#include "tap.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace actviz {

using namespace torch::jit;

// One activation call in the code, before anything is known of its tensor.
struct Site {
  std::string path;
  // Empty if all that is known is that a composed activation may end here.
  std::string operation;
  // Whether the module is that operator and nothing else.
  bool is_module;
  // Whether the module is an activation of torch.nn.
  bool is_activation_module;
};

// Inlines every call in a graph, as libtorch's own pass does, but knows at each
// step by which module it stands; so a module gets its whole path, and an activation
// its name, whatever freezing does to the graph afterwards.
class Tapper {
 public:
  Tapper(Graph& graph, bool all_operators)
      : all_operators_(all_operators), self_(graph.inputs().at(0)) {
    orders_[&graph] = graph.addInput("order")->setType(ListType::ofInts());
    Caller top{"", self_};
    visit(graph.block(), top);
  }

  std::vector<Site> sites;

 private:
  struct Caller {
    std::string path;
    // The module whose code it is.
    Value* self;
    bool is_activation_module = false;
    // Whether the module is one operator of torch.nn that is no activation.
    bool is_operator_module = false;
    // How often the code has called a module of this class that others have, too.
    std::unordered_map<std::string, size_t> shared_calls = {};
  };

  bool all_operators_;
  Value* self_;
  // The list that the taps of a graph claim to write to (tap.h).
  std::unordered_map<Graph*, Value*> orders_;
  // Inputs of a forked subgraph, and what they are outside of it.
  std::unordered_map<Value*, Value*> captured_;
  std::unordered_map<Node*, bool> weights_;

  // The path of a module. `is_own` says whether the caller takes it from itself; else it was
  // handed to it.
  std::optional<std::string> path_of(Value* value, const Caller& caller, bool& is_own) const {
    if (value == caller.self) {
      is_own = true;
      return caller.path;
    }
    if (value == self_) {
      is_own = false;
      return "";
    }
    auto outside = captured_.find(value);
    if (outside != captured_.end()) {
      return path_of(outside->second, caller, is_own);
    }
    if (value->node()->kind() != prim::GetAttr) {
      return std::nullopt;
    }
    auto parent = path_of(value->node()->input(), caller, is_own);
    if (!parent) {
      return std::nullopt;
    }
    return joined(*parent, value->node()->s(attr::name));
  }

  static std::string joined(const std::string& path, const std::string& name) {
    return path.empty() ? name : path + "." + name;
  }

  // A class by the name that it had before libtorch made it unique.
  static std::string plain_name(const ClassType& type) {
    std::string plain;
    const auto parts = type.name() ? type.name()->atoms() : std::vector<std::string>();
    for (const std::string& part : parts) {
      if (part.rfind("___torch_mangle_", 0) != 0) {
        plain += "." + part;
      }
    }
    return plain;
  }

  // Where several modules have one module in common, tracing leaves its code with one of them
  // and hands it to the code of the others, which have an empty one of its class: that says
  // by which name the caller knows it. One with several of them is taken to call them in order.
  static std::optional<std::string> shared_name(
      const ClassType& callee, const std::string& path, Caller& caller) {
    auto type = caller.self->type()->cast<ClassType>();
    if (!type) {
      return std::nullopt;
    }
    const std::string name = plain_name(callee);
    std::vector<std::string> names;
    for (size_t i = 0; i < type->numAttributes(); ++i) {
      auto attribute = type->getAttribute(i)->cast<ClassType>();
      if (attribute && attribute->is_module() && attribute->methods().empty() &&
          plain_name(*attribute) == name) {
        names.push_back(type->getAttributeName(i));
      }
    }
    if (names.empty()) {
      return std::nullopt;
    }
    const std::string own = path.substr(path.rfind('.') + 1);
    const bool is_number = own.find_first_not_of("0123456789") == std::string::npos;
    if (!is_number && std::find(names.begin(), names.end(), own) != names.end()) {
      return own;
    }
    return names[std::min(caller.shared_calls[name]++, names.size() - 1)];
  }

  // Whether the node computes from weights alone. A tap would keep freezing from doing
  // that once, and a convolution's kernel would have no size that the graph tells.
  bool is_weight(Node* node) {
    if (node->kind() == prim::Constant || node->kind() == prim::GetAttr) {
      return true;
    }
    const bool is_list = node->kind() == prim::ListConstruct;
    if (!(node->kind().is_aten() || is_list) || !node->blocks().empty() ||
        (is_list && node->output()->type()->isSubtypeOf(*ListType::ofTensors()))) {
      return false;
    }
    auto known = weights_.find(node);
    if (known == weights_.end()) {
      const auto& inputs = node->inputs();
      const bool all = std::all_of(
          inputs.begin(), inputs.end(), [&](Value* input) { return is_weight(input->node()); });
      known = weights_.emplace(node, all).first;
    }
    return known->second;
  }

  // Whether the class is a module of torch.nn.modules.activation, mangled or not.
  static bool is_activation_class(const ClassType& type) {
    return type.name() &&
        type.name()->qualifiedName().find("torch.nn.modules.activation.") != std::string::npos;
  }

  // Whether the class is a convolution, a pool or a normalisation of torch.nn.
  static bool is_operator_class(const ClassType& type) {
    if (!type.name()) {
      return false;
    }
    const std::string name = type.name()->qualifiedName();
    return name.find("torch.nn.modules.conv.") != std::string::npos ||
        name.find("torch.nn.modules.pooling.") != std::string::npos ||
        name.find("torch.nn.modules.batchnorm.") != std::string::npos ||
        name.find("torch.nn.modules.normalization.") != std::string::npos ||
        name.find("torch.nn.modules.linear.") != std::string::npos;
  }

  Caller callee_of(Node* call, Caller& caller) const {
    if (call->kind() != prim::CallMethod) {
      return caller;
    }
    auto type = call->input(0)->type()->cast<ClassType>();
    // A TorchScript class that is no module has no name of its own.
    if (!type || !type->is_module()) {
      return caller;
    }
    bool is_own = true;
    auto path = path_of(call->input(0), caller, is_own);
    if (path && !is_own) {
      if (auto name = shared_name(*type, *path, caller)) {
        path = joined(caller.path, *name);
      }
    }
    return Caller{
        path.value_or(caller.path),
        call->input(0),
        is_activation_class(*type),
        is_operator_class(*type)};
  }

  void visit(Block* block, Caller& caller) {
    visit(*block->nodes().begin(), block->return_node(), caller);
  }

  // The nodes from `node` up to but not including `end`.
  void visit(Node* node, Node* end, Caller& caller) {
    while (node != end) {
      Node* next = node->next();
      if (node->kind() == prim::CallMethod || node->kind() == prim::CallFunction) {
        inline_call(node, caller);
      } else if (auto operation = activation(node)) {
        const bool is_module = caller.is_activation_module;
        insert_tap(node, Site{caller.path, *operation, is_module, is_module});
      } else if (auto site = other_site(node, caller)) {
        insert_tap(node, *site);
      } else {
        open_fused(node);
        for (Block* block : node->blocks()) {
          visit(block, caller);
        }
        if (node->kind() == prim::fork) {
          visit_fork(node, caller);
        }
      }
      node = next;
    }
  }

  // Where nobody looks, one operator does a whole layer of nn.TransformerEncoder, activation
  // included. The other branch does the same with an operator for each step.
  static void open_fused(Node* branch) {
    if (branch->kind() != prim::If) {
      return;
    }
    for (size_t i = 0; i < 2; ++i) {
      const auto nodes = branch->blocks()[i]->nodes();
      if (std::any_of(nodes.begin(), nodes.end(), [](const Node* node) {
            return is_aten(node, "_transformer_encoder_layer_fwd");
          })) {
        WithInsertPoint point(branch);
        // The first block is for true.
        branch->replaceInput(0, branch->owningGraph()->insertConstant(i == 1));
      }
    }
  }

  // What else is looked at: an operator that changes how fine a map is, or where a composed
  // activation may end.
  std::optional<Site> other_site(Node* node, const Caller& caller) {
    const auto shaping = all_operators_ ? shaping_operator(node) : std::nullopt;
    if (!(shaping || Composer::may_end_at(node)) || is_weight(node)) {
      return std::nullopt;
    }
    return Site{
        caller.path,
        shaping.value_or(""),
        shaping && caller.is_operator_module,
        caller.is_activation_module};
  }

  void inline_call(Node* call, Caller& caller) {
    GraphFunction* function = nullptr;
    if (call->kind() == prim::CallFunction) {
      function = tryToGraphFunction(call);
    } else if (auto type = call->input(0)->type()->cast<ClassType>()) {
      function = tryToGraphFunction(type->getMethod(call->s(attr::name)));
    }
    if (!function) {
      return;
    }
    Caller callee = callee_of(call, caller);
    Node* before = call->prev();
    Node* after = call->next();
    if (call->kind() == prim::CallFunction) {
      call->removeInput(0);  // the function itself
    }
    // Not its optimised graph, whose own calls are inlined already, and nameless.
    inlineCallTo(call, function, function->graph().get());
    visit(before->next(), after, callee);
  }

  void visit_fork(Node* fork, Caller& caller) {
    auto subgraph = fork->g(attr::Subgraph);
    for (size_t i = 0; i < fork->inputs().size(); ++i) {
      captured_[subgraph->inputs().at(i)] = fork->input(i);
    }
    orders_[subgraph.get()] = subgraph->addInput("order")->setType(ListType::ofInts());
    fork->addInput(orders_.at(fork->owningGraph()));
    visit(subgraph->block(), caller);
  }

  void insert_tap(Node* node, Site site) {
    Graph* graph = node->owningGraph();
    WithInsertPoint point(node->next());
    Value* index = graph->insertConstant(static_cast<int64_t>(sites.size()));
    graph->insertNode(
        graph->create(tap_symbol(), {node->output(), index, orders_.at(graph)}, 0));
    sites.push_back(std::move(site));
  }
};

// Of the taps, those that see nothing but a part of what ends at the tap `last`. Freezing makes
// one of equal calls: where a value is used elsewhere, too, one of its taps belongs to this, the
// nearest before the end, and a tap that is alone belongs to the other use.
inline std::vector<Node*> parts_of(
    const ComposedActivation& composed, Node* last, const std::vector<Node*>& taps) {
  std::unordered_map<Value*, std::vector<Node*>> by_value;
  const auto end = std::find(taps.begin(), taps.end(), last);
  for (auto tap = taps.begin(); tap != end; ++tap) {
    Value* value = (*tap)->input(0);
    if (value != last->input(0) && composed.nodes.count(value->node()) != 0) {
      by_value[value].push_back(*tap);
    }
  }
  std::vector<Node*> parts;
  for (const auto& [value, its_taps] : by_value) {
    const auto& uses = value->uses();
    const bool is_inside = std::all_of(uses.begin(), uses.end(), [&](const Use& use) {
      return use.user->kind() == tap_symbol() || composed.nodes.count(use.user) != 0;
    });
    if (is_inside) {
      parts.insert(parts.end(), its_taps.begin(), its_taps.end());
    } else if (its_taps.size() > 1) {
      const auto nearest = std::max_element(
          its_taps.begin(), its_taps.end(), [](Node* a, Node* b) {
            return toIValue(a->input(1))->toInt() < toIValue(b->input(1))->toInt();
          });
      parts.push_back(*nearest);
    }
  }
  return parts;
}

// Decides, when freezing has resolved the branches, where composed activations end. The other
// taps that were put in for them go, and so do those of activations that are a part of one:
// of `x * sigmoid(x)` nobody wants to see the sigmoid.
inline void settle_taps(Graph& graph, std::vector<Site>& sites) {
  std::vector<Node*> taps;
  for_each_node(graph.block(), [&](Node* node) {
    if (node->kind() == tap_symbol()) {
      taps.push_back(node);
    }
  });
  const auto index = [](Node* tap) {
    return static_cast<size_t>(toIValue(tap->input(1))->toInt());
  };
  std::unordered_set<Node*> superfluous;
  for (Node* tap : taps) {
    Site& site = sites.at(index(tap));
    Node* last = tap->input(0)->node();
    const auto composed = Composer::at(last);
    if (!composed) {
      if (site.operation.empty()) {
        superfluous.insert(tap);
      }
      continue;
    }
    site.operation = composed->name;
    site.is_module = site.is_activation_module;
    for (Node* part : parts_of(*composed, tap, taps)) {
      superfluous.insert(part);
    }
  }
  std::vector<bool> is_gone(sites.size()), is_left(sites.size());
  for (Node* tap : taps) {
    (superfluous.count(tap) != 0 ? is_gone : is_left)[index(tap)] = true;
  }
  // Those in branches that never run stay, as long as they are anything.
  std::vector<Site> kept;
  std::vector<int64_t> places(sites.size(), -1);
  for (size_t i = 0; i < sites.size(); ++i) {
    if (is_left[i] || (!is_gone[i] && !sites[i].operation.empty())) {
      places[i] = static_cast<int64_t>(kept.size());
      kept.push_back(std::move(sites[i]));
    }
  }
  for (Node* tap : taps) {
    if (superfluous.count(tap) != 0) {
      tap->destroy();
      continue;
    }
    WithInsertPoint point(tap);
    tap->replaceInput(1, tap->owningGraph()->insertConstant(places[index(tap)]));
  }
  sites = std::move(kept);
}

}  // namespace actviz
