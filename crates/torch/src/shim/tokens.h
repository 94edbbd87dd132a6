// Which tensors are sequences of tokens, and of which map: a vision transformer flattens what
// its patch convolution gives, and puts a few tokens of its own before or after.
#pragma once

#include "operators.h"
#include "reader.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace actviz {

using namespace torch::jit;

struct Tokens {
  enum State {
    unknown,
    // It does not depend on the input.
    constant,
    // Its rows are no places of the image: queries, or mixtures of all tokens.
    never,
    // They are those of a map, in its order.
    grid,
  };
  State state = unknown;
  // What flattens the map: its first input.
  Node* source = nullptr;
  // The dimension of three that counts the tokens.
  int64_t axis = 0;
  // Whether there are other tokens before and after them.
  bool before = false;
  bool after = false;

  bool is_same(const Tokens& other) const {
    return state == other.state && source == other.source && axis == other.axis;
  }
};

// Reads it from the graph. Code that forks stays unknown.
class TokenReader {
 public:
  explicit TokenReader(const Reader& reader) : reader_(reader) {}

  Tokens of(Value* value) {
    if (!reader_.depends_on_input(value)) {
      return with(Tokens::constant);
    }
    const auto known = known_.find(value);
    if (known != known_.end()) {
      return known->second;
    }
    // For the time being: a loop's values depend on themselves.
    known_[value] = {};
    return known_[value] = found(value);
  }

 private:
  const Reader& reader_;
  std::unordered_map<Value*, Tokens> known_;

  static Tokens with(Tokens::State state) {
    Tokens tokens;
    tokens.state = state;
    return tokens;
  }

  static bool is_one_of(const std::string& name, std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&](const char* one) { return name == one; });
  }

  static std::optional<std::vector<int64_t>> numbers(Node* node, size_t at) {
    const auto value = at < node->inputs().size() ? toIValue(node->input(at)) : std::nullopt;
    if (value && value->isInt()) {
      return std::vector<int64_t>{value->toInt()};
    }
    return value && value->isIntList() ? std::optional(value->toIntVector()) : std::nullopt;
  }

  // A dimension of three, from 0.
  static std::optional<int64_t> dimension(Node* node, size_t at) {
    const auto given = numbers(node, at);
    if (!given || given->size() != 1 || given->front() < -3 || given->front() > 2) {
      return std::nullopt;
    }
    return (given->front() + 3) % 3;
  }

  // What is true of several values that become one: the tokens of those that have any.
  Tokens merged(const std::vector<Value*>& values) {
    std::optional<Tokens> grid;
    bool any_unknown = false, any_never = false;
    // A branch counts as dependent if another result of it is.
    bool all_constant = !values.empty();
    for (Value* value : values) {
      const Tokens one = of(value);
      any_unknown = any_unknown || one.state == Tokens::unknown;
      any_never = any_never || one.state == Tokens::never;
      all_constant = all_constant && one.state == Tokens::constant;
      if (one.state == Tokens::grid) {
        if (grid && !grid->is_same(one)) {
          return {};
        }
        const Tokens first = grid.value_or(one);
        grid = one;
        grid->before = first.before || one.before;
        grid->after = first.after || one.after;
      }
    }
    if (grid) {
      return *grid;
    }
    if (all_constant) {
      return with(Tokens::constant);
    }
    return any_never && !any_unknown ? with(Tokens::never) : Tokens();
  }

  Tokens found(Value* value) {
    Node* node = value->node();
    if (node->kind() == prim::If) {
      std::vector<Value*> results;
      for (Block* block : node->blocks()) {
        results.push_back(block->outputs().at(value->offset()));
      }
      return merged(results);
    }
    if (node->kind() == prim::Loop) {
      return of(node->input(2 + value->offset()));
    }
    if (node->kind() == prim::Param) {
      Node* around = node->owningBlock()->owningNode();
      const size_t at = value->offset() + 1;
      const bool is_carried = around && around->kind() == prim::Loop && at >= 2 &&
          at < around->inputs().size();
      return is_carried ? of(around->input(at)) : Tokens();
    }
    const auto* row = row_of(node);
    if (row && (row->field == Field::Holds || row->field == Field::Reads)) {
      return merged({node->inputs().begin(), node->inputs().end()});
    }
    if (node->inputs().empty()) {
      return {};
    }
    if (node->kind() == prim::ConstantChunk) {
      return along((node->i(attr::dim) + 3) % 3, of(node->input(0)));
    }
    return node->kind().is_aten() ? after(node, row) : Tokens();
  }

  // What an operator of libtorch makes of it.
  Tokens after(Node* node, const OperatorRow* row) {
    const std::string name = name_of(node);
    if (name == "cat") {
      return joined(node);
    }
    if (is_one_of(name, {"scaled_dot_product_attention", "_native_multi_head_attention", "matmul",
                         "bmm"})) {
      return product(node, name == "matmul");
    }
    if (name == "baddbmm") {
      return of_rows(of(node->input(1)));
    }
    Tokens from = of(node->input(0));
    if (from.state != Tokens::grid) {
      const auto map = flattened(node, name);
      if (map) {
        return *map;
      }
    }
    if (row && (row->field == Field::Pointwise || row->field == Field::Copies) &&
        row->channels != Channels::Moved && row->kind != Class::Normalisation) {
      return merged({node->inputs().begin(), node->inputs().end()});
    }
    if (from.state == Tokens::never || from.state == Tokens::constant) {
      return from;
    }
    if (from.state != Tokens::grid) {
      return {};
    }
    if (name == "linear") {
      return from.axis == 2 ? with(Tokens::never) : from;
    }
    if (is_one_of(name, {"conv1d", "_convolution", "convolution"})) {
      return from.axis == 1 ? with(Tokens::never) : from;
    }
    if (is_one_of(name, {"transpose", "swapaxes", "swapdims"})) {
      const auto one = dimension(node, 1), other = dimension(node, 2);
      if (!one || !other) {
        return {};
      }
      from.axis = from.axis == *one ? *other : from.axis == *other ? *one : from.axis;
      return from;
    }
    if (name == "permute") {
      const auto order = numbers(node, 1);
      if (!order || order->size() != 3) {
        return {};
      }
      for (size_t i = 0; i < 3; ++i) {
        if (((*order)[i] + 3) % 3 == from.axis) {
          from.axis = static_cast<int64_t>(i);
          return from;
        }
      }
      return {};
    }
    if (name == "slice") {
      return cut(node, from);
    }
    if (is_one_of(name, {"layer_norm", "batch_norm", "expand"})) {
      return from;
    }
    if (row && (row->field == Field::Mixes || row->field == Field::Joins)) {
      const auto at = position(node, "dim");
      const auto dim = at && !drops_dimensions(node) ? dimension(node, *at) : std::nullopt;
      return dim ? along(*dim, from) : Tokens();
    }
    return {};
  }

  // What works along a dimension leaves the tokens alone if that is another one.
  static Tokens along(int64_t dimension, const Tokens& from) {
    const bool is_lost = from.state == Tokens::grid && from.axis == dimension;
    return is_lost ? Tokens() : from;
  }

  // The rows of a product are those of what stands first.
  Tokens product(Node* node, bool may_be_linear) {
    const Tokens rows = of(node->input(0));
    const bool by_weights = node->inputs().size() > 1 && !reader_.depends_on_input(node->input(1));
    if (may_be_linear && by_weights && rows.state == Tokens::grid) {
      return rows.axis == 2 ? with(Tokens::never) : rows;
    }
    return of_rows(rows);
  }

  static Tokens of_rows(const Tokens& rows) {
    const bool is_none = rows.state == Tokens::constant || rows.state == Tokens::never;
    return is_none ? with(Tokens::never) : Tokens();
  }

  // A map that becomes a sequence: (N, C, H, W) to (N, C, T). While the network runs, it is seen
  // whether the map has four dimensions.
  std::optional<Tokens> flattened(Node* node, const std::string& name) {
    const bool is_flatten = name == "flatten";
    if (!is_flatten && !is_one_of(name, {"reshape", "view"})) {
      return std::nullopt;
    }
    if (is_flatten) {
      const auto start = numbers(node, 1), end = numbers(node, 2);
      if (start != std::vector<int64_t>{2} ||
          !(end == std::vector<int64_t>{-1} || end == std::vector<int64_t>{3})) {
        return std::nullopt;
      }
    } else {
      Node* sizes = node->input(1)->node();
      const auto given = numbers(node, 1);
      const size_t count = given ? given->size()
          : sizes->kind() == prim::ListConstruct ? sizes->inputs().size() : 0;
      if (count != 3) {
        return std::nullopt;
      }
    }
    if (reader_.order(node->input(0)) != 1) {
      return std::nullopt;
    }
    Tokens tokens = with(Tokens::grid);
    tokens.source = node;
    tokens.axis = 2;
    return tokens;
  }

  // Tokens beside each other.
  Tokens joined(Node* node) {
    Node* list = node->input(0)->node();
    const auto dim = dimension(node, 1);
    if (list->kind() != prim::ListConstruct || !dim) {
      return {};
    }
    const std::vector<Value*> parts(list->inputs().begin(), list->inputs().end());
    Tokens all;
    for (size_t i = 0; i < parts.size(); ++i) {
      const Tokens part = of(parts[i]);
      if (part.state != Tokens::grid) {
        continue;
      }
      if (part.axis != *dim) {
        return merged(parts);
      }
      if (all.state == Tokens::grid) {
        // Two maps in one sequence.
        return {};
      }
      all = part;
      all.before = part.before || i > 0;
      all.after = part.after || i + 1 < parts.size();
    }
    return all.state == Tokens::grid ? all : merged(parts);
  }

  // Without the first tokens, if they are others.
  static Tokens cut(Node* node, const Tokens& from) {
    const auto dim = dimension(node, 1);
    if (!dim || *dim != from.axis) {
      return dim ? from : Tokens();
    }
    const auto start = toIValue(node->input(2)), end = toIValue(node->input(3));
    const auto step = numbers(node, 4);
    const bool is_to_the_end = end &&
        (end->isNone() || (end->isInt() && end->toInt() == std::numeric_limits<int64_t>::max()));
    const bool is_whole = start && (start->isNone() || (start->isInt() && start->toInt() == 0));
    const bool is_others = start && start->isInt() && start->toInt() > 0 && from.before;
    const bool is_known = is_to_the_end && step == std::vector<int64_t>{1};
    return is_known && (is_whole || is_others) ? from : Tokens();
  }
};

}  // namespace actviz
