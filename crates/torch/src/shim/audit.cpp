#include "audit.h"

#include "file_reader.h"
#include "literals.h"
#include "values.h"

#include <ATen/SparseCsrTensorUtils.h>
#include <ATen/ops/_validate_sparse_compressed_tensor_args.h>
#include <ATen/ops/_validate_sparse_coo_tensor_args.h>
#include <c10/core/Allocator.h>
#include <c10/core/alignment.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/operator_upgraders/upgraders_entry.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import_read.h>
#include <torch/csrc/jit/serialization/import_source.h>
#include <torch/csrc/jit/serialization/unpickler.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

namespace actviz {
namespace {

using namespace torch::jit;

// ---------------------------------------------------------------- the list

// Namespaces that hold arithmetic alone.
const std::unordered_set<std::string>& harmless_namespaces() {
  static const std::unordered_set<std::string> names{
      "quantized", "_quantized", "mkldnn_prepacked", "prepacked", "torchvision"};
  return names;
}

// In aten, the public operators are arithmetic, apart from these: the first two reach
// files; the others reach below a tensor, to its memory, or (hash) tell where it is.
const std::unordered_set<std::string>& harmful_aten() {
  static const std::unordered_set<std::string> names{
      "save", "from_file", "set_", "set_data", "record_stream", "hash"};
  return names;
}

// Operators whose names begin with an underscore are libtorch's own and may trust
// their arguments. These are the ones that tracing and scripting put into files.
const std::unordered_set<std::string>& harmless_private_aten() {
  static const std::unordered_set<std::string> names{
      "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_assert_async", "_assert_scalar",
      "_assert_tensor_metadata", "_batch_norm_impl_index", "_cast_Byte", "_cast_Char",
      "_cast_Double", "_cast_Float", "_cast_Half", "_cast_Int", "_cast_Long", "_cast_Short",
      "_cdist_forward", "_conj", "_convolution", "_convolution_mode", "_dim_arange",
      "_embedding_bag", "_fft_c2c", "_fft_c2r", "_fft_r2c", "_get_tracing_state",
      "_grad_sum_to_size", "_infer_size", "_int_mm", "_is_all_true", "_is_any_true",
      "_list_to_tensor", "_local_scalar_dense", "_log_softmax", "_lu_with_info",
      "_native_batch_norm_legit", "_native_batch_norm_legit_functional",
      "_native_batch_norm_legit_no_training", "_native_multi_head_attention",
      "_nested_tensor_from_mask", "_nested_tensor_from_mask_left_aligned", "_no_grad_fill_",
      "_no_grad_normal_", "_no_grad_uniform_", "_no_grad_zero_",
      "_pack_padded_sequence", "_pad_circular", "_pad_enum", "_pad_packed_sequence",
      "_pdist_forward", "_prelu_kernel", "_reshape_from_tensor",
      "_safe_softmax", "_sample_dirichlet", "_scaled_dot_product_attention_math",
      "_scaled_dot_product_flash_attention_for_cpu", "_set_item", "_shape_as_tensor",
      "_size_if_not_equal", "_softmax", "_stack", "_standard_gamma", "_tensor_to_list", "_to_copy",
      "_transformer_encoder_layer_fwd", "_unique", "_unique2", "_unsafe_view", "_unwrap_optional",
      "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_lanczos2d_aa",
      "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
      "_weight_norm", "_weight_norm_interface"};
  return names;
}

// The language itself: values, control flow, calls (which are followed). `id` is not among
// them: it tells the address of an object.
const std::unordered_set<std::string>& harmless_prim() {
  static const std::unordered_set<std::string> names{
      "AutogradAnyNonZero", "AutogradZero", "CallFunction", "CallMethod", "Closure", "Constant",
      "ConstantChunk", "CreateObject", "DictConstruct", "Enter", "EnumName", "EnumValue", "Exit",
      "Function", "GetAttr", "HasAttr", "If", "ImplicitTensorToNum", "ListConstruct",
      "ListUnpack", "Load", "Loop", "ModuleContainerIndex", "NumToTensor", "Param", "Print",
      "RaiseException", "Return", "SetAttr", "Store", "StringIndex", "TupleConstruct",
      "TupleIndex", "TupleSlice", "TupleUnpack", "Uninitialized", "abs", "awaitable",
      "awaitable_nowait", "awaitable_wait", "data", "device", "dtype", "fork", "grad",
      "index", "is_cpu", "is_cuda", "is_ipu", "is_maia", "is_meta", "is_mkldnn", "is_mps",
      "is_mtia", "is_nested", "is_quantized", "is_sparse", "is_sparse_csr", "is_vulkan",
      "is_xla", "is_xpu", "isinstance", "itemsize", "layout", "max", "min", "name", "nbytes",
      "rangelist", "requires_grad", "shape", "tolist", "type", "unchecked_cast",
      "unchecked_unwrap_optional", "unpack"};
  return names;
}

// Marks for the profiler around the code of a traced DataParallel: a name goes in, and an object
// of a class in C++ comes out that has no methods. The older `_record_function_enter` gives
// that object as the bytes of a tensor, which code could write to, so it is not among them;
// `_record_function_exit` takes such a tensor from nobody else.
const std::unordered_set<std::string>& harmless_profiler() {
  static const std::unordered_set<std::string> names{
      "_record_function_enter_new", "_record_function_exit"};
  return names;
}

bool is_harmless(const Node* node) {
  const std::string space = node->kind().ns().toUnqualString();
  const std::string name = node->kind().toUnqualString();
  if (space == "prim") {
    return harmless_prim().count(name) != 0;
  }
  if (space == "aten") {
    const bool is_private = name.size() > 1 && name[0] == '_' && name[1] != '_';
    return is_private ? harmless_private_aten().count(name) != 0
                      : harmful_aten().count(name) == 0;
  }
  if (space == "profiler") {
    return harmless_profiler().count(name) != 0;
  }
  return harmless_namespaces().count(space) != 0;
}

const char cpp_classes[] = "__torch__.torch.classes.";

bool is_harmless_class(const std::string& name) {
  for (const char* space : {"quantized.", "xnnpack.", "mkldnn.", "profiler._RecordFunction"}) {
    if (name.rfind(std::string(cpp_classes) + space, 0) == 0) {
      return true;
    }
  }
  return false;
}

std::string place_of(const SourceRange& range) {
  if (auto place = range.file_line_col()) {
    return std::get<0>(*place) + ":" + std::to_string(std::get<1>(*place));
  }
  return "its code";
}

// What libtorch may call without a call in the code: __getstate__ to copy an object, __lt__ to
// sort, __enter__ and __exit__ around a block.
bool is_magic(const std::string& name) {
  return name.size() > 4 && name.rfind("__", 0) == 0 && name.substr(name.size() - 2) == "__";
}

}  // namespace

// ---------------------------------------------------------------- the audit

void Audit::note(const std::string& name, bool allowed, const std::string& place) {
  Finding& finding = findings_[name];
  if (finding.uses++ == 0) {
    // Our own operators are for us alone, whatever the user lets through, and what libtorch
    // evaluates while it compiles would run under --audit, too.
    const bool is_final = name.rfind("actviz::", 0) == 0 || name.rfind("a computed ", 0) == 0;
    finding.allowed = allowed || (!is_final && extra_.count(name) != 0);
    finding.place = place;
  }
}

void Audit::note_class(const c10::Type& type, const std::string& place) {
  const auto* named = type.castRaw<c10::ClassType>();
  if (named && named->name()) {
    const std::string name = named->name()->qualifiedName();
    if (name.rfind(cpp_classes, 0) == 0) {
      note(name.substr(std::string("__torch__.").size()), is_harmless_class(name), place);
    }
  }
}

void Audit::scan(Function& function, const CompilationUnit& all) {
  scan_one(function, all);
  // Each may call more of them.
  for (size_t seen = 0; seen != seen_.size();) {
    seen = seen_.size();
    for (Function* candidate : all.get_functions()) {
      if (is_magic(candidate->name()) || called_by_name_.count(candidate->name()) != 0) {
        scan_one(*candidate, all);
      }
    }
  }
}

void Audit::scan_one(Function& function, const CompilationUnit& all) {
  if (!seen_.insert(&function).second) {
    return;
  }
  if (auto* graph_function = tryToGraphFunction(function)) {
    scan(graph_function->graph()->block(), all);
  }
  // What is no graph is a method of a class in C++, which the class answers for.
}

void Audit::scan(Block* block, const CompilationUnit& all) {
  for (Node* node : block->nodes()) {
    note(node->kind().toQualString(), is_harmless(node), place_of(node->sourceRange()));
    for (Value* output : node->outputs()) {
      note_class(*output->type(), place_of(node->sourceRange()));
    }
    if (node->kind() == prim::CallMethod || node->kind() == prim::CallFunction) {
      scan_call(node, all);
    }
    for (Block* inner : node->blocks()) {
      scan(inner, all);
    }
    if (node->hasAttribute(attr::Subgraph)) {
      scan(node->g(attr::Subgraph)->block(), all);
    }
  }
}

void Audit::scan_call(Node* call, const CompilationUnit& all) {
  if (call->kind() == prim::CallFunction) {
    if (auto* function = tryToGraphFunction(call)) {
      scan_one(*function, all);
    } else {
      note("a function that is not in the file", false, place_of(call->sourceRange()));
    }
    return;
  }
  const auto& name = call->s(attr::name);
  if (auto type = call->input(0)->type()->cast<c10::ClassType>()) {
    note_class(*type, place_of(call->sourceRange()));
    scan_one(type->getMethod(name), all);
    return;
  }
  called_by_name_.insert(name);
}

void Audit::scan(const std::shared_ptr<Source>& source) {
  for (const Computed& computed : Literals::broken_in(source)) {
    note(computed.name, false, place_of(computed.range));
  }
}

void Audit::check() const {
  std::string refused;
  for (const auto& [name, finding] : findings_) {
    if (!finding.allowed) {
      refused += name + "\t" + finding.place + "\n";
    }
  }
  if (!refused.empty()) {
    throw Refusal(refused);
  }
}

// ---------------------------------------------------------------- the loader

namespace {

// Memory for a tensor, all zero: Rust may not be given what nobody has written to. The system
// gives memory that is new to the process out as zeros, and calloc knows, so that only memory
// that was used before is written to twice. Aligned as libtorch's own.
at::DataPtr zeros(size_t size) {
  TORCH_CHECK(size <= SIZE_MAX - c10::gAlignment, "out of memory: no tensor has ", size, " bytes");
  void* base = std::calloc(size + c10::gAlignment, 1);
  TORCH_CHECK(base != nullptr, "out of memory: you tried to allocate ", size, " bytes");
  const auto address = reinterpret_cast<uintptr_t>(base);
  const size_t gap = (c10::gAlignment - address % c10::gAlignment) % c10::gAlignment;
  return {static_cast<char*>(base) + gap, base, &std::free, c10::Device(c10::kCPU)};
}

class Loader {
 public:
  Loader(int file, at::Device device, Audit& audit, const Unpack& unpack)
      : reader_(std::make_shared<FileReader>(file)),
        device_(device),
        audit_(audit),
        unpack_(unpack),
        unit_(std::make_shared<CompilationUnit>()),
        importer_(
            unit_,
            &constants_,
            [this](const std::string& qualifier) { return source(qualifier); },
            reader_.version()) {}

  Loaded load() {
    populate_upgraders_graph_map();
    read_sources();
    const IValue constants = read("constants");
    TORCH_CHECK(constants.isTuple(), "constants.pkl holds no tuple");
    constants_ = constants.toTupleRef().elements().vec();
    const IValue data = read("data");
    TORCH_CHECK(data.isObject(), "data.pkl holds no module");
    TORCH_CHECK(data.toObjectRef().type()->is_module(), "data.pkl holds no module");
    Module module(data.toObject());
    auto forward = module.find_method("forward");
    TORCH_CHECK(forward, "the network has no forward()");
    audit_.scan(forward->function(), *unit_);
    audit_.check();
    return Loaded{std::move(module), weights(), code_tensors()};
  }

 private:
  caffe2::serialize::PyTorchStreamReader reader_;
  at::Device device_;
  Audit& audit_;
  const Unpack& unpack_;
  std::shared_ptr<CompilationUnit> unit_;
  std::vector<IValue> constants_;
  // The records of tensors, by where their bytes were put.
  std::unordered_map<const void*, WeightRecord> records_;
  bool restores_itself_ = false;
  // The code, by the names of its records.
  std::unordered_map<std::string, std::shared_ptr<Source>> sources_;
  SourceImporter importer_;

  // All code is looked at before libtorch compiles any: that evaluates parts of it.
  void read_sources() {
    for (const std::string& name : reader_.getAllRecords()) {
      if (name.rfind("code/", 0) == 0 && name.size() > 3 && name.substr(name.size() - 3) == ".py") {
        const auto [data, size] = reader_.getRecord(name);
        const std::string text(static_cast<const char*>(data.get()), size);
        audit_.scan(sources_[name] = std::make_shared<Source>(text, name, 1));
      }
    }
    audit_.check();
  }

  std::shared_ptr<Source> source(const std::string& qualifier) {
    std::string path = "code/" + qualifier;
    std::replace(path.begin(), path.end(), '.', '/');
    path += ".py";
    const auto found = sources_.find(path);
    return found == sources_.end() ? nullptr : found->second;
  }

  // What readArchiveAndTensors of libtorch does, but the tensors' bytes are unpacked all at
  // once: libtorch does so one after the other, which takes longer than all the rest.
  IValue read(const std::string& archive) {
    // The pickle comes from Rust, too, which has compared with the records what it says of
    // tensors (pickle.rs): nobody else may find another one of that name.
    const std::string name = archive + ".pkl";
    std::vector<char> pickle(reader_.getRecordSize(name));
    unpack_({{name.c_str(), pickle.data(), pickle.size()}});
    const char* next = pickle.data();
    const char* end = next + pickle.size();
    auto bytes = tensors(archive + "/");
    Unpickler unpickler(
        [&next, end](char* to, size_t wanted) -> size_t {
          const size_t given = std::min(wanted, static_cast<size_t>(end - next));
          std::memcpy(to, next, given);
          next += given;
          return given;
        },
        [this](const c10::QualifiedName& name) {
          TypePtr type = importer_.loadType(name);
          TORCH_CHECK(type, "the type ", name.qualifiedName(), " is not in the file");
          audit_.note_class(*type, "its data");
          audit_.check();
          return c10::StrongTypePtr(unit_, std::move(type));
        },
        [this](const at::StrongTypePtr& type, IValue state) { return object(type, state); },
        [&](const std::string& name) {
          auto found = bytes.find(archive + "/" + name);
          // Two tensors may have the same bytes; each gets its own.
          if (found != bytes.end() && found->second) {
            return std::move(found->second);
          }
          const std::string record = archive + "/" + name;
          const size_t size = reader_.getRecordSize(record);
          at::DataPtr again = zeros(size);
          unpack_({{record.c_str(), again.get(), size}});
          records_[again.get()] = {record, size, {}};
          return again;
        },
        device_);
    unpickler.set_version(reader_.version());
    IValue value = unpickler.parse_ivalue();
    check_sizes(value);
    return value;
  }

  // A pickle says itself how many elements a tensor's memory has, and libtorch believes it:
  // more than the record holds would be the memory of others.
  void check_sizes(const IValue& value) {
    if (!device_.is_cpu()) {
      return;
    }
    for_each_tensor(value, [&](const at::Tensor& tensor) {
      if (tensor.is_sparse()) {
        // Its indices may say that it has values outside of itself.
        at::_validate_sparse_coo_tensor_args(
            tensor._indices(), tensor._values(), tensor.sizes(), tensor.is_coalesced());
      } else if (at::sparse_csr::is_sparse_compressed(tensor)) {
        const auto [compressed, plain] = at::sparse_csr::getCompressedPlainIndices(tensor);
        at::_validate_sparse_compressed_tensor_args(
            compressed, plain, tensor.values(), tensor.sizes(), tensor.layout());
      }
      if (!tensor.has_storage()) {
        return;
      }
      const at::Storage storage = tensor.storage();
      const auto record = records_.find(storage.data());
      if (storage.nbytes() > 0 && record != records_.end()) {
        TORCH_CHECK(
            storage.nbytes() <= record->second.size,
            "a tensor claims ", storage.nbytes(), " bytes, and its record holds ",
            record->second.size);
        record->second.storage = storage;
      }
    });
  }

  std::vector<WeightRecord> weights() const {
    std::vector<WeightRecord> weights;
    for (const auto& [place, record] : records_) {
      if (record.name.rfind("data/", 0) == 0) {
        weights.push_back(record);
      }
    }
    return restores_itself_ || !device_.is_cpu() ? std::vector<WeightRecord>() : weights;
  }

  std::vector<at::Tensor> code_tensors() const {
    std::vector<at::Tensor> tensors;
    for (const IValue& constant : constants_) {
      if (constant.isTensor() && constant.toTensor().has_storage()) {
        tensors.push_back(constant.toTensor());
      }
    }
    return tensors;
  }

  // The bytes of all records whose names begin so.
  std::unordered_map<std::string, at::DataPtr> tensors(const std::string& prefix) {
    std::unordered_map<std::string, at::DataPtr> bytes;
    std::vector<actviz_record> records;
    for (const std::string& name : reader_.getAllRecords()) {
      const size_t size = name.rfind(prefix, 0) == 0 ? reader_.getRecordSize(name) : 0;
      if (size > 0) {
        auto place = bytes.emplace(name, zeros(size)).first;
        records.push_back({place->first.c_str(), place->second.get(), size});
        records_[place->second.get()] = {name, size, {}};
      }
    }
    if (!records.empty()) {
      unpack_(records);
    }
    return bytes;
  }

  c10::intrusive_ptr<c10::ivalue::Object> object(const at::StrongTypePtr& type, IValue state) {
    check_sizes(state);
    auto shape = type.type_->expect<c10::ClassType>();
    auto object = c10::ivalue::Object::create(type, shape->numAttributes());
    Function* set_state = shape->findMethod("__setstate__");
    if (!set_state || !shape->findMethod("__getstate__")) {
      TORCH_CHECK(state.isGenericDict(), "an object of data.pkl has no attributes");
      const auto attributes = state.toGenericDict();
      for (size_t i = 0; i < shape->numAttributes(); ++i) {
        object->setSlot(i, attributes.at(shape->getAttributeName(i)));
      }
      return object;
    }
    restores_itself_ = true;
    // Classes may have been read since it was looked at, for another object.
    audit_.scan(*set_state, *unit_);
    audit_.check();
    const auto& arguments = set_state->getSchema().arguments();
    TORCH_CHECK(arguments.size() == 2, "__setstate__ takes one state");
    // Not optimised: the class is not initialised yet, so nothing may be specialised
    // for what it holds.
    GraphOptimizerEnabledGuard plain(false);
    (*set_state)({object, std::move(state)});
    for (size_t i = 0; i < shape->numAttributes(); ++i) {
      const bool may_be_none = c10::NoneType::get()->isSubtypeOf(*shape->getAttribute(i)) ||
          shape->getAttribute(i)->kind() == TypeKind::AnyType;
      TORCH_CHECK(
          may_be_none || !object->getSlot(i).isNone(),
          "__setstate__ leaves the attribute ", shape->getAttributeName(i), " without a value");
    }
    return object;
  }
};

}  // namespace

Loaded load_audited(
    int file, at::Device device, Audit& audit, const Unpack& unpack) {
  if (!device.is_cpu()) {
    // Sizes are compared before anything is copied to the device.
    Loader(file, at::kCPU, audit, unpack).load();
  }
  return Loader(file, device, audit, unpack).load();
}

}  // namespace actviz
