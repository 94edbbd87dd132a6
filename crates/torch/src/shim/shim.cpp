// Loads a TorchScript file, puts a tap after every activation in its graph, and runs it: what
// Rust may call (shim.h). No arithmetic on tensors happens here, but for folding (fold.h).
#include "shim.h"

#include "audit.h"
#include "fold.h"
#include "reader.h"
#include "refill.h"
#include "structure.h"
#include "tap.h"
#include "tapper.h"
#include "tokens.h"
#include "values.h"
#include "weights.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#ifndef _WIN32
#include <dlfcn.h>
#endif

namespace {

using namespace actviz;
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

Unpack throwing(actviz_unpack unpack, void* context) {
  return [=](const std::vector<actviz_record>& records) {
    if (unpack(context, records.data(), records.size()) != 0) {
      throw std::runtime_error("its weights cannot be unpacked");
    }
  };
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
  bool mixes_images = false;
  // What makes tokens of maps.
  std::vector<Node*> maps;
  std::vector<GraphValue> values;
  std::vector<int64_t> taps;
  Refill refill;

  actviz_network(
      int file,
      at::Device to,
      at::ScalarType precision,
      bool all_operators,
      Audit& audit,
      const Unpack& unpack)
      : device(to), type(precision) {
    // Not inference mode: weights that were made in it could not be used by runs
    // with gradients.
    at::NoGradGuard no_gradients;
    register_tap();
    Loaded loaded = load_audited(file, device, audit, unpack);
    module = std::exchange(loaded.module, Module());
    module.eval();
    auto& forward = toGraphFunction(module.get_method("forward").function());
    other_arguments = ::other_arguments(forward.getSchema());
    sites = Tapper(*forward.graph(), all_operators).sites;
    if (cast_weights(module, *forward.graph(), at::kFloat)) {
      cast_dtypes(*forward.graph(), at::kFloat);
    }
    move_constants(*forward.graph(), device);
    const bool is_decided_by_weights = reads_weights(*forward.graph());
    std::vector<Folded> folded = freeze(*forward.graph());
    // After freezing, so that what it folds is computed in f32.
    if (type != at::kFloat) {
      cast_weights(module, *graph, type);
      cast_dtypes(*graph, type);
    }
    if (!is_decided_by_weights) {
      refill = Refill(*graph, std::move(loaded), std::move(folded));
    }
    // The memory of what freezing made superfluous.
    loaded = Loaded{};
    folded.clear();
    give_back_memory();
    read_nodes();
    if (all_operators) {
      read_structure();
    }
    tap_maps();
    runRequiredPasses(graph);
    code = Code(graph, "forward");
  }

  void use_format(at::MemoryFormat wanted) {
    at::NoGradGuard no_gradients;
    lay_out_filters(module, *graph, wanted);
    // The weights lie somewhere else now.
    refill = Refill();
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
    stack.emplace_back(c10::List<int64_t>());
    const SinkOfThread scope(sink);
    // Forked parts run at once, on this thread: the order of the layers is the same in
    // every run, and the receiver need not be thread-safe.
    InterpreterState(code, [](const std::function<void()>& task) { task(); }).run(stack);
    return pop(stack);
  }

 private:
  // Sets `graph` to what is run, and says what was folded within the memory of the weights.
  std::vector<Folded> freeze(Graph& tapped) {
    Module frozen;
    std::shared_ptr<Graph> code;
    std::optional<Folder> folder;
    std::vector<Site> settled = sites;
    try {
      frozen = freeze_module(module);
      code = frozen.get_method("forward").graph();
      settle_taps(*code, settled);
      folder.emplace(*code).prepare();
    } catch (const std::exception&) {
      // What cannot be frozen runs as it is.
      graph = tapped.copy();
      settle_taps(*graph, sites);
      return {};
    }
    sites = std::move(settled);
    // The weights change here: code that is not frozen would no more do what it was made for.
    std::vector<Folded> folded = folder->fold();
    module = frozen;
    graph = code->copy();
    try {
      OptimizeFrozenGraph(code);
      graph = code->copy();
    } catch (const std::exception&) {
      // Then it runs without that.
    }
    return folded;
  }

  void read_structure() {
    try {
      Structure structure(graph, Reader(*graph, module));
      values = std::move(structure.values);
      taps = std::move(structure.taps);
    } catch (const std::exception&) {
      // Then the graph does not tell.
    }
  }

  void read_nodes() {
    Reader reader(*graph, module);
    input_channels = reader.input_channels();
    data_dependent = reader.is_data_dependent();
    mixes_images = reader.mixes_images();
    for (const Site& site : sites) {
      nodes.push_back(actviz_node{
          site.path.c_str(), site.operation.c_str(), site.is_module ? 1 : 0, 0, 0, 0, 0, 0, 0, 0, 0});
    }
    TokenReader tokens(reader);
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
      if (node.tokens == 0) {
        read_tokens(node, tokens.of(tap->input(0)));
      }
    });
    // All others, too: what else may be a grid of tokens is a whole fraction of theirs.
    for_each_node(graph->block(), [&](Node* node) {
      if (node->outputs().size() == 1 && node->owningGraph() == graph.get()) {
        const Tokens found = tokens.of(node->output());
        if (found.state == Tokens::grid && found.source == node) {
          number_of(node);
        }
      }
    });
  }

  // The number of the map that this operator makes tokens of.
  size_t number_of(Node* source) {
    const auto known = std::find(maps.begin(), maps.end(), source);
    if (known == maps.end()) {
      maps.push_back(source);
      return maps.size() - 1;
    }
    return static_cast<size_t>(known - maps.begin());
  }

  void read_tokens(actviz_node& node, const Tokens& tokens) {
    if (tokens.state == Tokens::never) {
      node.tokens = 1;
    }
    // A tap needs an input of the graph, and a forked one has others.
    if (tokens.state != Tokens::grid || tokens.source->owningGraph() != graph.get()) {
      return;
    }
    node.tokens = 2;
    node.map = number_of(tokens.source);
    node.token_axis = static_cast<int32_t>(tokens.axis);
    node.has_tokens_before = tokens.before ? 1 : 0;
    node.has_tokens_after = tokens.after ? 1 : 0;
  }

  // Only while the network runs it is known how many rows and columns a map has.
  void tap_maps() {
    for (size_t i = 0; i < maps.size(); ++i) {
      WithInsertPoint point(maps[i]);
      Value* index = graph->insertConstant(static_cast<int64_t>(nodes.size() + i));
      graph->insertNode(graph->create(
          tap_symbol(), {maps[i]->input(0), index, graph->inputs().back()}, 0));
    }
    maps.clear();
  }
};

// ---------------------------------------------------------------- the C face

char* actviz_load(
    int file,
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
        file, device_of(device), type, all_operators != 0, audit, throwing(unpack, context));
  });
}

char* actviz_audit(
    int file,
    const char* allowed,
    actviz_unpack unpack,
    void* context,
    char** out) noexcept {
  return guarded([&] {
    register_tap();
    actviz::Audit audit(words(allowed));
    try {
      actviz::load_audited(file, at::kCPU, audit, throwing(unpack, context));
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

namespace {

actviz_numbers lent(const std::vector<int64_t>& numbers) noexcept {
  return actviz_numbers{numbers.data(), numbers.size()};
}

}  // namespace

size_t actviz_value_count(const actviz_network* network) noexcept {
  return network->values.size();
}

actviz_value actviz_value_at(const actviz_network* network, size_t index) noexcept {
  const GraphValue& value = network->values[index];
  return actviz_value{
      value.id,
      value.operation.c_str(),
      lent(value.window[0]),
      lent(value.window[1]),
      lent(value.window[2]),
      lent(value.window[3]),
      lent(value.dimensions),
      lent(value.sources)};
}

actviz_numbers actviz_tap_values(const actviz_network* network) noexcept {
  return lent(network->taps);
}

int32_t actviz_is_refillable(const actviz_network* network) noexcept {
  return network->refill.is_possible() ? 1 : 0;
}

char* actviz_refill(actviz_network* network, actviz_unpack unpack, void* context) noexcept {
  return guarded([&] {
    at::NoGradGuard no_gradients;
    network->refill(throwing(unpack, context));
  });
}

int64_t actviz_input_channels(const actviz_network* network) noexcept {
  return network->input_channels;
}

int32_t actviz_is_data_dependent(const actviz_network* network) noexcept {
  return network->data_dependent ? 1 : 0;
}

int32_t actviz_mixes_images(const actviz_network* network) noexcept {
  return network->mixes_images ? 1 : 0;
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
    for_each_tensor(result, [&](const at::Tensor& tensor) {
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
