// Loads a TorchScript file and puts a tap after every activation in its graph.
//
// A tap is a node `actviz::tap(Tensor, node, sink)` that hands the tensor to Rust
// while the network runs, so it sees what is inside of branches and loops, before
// an in-place operator can spoil it. No arithmetic on tensors happens here.
#include "shim.h"

#include "audit.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/canonicalize.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/csrc/jit/runtime/print_handler.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#ifndef _WIN32
#include <dlfcn.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {

using namespace torch::jit;

// ---------------------------------------------------------------- errors

// What a message becomes if there is no memory for it. Never freed.
char no_memory[] = "out of memory";

char* owned(const char* text) noexcept {
  auto* copy = static_cast<char*>(std::malloc(std::strlen(text) + 1));
  return copy ? std::strcpy(copy, text) : no_memory;
}

// libtorch warns on stderr, which belongs to the program; warnings are dropped.
struct Silence : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// Runs `body`. No exception leaves; its text does.
template <class Body>
char* guarded(Body&& body) noexcept {
  try {
    Silence silence;
    c10::WarningUtils::WarningHandlerGuard guard(&silence);
    body();
    return nullptr;
  } catch (const actviz::Refusal& refusal) {
    return owned((std::string(ACTVIZ_REFUSED) + refusal.what()).c_str());
  } catch (const std::exception& error) {
    return owned(error.what());
  } catch (...) {
    return owned("an exception of unknown type");
  }
}

// ---------------------------------------------------------------- the tap

struct Sink {
  actviz_receive receive;
  void* context;
};

void tap_kernel(Stack& stack) {
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

const Symbol& tap_symbol() {
  static const Symbol symbol = Symbol::fromQualString("actviz::tap");
  return symbol;
}

// Every batch wants the memory that the last one gave back. Handing it to the system in
// between costs a page fault for every 4 KiB of it: a thirtieth of the time.
void keep_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc allows
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

// The weights as they were saved are gone once they are folded: nothing is as large again
// until the next network is loaded.
void give_back_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// Called explicitly: a static initialiser in a static library may be dropped by the
// linker.
void register_tap() {
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

// ---------------------------------------------------------------- activations

// The pointwise activations of torch.nn.functional that are one operator each.
// softsign and tanhshrink have none and are found by their pattern.
const std::unordered_set<std::string>& activations() {
  static const std::unordered_set<std::string> names{
      "relu",     "relu6",      "leaky_relu",  "prelu",       "rrelu",      "elu",
      "selu",     "celu",       "gelu",        "silu",        "mish",       "hardswish",
      "hardtanh", "hardsigmoid", "sigmoid",    "tanh",        "softplus",   "threshold",
      "log_sigmoid", "hardshrink", "softshrink"};
  return names;
}

bool is_aten(const Node* node, const char* name) {
  return node->kind().is_aten() && std::strcmp(node->kind().toUnqualString(), name) == 0;
}

std::optional<double> number(const Value* value) {
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
bool is_softsign(Node* node) {
  if (!is_aten(node, "div") || node->inputs().size() != 2) {
    return false;
  }
  Node* sum = node->input(1)->node();
  return is_aten(sum, "add") && is_aten(sum->input(0)->node(), "abs") &&
      sum->input(0)->node()->input(0) == node->input(0) && number(sum->input(1)) == 1.0;
}

// `x - tanh(x)`: torch.nn.functional.tanhshrink.
bool is_tanhshrink(Node* node) {
  return is_aten(node, "sub") && is_aten(node->input(1)->node(), "tanh") &&
      node->input(1)->node()->input(0) == node->input(0);
}

bool is_inside_tanhshrink(Node* node) {
  const auto& uses = node->output()->uses();
  return is_aten(node, "tanh") &&
      std::any_of(uses.begin(), uses.end(), [](const Use& use) { return is_tanhshrink(use.user); });
}

// The activation function that `node` calls, if it does.
std::optional<std::string> activation(Node* node) {
  if (!node->kind().is_aten() || node->outputs().size() != 1 ||
      !node->output()->type()->isSubtypeOf(*TensorType::get())) {
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

// ---------------------------------------------------------------- other operators

// The operators, besides activations, that change how fine the structure of a tensor
// is: what `actviz insights` looks at.
const std::unordered_set<std::string>& shaping_operators() {
  static const std::unordered_set<std::string> names{
      "conv2d", "_convolution", "convolution", "conv_transpose2d", "max_pool2d", "avg_pool2d",
      "lp_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "batch_norm", "layer_norm",
      "group_norm", "instance_norm", "local_response_norm", "add", "sub", "mul", "div", "cat",
      "linear", "slice", "pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d",
      "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "pixel_shuffle",
      "pixel_unshuffle"};
  return names;
}

std::optional<std::string> shaping_operator(Node* node) {
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
  return name == "_convolution" || name == "convolution" ? "conv2d" : name;
}

// ---------------------------------------------------------------- tapping

// One activation call in the code, before anything is known of its tensor.
struct Site {
  std::string path;
  std::string operation;
  bool is_module;
};

// Inlines every call in a graph, as libtorch's own pass does, but knows at each
// step by which module it stands; so a module gets its whole path, and an activation
// its name, whatever freezing does to the graph afterwards.
class Tapper {
 public:
  Tapper(Graph& graph, bool all_operators)
      : all_operators_(all_operators), self_(graph.inputs().at(0)) {
    sinks_[&graph] = graph.addInput("sink")->setType(ListType::ofInts());
    visit(graph.block(), Caller{"", false});
  }

  std::vector<Site> sites;

 private:
  struct Caller {
    std::string path;
    bool is_activation_module;
    // Whether the module is one operator of torch.nn that is no activation.
    bool is_operator_module = false;
  };

  bool all_operators_;
  Value* self_;
  std::unordered_map<Graph*, Value*> sinks_;
  // Inputs of a forked subgraph, and what they are outside of it.
  std::unordered_map<Value*, Value*> captured_;
  std::unordered_map<Node*, bool> weights_;

  std::optional<std::string> path_of(Value* value) const {
    if (value == self_) {
      return "";
    }
    auto outside = captured_.find(value);
    if (outside != captured_.end()) {
      return path_of(outside->second);
    }
    if (value->node()->kind() != prim::GetAttr) {
      return std::nullopt;
    }
    auto parent = path_of(value->node()->input());
    if (!parent) {
      return std::nullopt;
    }
    const auto& name = value->node()->s(attr::name);
    return parent->empty() ? name : *parent + "." + name;
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

  Caller callee_of(Node* call, const Caller& caller) const {
    if (call->kind() != prim::CallMethod) {
      return caller;
    }
    auto type = call->input(0)->type()->cast<ClassType>();
    // A TorchScript class that is no module has no name of its own.
    if (!type || !type->is_module()) {
      return caller;
    }
    auto path = path_of(call->input(0));
    return Caller{
        path.value_or(caller.path), is_activation_class(*type), is_operator_class(*type)};
  }

  void visit(Block* block, const Caller& caller) {
    visit(*block->nodes().begin(), block->return_node(), caller);
  }

  // The nodes from `node` up to but not including `end`.
  void visit(Node* node, Node* end, const Caller& caller) {
    while (node != end) {
      Node* next = node->next();
      if (node->kind() == prim::CallMethod || node->kind() == prim::CallFunction) {
        inline_call(node, caller);
      } else if (auto operation = activation(node)) {
        insert_tap(node, Site{caller.path, *operation, caller.is_activation_module});
      } else if (auto shaping = all_operators_ && !is_weight(node) ? shaping_operator(node)
                                                                  : std::nullopt) {
        insert_tap(node, Site{caller.path, *shaping, caller.is_operator_module});
      } else {
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

  void inline_call(Node* call, const Caller& caller) {
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

  void visit_fork(Node* fork, const Caller& caller) {
    auto subgraph = fork->g(attr::Subgraph);
    for (size_t i = 0; i < fork->inputs().size(); ++i) {
      captured_[subgraph->inputs().at(i)] = fork->input(i);
    }
    sinks_[subgraph.get()] = subgraph->addInput("sink")->setType(ListType::ofInts());
    fork->addInput(sinks_.at(fork->owningGraph()));
    visit(subgraph->block(), caller);
  }

  void insert_tap(Node* node, Site site) {
    Graph* graph = node->owningGraph();
    WithInsertPoint point(node->next());
    Value* index = graph->insertConstant(static_cast<int64_t>(sites.size()));
    graph->insertNode(
        graph->create(tap_symbol(), {node->output(), index, sinks_.at(graph)}, 0));
    sites.push_back(std::move(site));
  }
};

// ---------------------------------------------------------------- precision, layout, device

bool is_other_float(const at::Tensor& tensor, at::ScalarType than) {
  return tensor.defined() && at::isFloatingType(tensor.scalar_type()) &&
      tensor.scalar_type() != than;
}

void for_each_node(Block* block, const std::function<void(Node*)>& visit) {
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

bool is_tensor_constant(Node* node) {
  return node->kind() == prim::Constant && node->hasAttribute(attr::value) &&
      node->kindOf(attr::value) == AttributeKind::t;
}

// Casts every weight of another precision to `type`: attributes of the modules, and
// constants in the code, where freezing puts them. Returns whether there was any.
bool cast_weights(const Module& module, Graph& graph, at::ScalarType type) {
  bool changed = false;
  for (const IValue& attribute : module.attributes()) {
    if (attribute.isTensor() && is_other_float(attribute.toTensor(), type)) {
      at::Tensor tensor = attribute.toTensor();
      tensor.set_data(tensor.to(type));
      changed = true;
    }
  }
  for_each_node(graph.block(), [&](Node* node) {
    if (is_tensor_constant(node) && is_other_float(node->t(attr::value), type)) {
      node->t_(attr::value, node->t(attr::value).to(type));
      changed = true;
    }
  });
  return changed;
}

// Lays the filters of two-dimensional convolutions out in memory as `format` says.
void lay_out_filters(const Module& module, Graph& graph, at::MemoryFormat format) {
  for (const IValue& attribute : module.attributes()) {
    if (attribute.isTensor() && attribute.toTensor().dim() == 4) {
      at::Tensor tensor = attribute.toTensor();
      tensor.set_data(tensor.contiguous(format));
    }
  }
  for_each_node(graph.block(), [&](Node* node) {
    if (is_tensor_constant(node) && node->t(attr::value).dim() == 4) {
      node->t_(attr::value, node->t(attr::value).contiguous(format));
    }
  });
}

// Code that was written or traced for one precision names it (`x.to(float16)`,
// `zeros(.., dtype=float16)`): such arguments become `type` too.
void cast_dtypes(Graph& graph, at::ScalarType type) {
  for_each_node(graph.block(), [&](Node* node) {
    const FunctionSchema* schema = node->maybeSchema();
    if (!schema || schema->arguments().size() != node->inputs().size()) {
      return;
    }
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      if (schema->arguments()[i].name() != "dtype") {
        continue;
      }
      auto constant = toIValue(node->input(i));
      if (constant && constant->isInt() &&
          at::isFloatingType(static_cast<at::ScalarType>(constant->toInt()))) {
        WithInsertPoint point(node);
        node->replaceInput(
            i, node->owningGraph()->insertConstant(static_cast<int64_t>(type)));
      }
    }
  });
}

// A traced file names the device that it was traced on; it runs on ours.
void move_constants(Graph& graph, const at::Device& device) {
  for_each_node(graph.block(), [&](Node* node) {
    if (is_tensor_constant(node)) {
      node->t_(attr::value, node->t(attr::value).to(device));
    } else if (
        node->kind() == prim::Constant && node->hasAttribute(attr::value) &&
        node->output()->type()->kind() == TypeKind::DeviceObjType) {
      node->s_(attr::value, device.str());
    }
  });
}

// ---------------------------------------------------------------- reading the graph

// What the frozen graph tells about its taps.
class Reader {
 public:
  Reader(Graph& graph, const Module& module) : graph_(graph), module_(module) {
    marked_.insert(graph.inputs().at(1));
    do {
      grown_ = false;
      spread(graph.block());
    } while (grown_);
  }

  // Whether the values of `value` come from the network's input.
  bool depends_on_input(Value* value) const {
    return marked_.count(value) != 0;
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

  // The channels that the first convolution takes, if it comes before any linear layer.
  int64_t input_channels() const {
    int64_t channels = 0;
    bool found = false;
    for_each_node(graph_.block(), [&](Node* node) {
      if (found || node->inputs().empty() || !depends_on_input(node->input(0))) {
        return;
      }
      if (is_convolution(node)) {
        found = true;
        auto weight = tensor_of(node->input(1));
        auto groups = toIValue(node->inputs().back());
        if (is_aten(node, "_convolution")) {
          groups = toIValue(node->input(8));
        }
        if (weight && weight->dim() == 4 && groups && groups->isInt()) {
          channels = weight->size(1) * groups->toInt();
        }
      } else if (is_last_order(node)) {
        found = true;
      }
    });
    return channels;
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
        if (writes_to(use) && use.user->isBefore(tap)) {
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
  Graph& graph_;
  const Module& module_;
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
        return depends_on_input(input);
      });
      for (Block* inner : node->blocks()) {
        if (fed) {
          std::for_each(inner->inputs().begin(), inner->inputs().end(), [&](Value* v) { mark(v); });
        }
        spread(inner);
        fed = fed || std::any_of(inner->outputs().begin(), inner->outputs().end(), [&](Value* v) {
                return depends_on_input(v);
              });
      }
      if (node->hasAttribute(attr::Subgraph)) {
        auto subgraph = node->g(attr::Subgraph);
        for (size_t i = 0; i < node->inputs().size() && i < subgraph->inputs().size(); ++i) {
          if (depends_on_input(node->input(i))) {
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

  static bool is_convolution(Node* node) {
    return is_aten(node, "conv2d") || is_aten(node, "_convolution") ||
        is_aten(node, "convolution");
  }

  // Operators that want the channels after the batch.
  static bool is_first_order(Node* node) {
    static const std::unordered_set<std::string> names{
        "conv1d", "conv3d", "conv_transpose2d", "batch_norm", "instance_norm", "group_norm",
        "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "lp_pool2d",
        "pixel_shuffle", "pixel_unshuffle", "upsample_nearest2d", "upsample_bilinear2d",
        "upsample_bicubic2d", "grid_sampler", "local_response_norm"};
    return is_convolution(node) || (node->kind().is_aten() && names.count(node->kind().toUnqualString()) != 0);
  }

  // Operators that want the channels last.
  static bool is_last_order(Node* node) {
    static const std::unordered_set<std::string> names{
        "linear", "addmm", "matmul", "layer_norm", "embedding", "scaled_dot_product_attention"};
    return node->kind().is_aten() && names.count(node->kind().toUnqualString()) != 0;
  }

  int32_t order(Value* value, std::unordered_set<Value*>& seen) const {
    Node* node = value->node();
    if (!seen.insert(value).second) {
      return 0;
    }
    if (is_first_order(node)) {
      return 1;
    }
    if (is_last_order(node)) {
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
    if (!keeps_order(node)) {
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

  static bool keeps_order(Node* node) {
    static const std::unordered_set<std::string> names{
        "add", "sub", "mul", "div", "pow", "sqrt", "exp", "neg", "abs", "clamp", "clamp_min",
        "clamp_max", "softmax", "dropout", "feature_dropout", "cat", "chunk", "split", "clone",
        "contiguous", "to", "pad", "constant_pad_nd", "slice", "maximum", "minimum", "where"};
    if (node->kind() == prim::If || node->kind() == prim::Loop ||
        node->kind() == prim::ListConstruct || node->kind() == prim::ListUnpack ||
        node->kind() == prim::TupleConstruct || node->kind() == prim::TupleUnpack ||
        node->kind() == prim::ConstantChunk) {
      return true;
    }
    if (!node->kind().is_aten()) {
      return false;
    }
    std::string name = node->kind().toUnqualString();
    if (name.back() == '_') {
      name.pop_back();
    }
    return names.count(name) != 0 || activations().count(name) != 0;
  }
};

// ---------------------------------------------------------------- structure

// Writes down which operator reads which: what receptive fields are computed from. One
// line for each value that depends on the input; see shim.h for its fields.
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
      }
    });
    walk(graph->block());
  }

  std::string text() const {
    return text_;
  }

 private:
  const Reader& reader_;
  AliasDb aliases_;
  // What each value is now.
  std::unordered_map<Value*, size_t> ids_;
  size_t last_ = 0;
  // Values that something else may write to.
  std::vector<Value*> seen_;
  // Attributes that the code sets: nobody follows what they hold.
  std::set<std::string> assigned_;
  // What an in-place operator returns is what it was given.
  std::unordered_map<Value*, Value*> same_;
  std::string text_;

  Value* origin(Value* value) const {
    auto found = same_.find(value);
    return found == same_.end() ? value : found->second;
  }

  // What stands for a value after the colon; nothing if it depends on no input.
  std::string source(Value* value) const {
    auto id = ids_.find(origin(value));
    if (id != ids_.end()) {
      return " " + std::to_string(id->second);
    }
    const bool is_assigned = value->node()->kind() == prim::GetAttr &&
        assigned_.count(value->node()->s(attr::name)) != 0;
    return is_assigned || reader_.depends_on_input(value) ? " ?" : "";
  }

  size_t add(const std::string& operation, const std::string& sources) {
    text_ += "value " + std::to_string(++last_) + " " + operation + " :" + sources + "\n";
    return last_;
  }

  void walk(Block* block) {
    for (Node* node : block->nodes()) {
      if (node->kind() == tap_symbol()) {
        auto id = ids_.find(origin(node->input(0)));
        text_ += "tap " + (id == ids_.end() ? std::string("-") : std::to_string(id->second)) + "\n";
        continue;
      }
      for (Block* inner : node->blocks()) {
        walk(inner);
      }
      if (!Reader::reads_only_shape(node)) {
        write(node);
      }
    }
  }

  std::string sources(Node* node) const {
    std::string from;
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      // What decides for a branch is no part of its result, and has a say in it.
      const bool decides = node->kind() == prim::If && !source(node->input(i)).empty();
      const bool overwritten = i == 0 && is_aten(node, "copy_");
      from += decides ? " ?" : overwritten ? "" : source(node->input(i));
    }
    for (Block* inner : node->blocks()) {
      for (Value* output : inner->outputs()) {
        from += source(output);
      }
    }
    return from;
  }

  void write(Node* node) {
    const std::string from = sources(node);
    const bool depends = !from.empty() ||
        std::any_of(node->outputs().begin(), node->outputs().end(), [&](Value* output) {
                           return reader_.depends_on_input(output);
                         });
    std::vector<Value*> written;
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      if (Reader::writes_to(Use(node, i))) {
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

  void write(Node* node, const std::string& from, const std::vector<Value*>& written) {
    const std::string operation = described(node);
    for (Value* output : node->outputs()) {
      size_t id = add(operation, from);
      if (drops_dimensions(node)) {
        id = add("squeeze - - - - -", " " + std::to_string(id));
      }
      ids_[origin(output)] = id;
    }
    for (Value* value : written) {
      Value* target = origin(value);
      if (node->outputs().size() != 1 || origin(node->output()) != target) {
        ids_[target] = add(operation, from);
      }
      // A branch or a loop may do so or not.
      if (target->node()->owningBlock() != node->owningBlock()) {
        ids_[target] = add("written_in_a_block - - - - -", source(target));
      }
      for (Value* other : seen_) {
        if (other != target && changes_with(other, value)) {
          const bool holds = !is_tensor(other) && is_tensor(value);
          const auto what = holds ? "written_inside - - - - -" : "written_elsewhere - - - - -";
          ids_[other] = add(what, source(other) + source(target));
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

  // The operator with its sizes.
  std::string described(Node* node) const {
    std::string kind = node->kind().toUnqualString();
    // `add_` is `add`; `__getitem__` is no such operator.
    const bool is_private = kind.rfind("__", 0) == 0;
    if (node->kind().is_aten() && kind.back() == '_' && !is_private) {
      kind.pop_back();
    }
    std::string line = kind;
    auto sizes = window(node, kind);
    sizes.push_back(dimensions(node, kind));
    for (const auto& numbers : sizes) {
      line += " ";
      for (size_t i = 0; i < numbers.size(); ++i) {
        line += (i == 0 ? "" : ",") + std::to_string(numbers[i]);
      }
      line += numbers.empty() ? "-" : "";
    }
    return line;
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

  // Whether the dimensions that it works along are gone in what it gives.
  static bool drops_dimensions(Node* node) {
    const auto at = position(node, "keepdim");
    const auto keeps = at ? toIValue(node->input(*at)) : std::nullopt;
    return at && !(keeps && keeps->isBool() && keeps->toBool());
  }

  // Where the argument of this name stands among the inputs.
  static std::optional<size_t> position(Node* node, const std::string& name) {
    const FunctionSchema* schema = node->maybeSchema();
    const auto at = schema ? schema->argumentIndexWithName(name) : std::nullopt;
    if (!at || static_cast<size_t>(*at) >= node->inputs().size()) {
      return std::nullopt;
    }
    return static_cast<size_t>(*at);
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

// ---------------------------------------------------------------- networks

at::Device device_of(actviz_device device) {
  switch (device) {
    case -1:
      return at::Device(at::kCPU);
    case -2:
      return at::Device(at::kMPS);
    default:
      return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device));
  }
}

// The arguments that follow the image: those with a default get it.
std::vector<IValue> other_arguments(const FunctionSchema& schema) {
  const auto& arguments = schema.arguments();
  TORCH_CHECK(arguments.size() >= 2, "its forward() takes no input");
  TORCH_CHECK(
      TensorType::get()->isSubtypeOf(*arguments[1].type()),
      "its forward() takes ", arguments[1].type()->repr_str(), ", not one tensor of images");
  std::vector<IValue> others;
  for (size_t i = 2; i < arguments.size(); ++i) {
    TORCH_CHECK(
        arguments[i].default_value(),
        "its forward() takes another input besides the images: ", arguments[i].name());
    others.push_back(*arguments[i].default_value());
  }
  return others;
}

// The words of a text with one on each line.
std::set<std::string> words(const char* text) {
  std::set<std::string> words;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    words.insert(line);
  }
  return words;
}

using Unpack = std::function<void(const std::vector<actviz_record>&)>;

Unpack throwing(actviz_unpack unpack, void* context) {
  return [=](const std::vector<actviz_record>& records) {
    if (unpack(context, records.data(), records.size()) != 0) {
      throw std::runtime_error("its weights cannot be unpacked");
    }
  };
}

void give_tensors(const IValue& value, const std::function<void(const at::Tensor&)>& give) {
  if (value.isTensor()) {
    give(value.toTensor());
  } else if (value.isTuple()) {
    for (const IValue& element : value.toTupleRef().elements()) {
      give_tensors(element, give);
    }
  } else if (value.isList()) {
    for (const IValue& element : value.toListRef()) {
      give_tensors(element, give);
    }
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      give_tensors(entry.value(), give);
    }
  }
}

}  // namespace

struct actviz_network {
  Module module;
  std::shared_ptr<Graph> graph;
  Code code;
  std::vector<IValue> other_arguments;
  at::Device device;
  at::ScalarType type;
  at::MemoryFormat format = at::MemoryFormat::Contiguous;
  std::vector<Site> sites;
  std::vector<actviz_node> nodes;
  int64_t input_channels = 0;
  bool data_dependent = false;
  std::string structure;

  actviz_network(
      const char* path,
      at::Device to,
      at::ScalarType precision,
      bool all_operators,
      actviz::Audit& audit,
      const Unpack& unpack)
      : device(to), type(precision) {
    // Not inference mode: weights that were made in it could not be used by runs
    // with gradients.
    at::NoGradGuard no_gradients;
    register_tap();
    module = actviz::load_audited(path, device, audit, unpack);
    module.eval();
    auto& forward = toGraphFunction(module.get_method("forward").function());
    other_arguments = ::other_arguments(forward.getSchema());
    sites = Tapper(*forward.graph(), all_operators).sites;
    if (cast_weights(module, *forward.graph(), at::kFloat)) {
      cast_dtypes(*forward.graph(), at::kFloat);
    }
    move_constants(*forward.graph(), device);
    graph = freeze(*forward.graph());
    give_back_memory();
    // After freezing, so that what it folds is computed in f32.
    if (type != at::kFloat) {
      cast_weights(module, *graph, type);
      cast_dtypes(*graph, type);
    }
    read_nodes();
    if (all_operators) {
      structure = structure_of(graph);
    }
    runRequiredPasses(graph);
    code = Code(graph, "forward");
  }

  void use_format(at::MemoryFormat wanted) {
    at::NoGradGuard no_gradients;
    lay_out_filters(module, *graph, wanted);
    code = Code(graph, "forward");
    format = wanted;
  }

  IValue run(const at::Tensor& input, bool with_gradients, const Sink& sink) {
    c10::InferenceMode inference(!with_gradients);
    at::AutoGradMode gradients(with_gradients);
    at::Tensor image = input.to(device, type).contiguous(format);
    // A network may begin with an in-place operator: the caller's tensor is not ours.
    if (image.is_same(input)) {
      image = image.clone();
    }
    Stack stack{module._ivalue(), std::move(image)};
    stack.insert(stack.end(), other_arguments.begin(), other_arguments.end());
    stack.emplace_back(c10::List<int64_t>({reinterpret_cast<intptr_t>(&sink)}));
    // Forked parts run at once, on this thread: the order of the layers is the same in
    // every run, and the receiver need not be thread-safe.
    InterpreterState(code, [](const std::function<void()>& task) { task(); }).run(stack);
    return pop(stack);
  }

 private:
  std::shared_ptr<Graph> freeze(Graph& tapped) {
    try {
      Module frozen = freeze_module(module);
      auto graph = frozen.get_method("forward").graph();
      OptimizeFrozenGraph(graph);
      module = frozen;
      return graph->copy();
    } catch (const std::exception&) {
      // What cannot be frozen runs as it is.
      return tapped.copy();
    }
  }

  std::string structure_of(const std::shared_ptr<Graph>& graph) const {
    try {
      return Structure(graph, Reader(*graph, module)).text();
    } catch (const std::exception&) {
      // Then the graph does not tell.
      return "";
    }
  }

  void read_nodes() {
    Reader reader(*graph, module);
    input_channels = reader.input_channels();
    data_dependent = reader.is_data_dependent();
    for (const Site& site : sites) {
      nodes.push_back(actviz_node{
          site.path.c_str(), site.operation.c_str(), site.is_module ? 1 : 0, 0, 0, 0});
    }
    for_each_node(graph->block(), [&](Node* tap) {
      if (tap->kind() != tap_symbol()) {
        return;
      }
      // A tap in an unrolled loop is there several times.
      auto& node = nodes.at(static_cast<size_t>(toIValue(tap->input(1))->toInt()));
      if (node.order == 0) {
        node.order = reader.order(tap->input(0));
      }
      node.depends_on_input |= reader.depends_on_input(tap->input(0)) ? 1 : 0;
      node.parameters = std::max(node.parameters, reader.parameters(tap));
    });
  }
};

// ---------------------------------------------------------------- the C face

char* actviz_load(
    const char* path,
    actviz_device device,
    int32_t in_bf16,
    int32_t all_operators,
    const char* allowed,
    actviz_unpack unpack,
    void* context,
    actviz_network** out) noexcept {
  return guarded([&] {
    actviz::Audit audit(words(allowed));
    const auto type = in_bf16 != 0 ? at::kBFloat16 : at::kFloat;
    *out = new actviz_network(
        path, device_of(device), type, all_operators != 0, audit, throwing(unpack, context));
  });
}

char* actviz_audit(
    const char* path,
    const char* allowed,
    actviz_unpack unpack,
    void* context,
    char** out) noexcept {
  return guarded([&] {
    register_tap();
    actviz::Audit audit(words(allowed));
    try {
      actviz::load_audited(path, at::kCPU, audit, throwing(unpack, context));
    } catch (const actviz::Refusal&) {
      // What was found up to there is the answer.
    }
    std::string text;
    for (const auto& [name, finding] : audit.findings()) {
      text += name + "\t" + std::to_string(finding.uses) + "\t" +
          (finding.allowed ? "yes" : "no") + "\t" + finding.place + "\n";
    }
    *out = owned(text.c_str());
  });
}

void actviz_free_network(actviz_network* network) noexcept {
  delete network;
}

size_t actviz_node_count(const actviz_network* network) noexcept {
  return network->nodes.size();
}

actviz_node actviz_node_at(const actviz_network* network, size_t index) noexcept {
  return network->nodes[index];
}

const char* actviz_structure(const actviz_network* network) noexcept {
  return network->structure.c_str();
}

char* actviz_code(const actviz_network* network, char** out) noexcept {
  return guarded([&] {
    auto graph = Canonicalize(network->graph, /*keep_unique_names=*/false);
    for_each_node(graph->block(), [](Node* node) {
      // Small tensors would be printed with their values.
      if (node->kind() == prim::Constant && node->hasAttribute(attr::value) &&
          node->kindOf(attr::value) == AttributeKind::t &&
          node->t(attr::value).is_floating_point()) {
        node->removeAttribute(attr::value);
      }
    });
    *out = owned(graph->toString(/*print_source_locations=*/false).c_str());
  });
}

int64_t actviz_input_channels(const actviz_network* network) noexcept {
  return network->input_channels;
}

int32_t actviz_is_data_dependent(const actviz_network* network) noexcept {
  return network->data_dependent ? 1 : 0;
}

char* actviz_use_channels_last(actviz_network* network, int32_t on) noexcept {
  return guarded([&] {
    network->use_format(on != 0 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  });
}

char* actviz_run(
    actviz_network* network,
    const void* input,
    int32_t with_gradients,
    actviz_receive tap,
    actviz_receive output,
    void* context) noexcept {
  return guarded([&] {
    const auto& images = *static_cast<const at::Tensor*>(input);
    const Sink sink{tap, context};
    const IValue result = network->run(images, with_gradients != 0, sink);
    size_t position = 0;
    give_tensors(result, [&](const at::Tensor& tensor) {
      if (output(context, position++, new at::Tensor(tensor)) != 0) {
        throw std::runtime_error("the receiver of an output ended the run");
      }
    });
  });
}

const char* actviz_torch_version(void) noexcept {
  return TORCH_VERSION;
}

char* actviz_cpu_capability(char** out) noexcept {
  return guarded([&] { *out = owned(at::get_cpu_capability().c_str()); });
}

char* actviz_library_path(char** out) noexcept {
  return guarded([&] {
#ifdef _WIN32
    TORCH_CHECK(false, "not known on this system");
#else
    Dl_info info;
    auto* symbol = reinterpret_cast<void*>(&at::get_cpu_capability);
    TORCH_CHECK(dladdr(symbol, &info) != 0 && info.dli_fname, "the loader does not know");
    *out = owned(info.dli_fname);
#endif
  });
}

void actviz_leave(int32_t code) noexcept {
  std::fflush(nullptr);
  std::_Exit(code);
}

char* actviz_make_cuda_exact(void) noexcept {
  return guarded([] {
    auto& context = at::globalContext();
    context.setAllowTF32CuDNN(false);
    context.setAllowTF32CuBLAS(false);
    context.setDeterministicCuDNN(true);
  });
}

void actviz_free_message(char* message) noexcept {
  if (message != no_memory) {
    std::free(message);
  }
}
