//! Compiles the C++ side (`src/shim`) against the libtorch that torch-sys found, and tells
//! tests and programs of this package where that libtorch is.

use std::path::{Path, PathBuf};
use std::{env, fs};

const SHIM: &str = "src/shim";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
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

fn compile(lib: &Path) {
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
