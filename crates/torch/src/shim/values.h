// The tensors in a value of TorchScript, whatever holds them.
#pragma once

#include <ATen/core/ivalue.h>

#include <functional>
#include <unordered_set>

namespace actviz {

// Calls `give` with each tensor in lists, tuples, dicts and objects, those inside of each
// other included, in order. What is packed into an object of C++ stays unseen.
inline void for_each_tensor(
    const c10::IValue& value, const std::function<void(const at::Tensor&)>& give) {
  std::unordered_set<const void*> seen;
  value.visit([&](const c10::IValue& part) {
    if (part.isTensor()) {
      give(part.toTensor());
      return true;
    }
    // An object may hold itself.
    return part.isObject() && !seen.insert(part.internalToPointer()).second;
  });
}

}  // namespace actviz
