// What libtorch evaluates while it compiles the code of a file: default arguments, those of
// functions inside of others and of interfaces included, constants of classes, and of named
// tuples the types of fields with defaults. It makes a function of them and runs it at once,
// with all that it calls. So they must be literals; whether they are is seen from the text.
#pragma once

#include <torch/csrc/jit/frontend/lexer.h>
#include <torch/csrc/jit/frontend/parser.h>
#include <torch/csrc/jit/frontend/source_range.h>
#include <torch/csrc/jit/frontend/tree_views.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace actviz {

using namespace torch::jit;

// A value that is no literal, or one of our operators.
struct Computed {
  // E.g. "a computed default argument (size)", "actviz::tap".
  std::string name;
  SourceRange range;
};

// Finds them in the code of one record.
class Literals {
 public:
  // Throws what libtorch's own parser throws.
  static std::vector<Computed> broken_in(const std::shared_ptr<Source>& source) {
    Literals literals;
    for (const TreeRef& definition : definitions(source)) {
      literals.look_at(definition);
    }
    return std::move(literals.computed_);
  }

 private:
  std::vector<Computed> computed_;

  // As libtorch's importer reads a record.
  static std::vector<TreeRef> definitions(const std::shared_ptr<Source>& source) {
    Parser parser(source);
    Lexer& lexer = parser.lexer();
    std::vector<TreeRef> found;
    // Files of PyTorch before 1.6 begin with a version, and name other records.
    if (lexer.cur().kind == TK_IDENT && lexer.cur().text() == "op_version_set") {
      lexer.next();
      lexer.expect('=');
      lexer.expect(TK_NUMBER);
      lexer.expect(TK_NEWLINE);
    }
    while (lexer.cur().kind != TK_EOF) {
      if (lexer.nextIf(TK_IMPORT)) {
        while (lexer.cur().kind != TK_NEWLINE && lexer.cur().kind != TK_EOF) {
          lexer.next();
        }
        lexer.expect(TK_NEWLINE);
      } else if (lexer.cur().kind == TK_CLASS_DEF) {
        found.push_back(parser.parseClass());
      } else if (lexer.cur().kind == TK_DEF) {
        found.push_back(parser.parseFunction(/*is_method=*/false));
      } else {
        lexer.reportError("a class or a function was expected");
      }
    }
    return found;
  }

  // Looks at a tree and at all in it.
  void look_at(const TreeRef& root) {
    std::vector<TreeRef> open{root};
    while (!open.empty()) {
      const TreeRef tree = std::move(open.back());
      open.pop_back();
      if (tree->kind() == TK_PARAM) {
        const Param parameter(tree);
        expect_type(parameter.type());
        if (parameter.defaultValue().present()) {
          const Expr value = parameter.defaultValue().get();
          expect_literal("default argument", parameter.ident().name(), value);
        }
      } else if (tree->kind() == '.' && is_ours(Select(tree).value().tree())) {
        computed_.push_back({"actviz::" + Select(tree).selector().name(), tree->range()});
      } else if (tree->kind() == TK_DECL) {
        expect_type(Decl(tree).return_type());
      } else if (tree->kind() == TK_CLASS_DEF) {
        for (const Stmt& statement : ClassDef(tree).body()) {
          look_at_member(statement);
        }
      }
      for (const TreeRef& part : tree->trees()) {
        open.push_back(part);
      }
    }
  }

  // Our own operators, `ops.actviz`. Where nobody needs what one of them does, libtorch drops it
  // while it compiles, and it is seen in the text alone.
  static bool is_ours(const TreeRef& tree) {
    return tree->kind() == '.' && is_var(Select(tree).value().tree(), "ops") &&
        Select(tree).selector().name() == "actviz";
  }

  void look_at_member(const Stmt& statement) {
    if (statement.kind() != TK_ASSIGN) {
      return;
    }
    const Assign assign(statement.tree());
    expect_type(assign.type());
    // `__annotations__["0"] = T` says a type.
    if (assign.rhs().present() && assign.lhs().kind() != TK_SUBSCRIPT) {
      const std::string name =
          assign.lhs().kind() == TK_VAR ? Var(assign.lhs()).name().name() : "without a name";
      expect_literal("constant", name, assign.rhs().get());
    }
  }

  void expect_literal(const std::string& kind, const std::string& name, const Expr& value) {
    if (!is_literal(value.tree())) {
      computed_.push_back({"a computed " + kind + " (" + name + ")", value.range()});
    }
  }

  // libtorch 2.13 evaluates the types of a named tuple's fields, where those have defaults.
  void expect_type(const Maybe<Expr>& type) {
    if (type.present() && !is_type(type.get().tree())) {
      computed_.push_back({"a computed type", type.get().range()});
    }
  }

  // Names, and names with others in brackets.
  static bool is_type(const TreeRef& root) {
    std::vector<TreeRef> open{root};
    while (!open.empty()) {
      const TreeRef tree = std::move(open.back());
      open.pop_back();
      switch (tree->kind()) {
        case TK_NONE:
        case TK_NONE_TYPE:
        case TK_CONST:
        case TK_STRINGLITERAL:
          break;
        case TK_LIST:
        case TK_SUBSCRIPT:
        case TK_TUPLE_LITERAL:
        case TK_LIST_LITERAL:
        case '|':
          for (const TreeRef& part : tree->trees()) {
            open.push_back(part);
          }
          break;
        case '.':
          open.push_back(Select(tree).value().tree());
          break;
        case TK_VAR:
          // What is in brackets behind a constant may be its method's argument.
          if (is_var(tree, "CONSTANTS")) {
            return false;
          }
          break;
        default:
          return false;
      }
    }
    return true;
  }

  // The kinds of expressions that libtorch writes for values (IValue::repr), inside of each
  // other. What else there is may call something, so this is the whole list.
  static bool is_literal(const TreeRef& root) {
    std::vector<TreeRef> open{root};
    while (!open.empty()) {
      const TreeRef tree = std::move(open.back());
      open.pop_back();
      switch (tree->kind()) {
        case TK_CONST:
        case TK_STRINGLITERAL:
        case TK_NONE:
        case TK_TRUE:
        case TK_FALSE:
          break;
        case TK_LIST:
        case TK_LIST_LITERAL:
        case TK_TUPLE_LITERAL:
        case TK_DICT_LITERAL:
        case TK_UNARY_MINUS:
        case '+':  // 1.0+2.0j
        case '-':
          for (const TreeRef& part : tree->trees()) {
            open.push_back(part);
          }
          break;
        case TK_VAR:
          if (!is_number(Var(tree).name().name())) {
            return false;
          }
          break;
        case '.':
          if (!is_name(tree)) {
            return false;
          }
          break;
        case TK_APPLY: {
          const auto value = value_of(Apply(tree));
          if (!value) {
            return false;
          }
          open.push_back(value);
          break;
        }
        default:
          return false;
      }
    }
    return true;
  }

  static bool is_number(const std::string& name) {
    return name == "inf" || name == "nan" || name == "infj" || name == "nanj";
  }

  static bool is_var(const TreeRef& tree, const char* name) {
    return tree->kind() == TK_VAR && Var(tree).name().name() == name;
  }

  // `CONSTANTS.c0`, a record of the file; `__torch__.Colour.RED`, a value of an enumeration.
  static bool is_name(TreeRef tree) {
    if (is_var(Select(tree).value().tree(), "CONSTANTS")) {
      return true;
    }
    while (tree->kind() == '.') {
      tree = Select(tree).value().tree();
    }
    return is_var(tree, "__torch__");
  }

  // What is left to look at of `annotate(List[int], [])` and of `torch.device("cpu")`, null for
  // any other call. A type is read and not evaluated.
  static TreeRef value_of(const Apply& call) {
    const auto inputs = call.inputs();
    const TreeRef callee = call.callee().tree();
    if (call.attributes().size() != 0) {
      return {};
    }
    if (is_var(callee, "annotate") && inputs.size() == 2) {
      return inputs[1].tree();
    }
    const bool is_device = callee->kind() == '.' &&
        is_var(Select(callee).value().tree(), "torch") &&
        Select(callee).selector().name() == "device";
    return is_device && inputs.size() == 1 && inputs[0].kind() == TK_STRINGLITERAL
        ? inputs[0].tree()
        : TreeRef();
  }
};

}  // namespace actviz
