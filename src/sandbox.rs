//! What this process may touch from here on: what the plan names, and nothing else.
//!
//! A TorchScript file is a program, and libtorch was not made to run programs of
//! strangers. So before libtorch is asked for anything, the kernel (Landlock, Linux)
//! takes away from this process what the plan does not need: all files but the
//! networks, the images and the libraries, all writing but into the output folder, all
//! programs but actviz itself, and the network. A thread inherits that from the one that starts it, so it
//! must be done while there is only one.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// What the sandbox lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files and folders to read.
    pub read: Vec<PathBuf>,
    /// A folder to write into; it is made if it is not there.
    pub write: Option<PathBuf>,
    /// Programs to start. They inherit the sandbox.
    pub run: Vec<PathBuf>,
    /// Whether the terminal is asked what it can show.
    pub terminal: bool,
}

/// How far the kernel holds the process to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum State {
    /// All that this version of Landlock can do, and actviz asks for.
    #[strum(to_string = "on")]
    On,
    /// Files are held back; an older kernel lets something else through.
    #[strum(to_string = "on, as far as this kernel goes")]
    Partly,
    /// The kernel has no Landlock, or the system is not Linux.
    #[strum(to_string = "not there: this system has no Landlock")]
    Missing,
}

/// The folders that were made for the sandbox, which must exist before it does. When
/// dropped, those of them that are still empty are removed.
#[derive(Debug, Default)]
#[must_use]
pub struct Made {
    folders: Vec<PathBuf>,
}

impl Made {
    /// Makes a folder and those above it that are missing.
    ///
    /// # Errors
    /// [`Error::Io`] if that is not possible.
    fn folder(path: &Path) -> Result<Made, Error> {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let folders: Vec<PathBuf> =
            path.ancestors().take_while(missing).map(Path::to_owned).collect();
        let made = Made { folders };
        std::fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Innermost first; one that is not empty stays, and so do those above it.
        for folder in &self.folders {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Shuts this process in, for good, and everything that it starts from now on.
///
/// # Errors
/// [`Error::Io`] if the output folder cannot be made, [`Error::Usage`] if the kernel
/// has Landlock and still refuses.
pub fn enter(needs: &Needs) -> Result<(State, Made), Error> {
    let made = match &needs.write {
        Some(folder) => Made::folder(folder)?,
        None => Made::default(),
    };
    Ok((platform::enter(needs, &made)?, made))
}

/// Whether this system could do it.
pub fn available() -> bool {
    platform::available()
}

#[cfg(target_os = "linux")]
mod platform {
    use std::path::{Path, PathBuf};

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
        RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
    };

    use super::{Made, Needs, State};
    use crate::error::Error;

    /// The newest that the crate knows; an older kernel does what it can of it.
    const ABI_WANTED: ABI = ABI::V6;

    /// What the dynamic loader, OpenMP and libtorch read of the system. `/proc/self` is
    /// this process alone: others' environments stay closed.
    const SYSTEM: [&str; 14] = [
        "/usr",
        "/lib",
        "/lib64",
        "/lib32",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/proc/self",
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/sys",
        "/sys/devices/system",
        "/sys/fs/cgroup",
        "/dev/urandom",
    ];
    /// What CUDA reads besides.
    const CUDA: [&str; 6] = [
        "/proc/driver/nvidia",
        "/proc/devices",
        "/proc/modules",
        "/proc/version",
        "/sys/bus/pci",
        "/sys/module",
    ];
    /// What is written to without being a file.
    const NOTHING: &str = "/dev/null";
    /// Shared memory of all programs: CUDA's processes meet here. Only where it is.
    const SHARED: &str = "/dev/shm";
    const TERMINAL: &str = "/dev/tty";

    pub(super) fn available() -> bool {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))
            .and_then(Ruleset::create)
            .is_ok()
    }

    pub(super) fn enter(needs: &Needs, made: &Made) -> Result<State, Error> {
        let status = restrict(needs, made).map_err(|error| {
            Error::usage_hint(
                format!("the sandbox cannot be set up: {error}"),
                "--no-sandbox runs without it; do so only with networks that you trust",
            )
        })?;
        Ok(match status {
            RulesetStatus::FullyEnforced => State::On,
            RulesetStatus::PartiallyEnforced => State::Partly,
            RulesetStatus::NotEnforced => State::Missing,
        })
    }

    fn restrict(needs: &Needs, made: &Made) -> Result<RulesetStatus, RulesetError> {
        // No right to execute: a library is mapped, a program would be run.
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let all = AccessFs::from_all(ABI_WANTED);
        let rules = Ruleset::default()
            .handle_access(all)?
            .handle_access(AccessNet::from_all(ABI_WANTED))?
            .scope(Scope::from_all(ABI_WANTED))?
            .create()?;
        let rules = allow(rules, SYSTEM.iter().chain(&CUDA).map(PathBuf::from), read)?;
        let rules = allow(rules, libraries(), read)?;
        let rules = allow(rules, needs.read.iter().cloned(), read)?;
        let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
        let gpus = nvidia();
        let shared = (!gpus.is_empty()).then(|| SHARED.into());
        let devices = [NOTHING.into()].into_iter().chain(shared).chain(gpus);
        let rules = allow(rules, devices, device)?;
        let rules = allow(rules, needs.terminal.then(|| TERMINAL.into()), device)?;
        let rules = allow(rules, needs.write.clone(), all & !AccessFs::Execute)?;
        let rules = match needs.run.is_empty() {
            true => rules,
            // The kernel runs a program by way of its dynamic loader.
            false => {
                let programs = needs.run.iter().cloned().chain(loaders());
                allow(rules, programs, AccessFs::ReadFile | AccessFs::Execute)?
            }
        };
        // So that what was made can be removed again; only empty folders can.
        let above = made.folders.last().and_then(|first| first.parent()).map(or_here);
        let rules = allow(rules, above, AccessFs::RemoveDir.into())?;
        Ok(rules.restrict_self()?.ruleset)
    }

    /// Allows this below each of the paths. One that does not exist needs no permission.
    fn allow(
        rules: RulesetCreated,
        paths: impl IntoIterator<Item = PathBuf>,
        access: BitFlags<AccessFs>,
    ) -> Result<RulesetCreated, RulesetError> {
        rules.add_rules(path_beneath_rules(paths, access))
    }

    fn loaders() -> Vec<PathBuf> {
        let folders = ["/lib64", "/lib"].iter().filter_map(|folder| std::fs::read_dir(folder).ok());
        let is_loader = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-"))
        };
        folders.flatten().flatten().map(|entry| entry.path()).filter(is_loader).collect()
    }

    fn or_here(path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
    }

    /// Where libtorch lies, and what the user named for the loader to search.
    fn libraries() -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
            .map(|path| std::env::split_paths(&path).collect())
            .unwrap_or_default();
        folders.retain(|folder| folder.is_absolute());
        #[cfg(feature = "torch")]
        if let Some(folder) = crate::torch::folder() {
            // PyTorch's wheel: torch/lib beside nvidia/*/lib.
            let packages = folder.parent().and_then(Path::parent);
            folders.extend(packages.map(|packages| packages.join("nvidia")));
            folders.push(folder);
        }
        folders
    }

    /// The devices that NVIDIA's driver works through.
    fn nvidia() -> Vec<PathBuf> {
        let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("nvidia"))
            .map(|entry| entry.path())
            .collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::{Made, Needs, State};
    use crate::error::Error;

    pub(super) fn available() -> bool {
        false
    }

    pub(super) fn enter(_needs: &Needs, _made: &Made) -> Result<State, Error> {
        Ok(State::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_folder_goes_when_empty_and_stays_when_used() {
        let place = tempfile::tempdir().expect("a folder");
        let out = place.path().join("a/b");
        drop(Made::folder(&out).expect("made"));
        assert!(!place.path().join("a").exists());
        let made = Made::folder(&out).expect("made");
        std::fs::write(out.join("x"), b"x").expect("a file");
        drop(made);
        assert!(out.join("x").exists());
    }

    #[test]
    fn a_folder_that_was_there_before_is_not_removed() {
        let place = tempfile::tempdir().expect("a folder");
        drop(Made::folder(place.path()).expect("made"));
        assert!(place.path().exists());
    }
}
