//! Notes which libtorch this is built with, by torch-sys's rules: the engine, which is built
//! beside this program, loads that one unless it is installed with one of its own.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for variable in ["LIBTORCH", "LIBTORCH_LIB", "LIBTORCH_USE_PYTORCH", "VIRTUAL_ENV"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    if let Some(folder) = libtorch() {
        println!("cargo:rustc-env=ACTVIZ_BUILT_WITH={}", folder.display());
    }
}

fn libtorch() -> Option<PathBuf> {
    if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let python = if env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
        let script = "import importlib.util as u; \
                      print(u.find_spec('torch').submodule_search_locations[0])";
        let output = Command::new(python).args(["-c", script]).output().ok()?;
        return Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()));
    }
    env::var_os("LIBTORCH_LIB").or_else(|| env::var_os("LIBTORCH")).map(PathBuf::from)
}
