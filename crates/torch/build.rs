//! Compiles the C++ side (`src/shim`) against the libtorch that torch-sys found, and tells
//! tests and programs of this package where that libtorch is. The table of operators is
//! handed to C++ as a header.

use std::fmt::{Debug, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The file itself and not the package: that would be compiled twice, with all that it uses.
#[path = "../core/src/operators.rs"]
#[allow(dead_code)]
mod operators;

const SHIM: &str = "src/shim";
const TABLE: &str = "../core/src/operators.rs";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={TABLE}");
    for variable in ["LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    for entry in fs::read_dir(SHIM).expect("the C++ side is there").flatten() {
        let file = entry.path();
        if file.extension().is_some_and(|ending| ending == "cpp" || ending == "h") {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
    let lib = PathBuf::from(
        env::var_os("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is"),
    );
    let lib = fs::canonicalize(&lib).unwrap_or(lib);
    compile(&lib);
    link(&lib);
}

/// The names of what stands in a column, each once.
fn names<T: Debug>(column: impl Iterator<Item = T>) -> Vec<String> {
    let mut names: Vec<String> = column.map(|cell| format!("{cell:?}")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// `operator_table.h`: one enumeration for each column, and the rows by name.
fn header() -> String {
    let rows = operators::TABLE;
    let enumeration =
        |name: &str, cells: Vec<String>| format!("enum class {name} {{ {} }};\n", cells.join(", "));
    let mut text = "// Made from operators.rs by build.rs.\n#pragma once\n\n#include <string>\n\
                    #include <unordered_map>\n\nnamespace actviz {\n\n"
        .to_owned();
    text += &enumeration("Class", names(rows.iter().map(|row| row.class)));
    text += &enumeration("Channels", names(rows.iter().map(|row| row.channels)));
    text += &enumeration("Field", names(rows.iter().map(|row| row.field)));
    text += &enumeration("Images", names(rows.iter().map(|row| row.images)));
    text += "\nstruct OperatorRow {\n  Class kind;\n  Channels channels;\n  Field field;\n  \
             Images images;\n  bool is_shaping;\n};\n\n\
             inline const std::unordered_map<std::string, OperatorRow>& operator_table() {\n  \
             static const std::unordered_map<std::string, OperatorRow> table{\n";
    for row in rows {
        let operators::Operator { name, class, channels, field, images, .. } = row;
        let _ = writeln!(
            text,
            "      {{\"{name}\", {{Class::{class:?}, Channels::{channels:?}, Field::{field:?}, \
             Images::{images:?}, {}}}}},",
            row.is_shaping()
        );
    }
    text + "  };\n  return table;\n}\n\n}  // namespace actviz\n"
}

fn compile(lib: &Path) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write"));
    fs::write(out.join("operator_table.h"), header()).expect("the header can be written");
    // Beside lib/ in libtorch's own archive and in PyTorch's package alike.
    let root = env::var_os("LIBTORCH_INCLUDE")
        .map(PathBuf::from)
        .or_else(|| lib.parent().map(Path::to_owned))
        .unwrap_or_default();
    let include = root.join("include");
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .include(SHIM)
        .include(&out)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .warnings(false)
        .files(["audit.cpp", "shim.cpp"].map(|file| Path::new(SHIM).join(file)))
        .compile("actviz_shim");
}

fn link(lib: &Path) {
    println!("cargo:rustc-link-search=native={}", lib.display());
    for library in ["torch_cpu", "torch", "c10"] {
        println!("cargo:rustc-link-lib={library}");
    }
    // torch-sys cannot pass an rpath on to other packages. `actviz` says by
    // LD_LIBRARY_PATH which libtorch is to be taken, and that comes first.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
}
