//! Which libtorch the engine loads: found, and its version checked, before it is loaded.
//!
//! A libtorch of another version does not fail in words: 2.12 crashes while it is loaded,
//! 2.15 lacks a symbol, and 2.14 happens to work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strum::Display;

use crate::error::Error;

/// The version that the engine is made for.
pub const VERSION: &str = "2.13";

/// Names a folder with libtorch in it.
const VARIABLE: &str = "ACTVIZ_LIBTORCH";
/// What is in each of them.
#[cfg(target_os = "macos")]
const LIBRARY: &str = "libtorch_cpu.dylib";
#[cfg(not(target_os = "macos"))]
const LIBRARY: &str = "libtorch_cpu.so";
/// The libtorch that this was built with, if it was built with one.
const BUILT_WITH: Option<&str> = option_env!("ACTVIZ_BUILT_WITH");

/// A libtorch that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libtorch {
    /// The folder with its libraries.
    pub folder: PathBuf,
    /// Its version, e.g. `2.13.0+cpu`.
    pub version: String,
    /// Why this one.
    pub origin: Origin,
}

/// Where a libtorch was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
pub enum Origin {
    /// In the folder that a variable names.
    #[strum(to_string = "ACTVIZ_LIBTORCH names it")]
    Named,
    /// Beside the engine.
    #[strum(to_string = "installed with actviz")]
    Installed,
    /// Where it was when actviz was built.
    #[strum(to_string = "actviz was built with it")]
    BuiltWith,
    /// In a Python environment.
    #[strum(to_string = "the PyTorch of the active Python environment")]
    Python,
}

impl Libtorch {
    /// Looks for libtorch: what `$ACTVIZ_LIBTORCH` names, else beside the engine, else where
    /// it was at the build, else in the active Python environment (`$VIRTUAL_ENV`,
    /// `$CONDA_PREFIX`, `python3`). The first one that is there is taken.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none, or the first one is of another version.
    pub fn find(engine: &Path) -> Result<Libtorch, Error> {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        if let Some(named) = named {
            let found = Libtorch::at(&named, Origin::Named).ok_or_else(|| {
                let what = format!("{VARIABLE}={}: there is no {LIBRARY}", named.display());
                Error::usage_hint(what, "let it name an unpacked libtorch or site-packages/torch")
            })?;
            return found.checked();
        }
        let beside = engine.parent().unwrap_or(Path::new("."));
        let found = Libtorch::at(&beside.join("libtorch"), Origin::Installed)
            .or_else(|| Libtorch::at(Path::new(BUILT_WITH?), Origin::BuiltWith))
            .or_else(|| Libtorch::at(&python()?, Origin::Python));
        found.ok_or_else(none)?.checked()
    }

    /// The libtorch in a folder, or in its `lib`.
    fn at(folder: &Path, origin: Origin) -> Option<Libtorch> {
        let folders = [folder.join("lib"), folder.to_owned()];
        let folder = folders.into_iter().find(|folder| folder.join(LIBRARY).is_file())?;
        let folder = folder.canonicalize().ok()?;
        let version = version_of(&folder).unwrap_or_else(|| "unknown".to_owned());
        Some(Libtorch { folder, version, origin })
    }

    fn checked(self) -> Result<Libtorch, Error> {
        let rest = self.version.strip_prefix(VERSION);
        if rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())) {
            return Ok(self);
        }
        Err(Error::usage_hint(
            format!(
                "the libtorch in {} is version {}, and actviz is made for {VERSION} ({})",
                self.folder.display(),
                self.version,
                self.origin
            ),
            format!("pip install 'torch=={VERSION}.*', or let {VARIABLE} name another one"),
        ))
    }
}

fn none() -> Error {
    Error::usage_hint(
        "no libtorch is here, which runs the networks",
        format!(
            "in a checkout: make libtorch; else: pip install 'torch=={VERSION}.*', or let \
             {VARIABLE} name an unpacked libtorch {VERSION}"
        ),
    )
}

/// libtorch's own archive says its version in a file beside `lib`, PyTorch's package in one
/// of Python.
fn version_of(lib: &Path) -> Option<String> {
    let root = lib.parent()?;
    if let Ok(text) = std::fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = std::fs::read_to_string(root.join("version.py")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(line.trim().trim_matches(['\'', '"']).to_owned())
}

/// The package `torch` of the active Python environment.
fn python() -> Option<PathBuf> {
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(std::env::var_os);
    for environment in environments {
        let versions = std::fs::read_dir(Path::new(&environment).join("lib")).ok();
        let packages = versions.into_iter().flatten().flatten().map(|version| version.path());
        let torch = packages.map(|version| version.join("site-packages/torch"));
        if let Some(torch) = torch.into_iter().find(|torch| torch.is_dir()) {
            return Some(torch);
        }
    }
    // Does not load PyTorch, and finds it also where a .pth file leads to it.
    let script = "import importlib.util as u; s = u.find_spec('torch'); \
                  print(s.submodule_search_locations[0] if s else '')";
    let command = Command::new("python3").args(["-c", script]).stderr(Stdio::null()).output();
    let output = command.ok().filter(|output| output.status.success())?;
    let path = String::from_utf8(output.stdout).ok()?;
    Some(path.trim()).filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(version_file: &str, text: &str) -> (tempfile::TempDir, Libtorch) {
        let place = tempfile::tempdir().expect("a folder");
        fs::create_dir(place.path().join("lib")).expect("lib");
        fs::write(place.path().join("lib").join(LIBRARY), b"").expect("a library");
        fs::write(place.path().join(version_file), text).expect("a version");
        let found = Libtorch::at(place.path(), Origin::Named).expect("found");
        (place, found)
    }

    #[test]
    fn versions_are_read_from_both_kinds_of_packages() {
        assert_eq!(folder("build-version", "2.13.0\n").1.version, "2.13.0");
        let python = "from typing import Optional\n__version__ = '2.13.1+cpu'\ndebug = False\n";
        assert_eq!(folder("version.py", python).1.version, "2.13.1+cpu");
        assert_eq!(folder("other", "").1.version, "unknown");
    }

    #[test]
    fn another_version_is_refused_before_it_is_loaded() {
        for version in ["2.12.0", "2.14.0", "2.130.0", "3.0", "unknown"] {
            let (_place, found) = folder("build-version", version);
            let error = found.checked().expect_err("refused");
            assert!(error.to_string().contains(&format!("is version {version}")), "{error}");
        }
        for version in ["2.13.0", "2.13.1+cu130", "2.13"] {
            folder("build-version", version).1.checked().expect("taken");
        }
    }
}
