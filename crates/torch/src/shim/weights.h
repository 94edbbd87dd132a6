// Weights and constants of another precision, layout or device.
#pragma once

#include "operators.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

namespace actviz {

using namespace torch::jit;

inline bool is_other_float(const at::Tensor& tensor, at::ScalarType than) {
  return tensor.defined() && at::isFloatingType(tensor.scalar_type()) &&
      tensor.scalar_type() != than;
}

// Casts every weight of another precision to `type`: attributes of the modules, and
// constants in the code, where freezing puts them. Returns whether there was any.
inline bool cast_weights(const Module& module, Graph& graph, at::ScalarType type) {
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
inline void lay_out_filters(const Module& module, Graph& graph, at::MemoryFormat format) {
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
inline void cast_dtypes(Graph& graph, at::ScalarType type) {
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
inline void move_constants(Graph& graph, const at::Device& device) {
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

}  // namespace actviz
