// Looks at what a TorchScript file would do before any of its code runs.
#pragma once

#include "shim.h"

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

namespace actviz {

// What was found of one operator.
struct Finding {
  size_t uses = 0;
  bool allowed = false;
  // Where it is used first, e.g. "code/__torch__.py:12".
  std::string place;
};

// The file uses an operator that is not on the list.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Collects the operators of functions and of all that they call.
class Audit {
 public:
  // `extra` holds the operators that the user lets through, e.g. "aten::save".
  explicit Audit(std::set<std::string> extra) : extra_(std::move(extra)) {}

  // Looks at a function, at everything it calls, and at what may be called without a call.
  // `all` holds the functions of the file that are known by now: those of the right name
  // stand in where a call goes to an interface. More are known whenever a class is read, so
  // this is called again before anything runs; what was looked at is not looked at again.
  void scan(torch::jit::Function& function, const torch::jit::CompilationUnit& all);

  // Looks at what would be evaluated while the code of a record is compiled (literals.h).
  void scan(const std::shared_ptr<torch::jit::Source>& source);

  // A class that is written in C++ (`torch.classes.NAMESPACE.NAME`).
  void note_class(const c10::Type& type, const std::string& place);

  // Throws a Refusal if anything was found that is not allowed.
  void check() const;

  const std::map<std::string, Finding>& findings() const {
    return findings_;
  }

 private:
  std::set<std::string> extra_;
  std::map<std::string, Finding> findings_;
  std::unordered_set<const torch::jit::Function*> seen_;
  // Methods of interfaces that are called: whatever is called so may be meant.
  std::unordered_set<std::string> called_by_name_;

  void scan_one(torch::jit::Function& function, const torch::jit::CompilationUnit& all);
  void scan(torch::jit::Block* block, const torch::jit::CompilationUnit& all);
  void scan_call(torch::jit::Node* call, const torch::jit::CompilationUnit& all);
  void note(const std::string& name, bool allowed, const std::string& place);
};

// Fills records in, all at once, or throws.
using Unpack = std::function<void(const std::vector<actviz_record>&)>;

// A record of weights, e.g. "data/0", its bytes, and their memory, if a tensor has it.
struct WeightRecord {
  std::string name;
  size_t size;
  c10::Storage storage;
};

struct Loaded {
  torch::jit::Module module;
  // Empty if objects restored themselves from what was saved, or on another device than
  // the processor.
  std::vector<WeightRecord> weights;
  // The tensors that the code names.
  std::vector<at::Tensor> constants;
};

// Loads an open TorchScript file as torch::jit::load does, but nothing of its code runs
// before it was scanned, and none that holds an operator that is not allowed. That
// takes a loader of its own: torch::jit::load calls a class's `__setstate__` while it
// reads the file.
Loaded load_audited(
    int file, at::Device device, Audit& audit, const Unpack& unpack);

}  // namespace actviz
