//! Tries what a network might try that has taken over this process.
//!
//! Each attempt is one system call whose arguments do no harm where it is let through: what
//! is written lies in the folder of a file that is there for it, and what would be another
//! program, process or part of the kernel is named by nothing. So most calls fail all the
//! same; what counts is whether they fail for lack of rights.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use actviz_core::attempt::{Attempt, Outcome};
use actviz_core::model_file::ModelFile;

/// Tries it. `file` is one that may be changed; its folder is there for the attempts, too.
pub(crate) fn attempt(what: Attempt, file: &ModelFile) -> Outcome {
    outcome(platform::attempt(what, file))
}

fn outcome(result: Option<io::Result<()>>) -> Outcome {
    match result {
        None => Outcome::Unknown,
        Some(Ok(())) => Outcome::Allowed,
        Some(Err(error)) => match error.kind() {
            io::ErrorKind::PermissionDenied => Outcome::Refused(error.to_string()),
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => {
                Outcome::Refused(error.to_string())
            }
            _ => Outcome::Allowed,
        },
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    use libc::c_long;
    use rustix::thread::{CapabilitySet, capabilities};

    use super::*;

    pub(super) fn attempt(what: Attempt, file: &ModelFile) -> Option<io::Result<()>> {
        let path = file.path();
        let beside = |name: &str| path.with_file_name(name);
        Some(match what {
            Attempt::TakeMemory => {
                call(libc::SYS_mmap, [0, 4096, libc::PROT_READ as usize, PRIVATE, NONE, 0])
            }
            Attempt::StartThread => std::thread::Builder::new()
                .spawn(|| ())
                .and_then(|thread| thread.join().map_err(|_| io::Error::other("a panic"))),
            Attempt::ReadDescriptor => {
                file.read_exact_at(&mut [0], 0).map_err(|error| io::Error::other(error.to_string()))
            }
            Attempt::ReadFile => std::fs::File::open(path).map(drop),
            Attempt::ReadSystemFile => std::fs::File::open("/proc/self/status").map(drop),
            Attempt::WriteFile => std::fs::File::options().write(true).open(path).map(drop),
            Attempt::CreateFile => std::fs::File::create(beside("made")).map(drop),
            Attempt::LookAtFile => std::fs::metadata(path).map(drop),
            Attempt::ListFolder => std::fs::read_dir(path.parent()?).map(drop),
            Attempt::ChangeMode => {
                with(path, |name| call(libc::SYS_fchmodat, [HERE, name, 0o600, 0, 0, 0]))
            }
            Attempt::ChangeModeOfDescriptor => {
                call(libc::SYS_fchmod, [number(file.as_fd()), 0o600, 0, 0, 0, 0])
            }
            Attempt::ChangeOwner => with(path, |name| {
                let unchanged = u32::MAX as usize;
                call(libc::SYS_fchownat, [HERE, name, unchanged, unchanged, 0, 0])
            }),
            Attempt::ChangeTimes => {
                with(path, |name| call(libc::SYS_utimensat, [HERE, name, 0, 0, 0, 0]))
            }
            Attempt::SetAttribute => with(path, |name| {
                let (key, value) = (c"user.actviz", c"x");
                let value = [key.as_ptr() as usize, value.as_ptr() as usize];
                call(libc::SYS_setxattr, [name, value[0], value[1], 1, 0, 0])
            }),
            Attempt::TruncateFile => {
                with(path, |name| call(libc::SYS_truncate, [name, 1, 0, 0, 0, 0]))
            }
            Attempt::RenameFile => std::fs::rename(beside("absent"), beside("renamed")),
            Attempt::LinkFile => std::fs::hard_link(path, beside("linked")),
            Attempt::MakeSymbolicLink => std::os::unix::fs::symlink(path, beside("symbolic")),
            Attempt::MakeFolder => std::fs::create_dir(beside("folder")),
            Attempt::MakePipe => with(&beside("pipe"), |name| {
                let kind = (libc::S_IFIFO | 0o600) as usize;
                call(libc::SYS_mknodat, [HERE, name, kind, 0, 0, 0])
            }),
            Attempt::RemoveFile => std::fs::remove_file(beside("absent")),
            Attempt::ChangeFolder => std::env::set_current_dir(path.parent()?),
            Attempt::FileInMemory => {
                call(libc::SYS_memfd_create, [c"actviz".as_ptr() as usize, 0, 0, 0, 0, 0])
            }
            Attempt::TcpSocket => socket(libc::AF_INET, libc::SOCK_STREAM),
            Attempt::UdpSocket => socket(libc::AF_INET, libc::SOCK_DGRAM),
            Attempt::UnixSocket => socket(libc::AF_UNIX, libc::SOCK_STREAM),
            Attempt::NetlinkSocket => socket(libc::AF_NETLINK, libc::SOCK_RAW),
            Attempt::RawSocket => socket(libc::AF_INET, libc::SOCK_RAW),
            Attempt::ConnectUnixSocket => {
                std::os::unix::net::UnixStream::connect(beside("socket")).map(drop)
            }
            Attempt::ListenTcp => TcpListener::bind("127.0.0.1:0").map(drop),
            Attempt::Fork => fork(),
            Attempt::Clone3 => call(libc::SYS_clone3, [0; 6]),
            Attempt::StartProgram => {
                with(&beside("absent"), |name| call(libc::SYS_execve, [name, 0, 0, 0, 0, 0]))
            }
            Attempt::SignalParent => call(libc::SYS_kill, [parent(), 0, 0, 0, 0, 0]),
            Attempt::SignalThreadOfParent => {
                call(libc::SYS_tgkill, [parent(), parent(), 0, 0, 0, 0])
            }
            // Of a process that it does not trace.
            Attempt::Trace => {
                call(libc::SYS_ptrace, [libc::PTRACE_CONT as usize, parent(), 0, 0, 0, 0])
            }
            Attempt::ReadMemoryOfOthers => {
                call(libc::SYS_process_vm_readv, [parent(), 0, 0, 0, 0, 0])
            }
            Attempt::WriteMemoryOfOthers => {
                call(libc::SYS_process_vm_writev, [parent(), 0, 0, 0, 0, 0])
            }
            Attempt::OpenProcess => call(libc::SYS_pidfd_open, [parent(), 0, 0, 0, 0, 0]),
            // From a place where nothing can be read.
            Attempt::SetLimit => {
                call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as usize, 1, 0, 0, 0])
            }
            Attempt::BeDumped => match rustix::process::dumpable_behavior() {
                Ok(rustix::process::DumpableBehavior::Dumpable) => Ok(()),
                _ => Err(io::ErrorKind::PermissionDenied.into()),
            },
            Attempt::HoldCapability => match capabilities(None) {
                Ok(sets) if sets.permitted == CapabilitySet::empty() => {
                    Err(io::ErrorKind::PermissionDenied.into())
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Attempt::SetUser => {
                let user = rustix::process::getuid().as_raw() as usize;
                call(libc::SYS_setresuid, [user, user, user, 0, 0, 0])
            }
            Attempt::Unshare => call(libc::SYS_unshare, [0; 6]),
            Attempt::EnterNamespace => call(libc::SYS_setns, [NONE, 0, 0, 0, 0, 0]),
            Attempt::Mount => call(libc::SYS_mount, [0; 6]),
            Attempt::ChangeRoot => {
                with(&beside("absent"), |name| call(libc::SYS_chroot, [name, 0, 0, 0, 0, 0]))
            }
            // Without the number that makes it one.
            Attempt::RestartMachine => call(libc::SYS_reboot, [0; 6]),
            Attempt::OpenByHandle => call(libc::SYS_open_by_handle_at, [HERE, 0, 0, 0, 0, 0]),
            Attempt::IoUring => call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
            Attempt::Bpf => call(libc::SYS_bpf, [0; 6]),
            Attempt::PerfEvent => call(libc::SYS_perf_event_open, [0; 6]),
            Attempt::UserFaultFd => call(libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]),
            Attempt::Keyring => call(libc::SYS_keyctl, [usize::MAX >> 33, 0, 0, 0, 0, 0]),
            Attempt::SharedMemory => call(libc::SYS_shmget, [KEY, 0, 0, 0, 0, 0]),
            Attempt::Semaphore => call(libc::SYS_semget, [KEY, 0, 0, 0, 0, 0]),
            Attempt::MessageQueue => call(libc::SYS_msgget, [KEY, 0, 0, 0, 0, 0]),
            Attempt::PosixMessageQueue => {
                call(libc::SYS_mq_open, [c"actviz-absent".as_ptr() as usize, 0, 0, 0, 0, 0])
            }
            Attempt::Ioctl => {
                call(libc::SYS_ioctl, [number(file.as_fd()), libc::FIOCLEX as usize, 0, 0, 0, 0])
            }
        })
    }

    /// No descriptor.
    const NONE: usize = usize::MAX;
    /// Of memory that is nobody else's.
    const PRIVATE: usize = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    /// Paths are complete.
    const HERE: usize = libc::AT_FDCWD as usize;
    /// A key of System V that nobody has.
    const KEY: usize = 0x6163_7469;

    fn number(descriptor: impl AsRawFd) -> usize {
        descriptor.as_raw_fd() as usize
    }

    fn parent() -> usize {
        rustix::process::getppid().map_or(1, |parent| parent.as_raw_nonzero().get() as usize)
    }

    fn socket(family: i32, kind: i32) -> io::Result<()> {
        let kind = kind | libc::SOCK_CLOEXEC;
        call(libc::SYS_socket, [family as usize, kind as usize, 0, 0, 0, 0])
    }

    fn with(path: &Path, call: impl FnOnce(usize) -> io::Result<()>) -> io::Result<()> {
        let name = CString::new(path.as_os_str().as_bytes())?;
        call(name.as_ptr() as usize)
    }

    fn call(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> io::Result<()> {
        // SAFETY: the callers above pass numbers, null, or strings that live until the call
        // has returned; no call of theirs writes to this process's memory or frees any.
        let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
        match result {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    fn fork() -> io::Result<()> {
        // SAFETY: the child does nothing but end, without running anything of this program.
        let child = unsafe { libc::fork() };
        match child {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: ends the child at once.
            0 => unsafe { libc::_exit(0) },
            _ => {
                let options = rustix::process::WaitOptions::empty();
                let _ = rustix::process::waitpid(rustix::process::Pid::from_raw(child), options);
                Ok(())
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::*;

    pub(super) fn attempt(_what: Attempt, _file: &ModelFile) -> Option<io::Result<()>> {
        None
    }
}
