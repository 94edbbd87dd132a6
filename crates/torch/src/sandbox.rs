//! What this process may touch from here on: next to nothing.
//!
//! The file of a network is a program, and libtorch was not made to run programs of
//! strangers. So before libtorch is asked for anything, the kernel (Landlock, Linux) takes
//! away from this process all files but the libraries, all writing, all programs and the
//! network. The networks' files need no right: they come as open descriptors. A thread
//! inherits that from the one that starts it, so it must be done while there is only one.

use actviz_core::error::Error;

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

/// Shuts this process in, for good, and everything that it starts from now on. Comes before
/// any other thread is there: it would stay outside.
///
/// # Errors
/// [`Error::Usage`] if the kernel has Landlock and still refuses.
pub fn enter() -> Result<State, Error> {
    platform::enter()
}

#[cfg(target_os = "linux")]
mod platform {
    use std::path::{Path, PathBuf};

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreated,
        RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
    };

    use super::State;
    use actviz_core::error::Error;

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

    pub(super) fn enter() -> Result<State, Error> {
        let status = restrict().map_err(|error| {
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

    fn restrict() -> Result<RulesetStatus, RulesetError> {
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
        let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
        let gpus = nvidia();
        let shared = (!gpus.is_empty()).then(|| SHARED.into());
        let devices = [NOTHING.into()].into_iter().chain(shared).chain(gpus);
        let rules = allow(rules, devices, device)?;
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

    /// Where libtorch lies, and what the user named for the loader to search.
    fn libraries() -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
            .map(|path| std::env::split_paths(&path).collect())
            .unwrap_or_default();
        folders.retain(|folder| folder.is_absolute());
        if let Some(folder) = crate::folder() {
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
    use super::State;
    use actviz_core::error::Error;

    pub(super) fn enter() -> Result<State, Error> {
        Ok(State::Missing)
    }
}
