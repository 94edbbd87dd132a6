//! What this process may touch from here on: next to nothing.
//!
//! The file of a network is a program, and libtorch was not made to run programs of
//! strangers. So the process gives up what it does not need, in two steps:
//!
//! 1. [`enter`], before anything else: the kernel (Landlock, Linux) takes away all files but
//!    the libraries, all writing, all programs and TCP; all capabilities go. A thread inherits
//!    that from the one that starts it, so it must be done while there is only one.
//! 2. [`close`], when libtorch and the device are set up and before the first network comes:
//!    the kernel (seccomp) answers only the system calls that computing needs. On a processor
//!    that is no file at all, no socket and no process. The networks' files come as open
//!    descriptors over a socket that is open already.

use actviz_core::error::Error;
use strum::Display;

/// How far the kernel holds the process to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Which files and sockets it opens.
    pub landlock: Landlock,
    /// Whether its system calls are held to what computing needs.
    pub seccomp: bool,
}

/// How far Landlock holds the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
pub enum Landlock {
    /// All that this version of Landlock can do, and actviz asks for.
    #[strum(to_string = "Landlock")]
    On,
    /// Files are held back; an older kernel lets something else through.
    #[strum(to_string = "Landlock as far as this kernel goes")]
    Partly,
    /// The kernel has no Landlock, or the system is not Linux.
    #[strum(to_string = "no Landlock on this system")]
    Missing,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seccomp = if self.seccomp { "seccomp" } else { "no seccomp on this system" };
        write!(f, "{}, {seccomp}", self.landlock)
    }
}

/// The first step. Comes before any other thread is there: it would stay outside.
///
/// # Errors
/// [`Error::Usage`] if the kernel has Landlock and still refuses.
pub fn enter() -> Result<Landlock, Error> {
    platform::enter()
}

/// The second step, for all threads. `driver`: a GPU is computed on, whose driver needs more.
/// Says whether the system can do it.
///
/// # Errors
/// [`Error::Usage`] if the kernel has seccomp and still refuses.
pub fn close(driver: bool) -> Result<bool, Error> {
    platform::close(driver)
}

#[cfg(target_os = "linux")]
mod platform {
    use std::path::{Path, PathBuf};

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreated,
        RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
    };

    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    use rustix::thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities,
    };

    use super::Landlock;
    use crate::syscalls;
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

    pub(super) fn enter() -> Result<Landlock, Error> {
        let status = restrict().map_err(|error| cannot(&error))?;
        drop_capabilities().map_err(|error| cannot(&error))?;
        Ok(match status {
            RulesetStatus::FullyEnforced => Landlock::On,
            RulesetStatus::PartiallyEnforced => Landlock::Partly,
            RulesetStatus::NotEnforced => Landlock::Missing,
        })
    }

    pub(super) fn close(driver: bool) -> Result<bool, Error> {
        // Nobody reads this process's memory, alive or dead.
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Core, none).map_err(|error| cannot(&error))?;
        let nobody = DumpableBehavior::NotDumpable;
        set_dumpable_behavior(nobody).map_err(|error| cannot(&error))?;
        syscalls::restrict(driver).map_err(|error| cannot(&error))
    }

    fn cannot(why: &dyn std::fmt::Display) -> Error {
        Error::usage_hint(
            format!("the sandbox cannot be set up: {why}"),
            "--no-sandbox runs without it; do so only with networks that you trust",
        )
    }

    /// Whoever is root is nobody special any more.
    fn drop_capabilities() -> rustix::io::Result<()> {
        let empty = CapabilitySet::empty();
        clear_ambient_capability_set()?;
        // Only who may set capabilities has some to drop here, and the kernel ends the list.
        for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
            if remove_capability_from_bounding_set(capability).is_err() {
                break;
            }
        }
        let none = CapabilitySets { effective: empty, permitted: empty, inheritable: empty };
        set_capabilities(None, none)
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
    use super::Landlock;
    use actviz_core::error::Error;

    pub(super) fn enter() -> Result<Landlock, Error> {
        Ok(Landlock::Missing)
    }

    pub(super) fn close(_driver: bool) -> Result<bool, Error> {
        Ok(false)
    }
}
