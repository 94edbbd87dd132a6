//! Compiles the C++ side of `src/torch` against the libtorch that torch-sys found,
//! and tells our binaries where to find that libtorch when they run.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without the feature nothing here is needed, and cc is not even there.
    #[cfg(feature = "torch")]
    torch::build();
}

#[cfg(feature = "torch")]
mod torch {
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    /// Where `make install` puts libtorch, seen from the installed binary.
    const INSTALLED: &str = "../lib/actviz";

    pub fn build() {
        for variable in ["LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI"] {
            println!("cargo:rerun-if-env-changed={variable}");
        }
        for entry in fs::read_dir("src/torch").expect("the C++ side is there").flatten() {
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
            .include("src/torch")
            .include(&include)
            .include(include.join("torch/csrc/api/include"))
            .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
            .warnings(false)
            .file("src/torch/audit.cpp")
            .file("src/torch/shim.cpp")
            .compile("actviz_shim");
    }

    fn link(lib: &Path) {
        println!("cargo:rustc-link-search=native={}", lib.display());
        for library in ["torch_cpu", "torch", "c10"] {
            println!("cargo:rustc-link-lib={library}");
        }
        // torch-sys cannot pass an rpath on to binaries of other packages.
        let origin = match env::var("CARGO_CFG_TARGET_OS").as_deref() {
            Ok("windows") => return,
            Ok("macos") => "@loader_path",
            _ => "$ORIGIN",
        };
        // An installed binary takes the libtorch that was installed with it, even where
        // the build's is still there.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{origin}/{INSTALLED}");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
