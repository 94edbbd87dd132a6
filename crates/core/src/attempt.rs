//! What a worker can be asked to try, so that its sandbox need not be believed
//! (`actviz doctor --sandbox`).

use serde::{Deserialize, Serialize};
use strum::EnumIter;

/// One thing that a network which has taken over its process might do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    // What computing needs.
    /// Take memory.
    TakeMemory,
    /// Start a thread.
    StartThread,
    /// Read the network's own file, which came as an open descriptor.
    ReadDescriptor,
    // Files.
    /// Open a file of the user for reading.
    ReadFile,
    /// Open one of the system's, `/proc/self/status`.
    ReadSystemFile,
    /// Open a file of the user for writing.
    WriteFile,
    /// Make a file.
    CreateFile,
    /// Ask for a file's size and times.
    LookAtFile,
    /// List a folder.
    ListFolder,
    /// `chmod`.
    ChangeMode,
    /// `fchmod` of the network's own file.
    ChangeModeOfDescriptor,
    /// `chown`, to the owner that it has.
    ChangeOwner,
    /// `utimensat`.
    ChangeTimes,
    /// `setxattr`.
    SetAttribute,
    /// `truncate`.
    TruncateFile,
    /// `rename`.
    RenameFile,
    /// `link`.
    LinkFile,
    /// `symlink`.
    MakeSymbolicLink,
    /// `mkdir`.
    MakeFolder,
    /// `mknod` of a named pipe.
    MakePipe,
    /// `unlink`.
    RemoveFile,
    /// `chdir`.
    ChangeFolder,
    /// `memfd_create`: a file in memory, of which a program could be started.
    FileInMemory,
    // Sockets.
    /// A TCP socket.
    TcpSocket,
    /// A UDP socket.
    UdpSocket,
    /// A Unix socket.
    UnixSocket,
    /// A netlink socket, to the kernel.
    NetlinkSocket,
    /// A raw socket; only root gets one.
    RawSocket,
    /// Connect to a Unix socket by its path.
    ConnectUnixSocket,
    /// Listen on a TCP port.
    ListenTcp,
    // Processes.
    /// `fork`.
    Fork,
    /// `clone3`; libraries fall back to `clone`.
    Clone3,
    /// `execve`.
    StartProgram,
    /// `kill` of the process that started it (with signal 0, which does nothing).
    SignalParent,
    /// The same by `tgkill`.
    SignalThreadOfParent,
    /// `ptrace`.
    Trace,
    /// `process_vm_readv`.
    ReadMemoryOfOthers,
    /// `process_vm_writev`.
    WriteMemoryOfOthers,
    /// `pidfd_open`.
    OpenProcess,
    /// Set a limit of resources.
    SetLimit,
    /// Be read and traced by other processes of the user, or dump its memory.
    BeDumped,
    // Rights.
    /// Hold a capability; only root has any.
    HoldCapability,
    /// `setuid`, to the user that it runs as.
    SetUser,
    /// `unshare`, which leads to namespaces of its own.
    Unshare,
    /// `setns`.
    EnterNamespace,
    /// `mount`; only root may.
    Mount,
    /// `chroot`; only root may.
    ChangeRoot,
    /// `reboot`; only root may.
    RestartMachine,
    /// `open_by_handle_at`, which leads out of containers; only root may.
    OpenByHandle,
    // Other parts of the kernel.
    /// `io_uring_setup`.
    IoUring,
    /// `bpf`.
    Bpf,
    /// `perf_event_open`.
    PerfEvent,
    /// `userfaultfd`.
    UserFaultFd,
    /// `keyctl`.
    Keyring,
    /// `shmget`: System V's shared memory.
    SharedMemory,
    /// `semget`.
    Semaphore,
    /// `msgget`.
    MessageQueue,
    /// `mq_open`.
    PosixMessageQueue,
    /// `ioctl`, on the network's own file.
    Ioctl,
}

/// What came of an [`Attempt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, or failed for a reason that has nothing to do with rights.
    Allowed,
    /// It was refused, with this error.
    Refused(String),
    /// The process was ended for it.
    Ended(String),
    /// This system does not have it.
    Unknown,
}

impl Attempt {
    /// In words.
    pub fn what(self) -> &'static str {
        match self {
            Attempt::TakeMemory => "take memory",
            Attempt::StartThread => "start a thread",
            Attempt::ReadDescriptor => "read the network's own file",
            Attempt::ReadFile => "open a file for reading",
            Attempt::ReadSystemFile => "open /proc/self/status",
            Attempt::WriteFile => "open a file for writing",
            Attempt::CreateFile => "make a file",
            Attempt::LookAtFile => "ask for a file's size (stat)",
            Attempt::ListFolder => "list a folder",
            Attempt::ChangeMode => "change a file's mode (chmod)",
            Attempt::ChangeModeOfDescriptor => "change the network's own file (fchmod)",
            Attempt::ChangeOwner => "change a file's owner (chown)",
            Attempt::ChangeTimes => "change a file's times (utimensat)",
            Attempt::SetAttribute => "set a file's attribute (setxattr)",
            Attempt::TruncateFile => "cut a file off (truncate)",
            Attempt::RenameFile => "rename a file",
            Attempt::LinkFile => "make a hard link",
            Attempt::MakeSymbolicLink => "make a symbolic link",
            Attempt::MakeFolder => "make a folder",
            Attempt::MakePipe => "make a named pipe (mknod)",
            Attempt::RemoveFile => "remove a file",
            Attempt::ChangeFolder => "change the folder (chdir)",
            Attempt::FileInMemory => "make a file in memory (memfd_create)",
            Attempt::TcpSocket => "make a TCP socket",
            Attempt::UdpSocket => "make a UDP socket",
            Attempt::UnixSocket => "make a Unix socket",
            Attempt::NetlinkSocket => "make a netlink socket",
            Attempt::RawSocket => "make a raw socket",
            Attempt::ConnectUnixSocket => "connect to a Unix socket by its path",
            Attempt::ListenTcp => "listen on a TCP port",
            Attempt::Fork => "make a process (fork)",
            Attempt::Clone3 => "make a thread or process (clone3)",
            Attempt::StartProgram => "start a program (execve)",
            Attempt::SignalParent => "signal the process that started it (kill)",
            Attempt::SignalThreadOfParent => "signal a thread of that (tgkill)",
            Attempt::Trace => "trace another process (ptrace)",
            Attempt::ReadMemoryOfOthers => "read another process's memory",
            Attempt::WriteMemoryOfOthers => "write another process's memory",
            Attempt::OpenProcess => "open another process (pidfd_open)",
            Attempt::SetLimit => "set a limit of resources (prlimit)",
            Attempt::BeDumped => "be read by other processes, or dump its memory",
            Attempt::HoldCapability => "hold a capability",
            Attempt::SetUser => "change the user (setuid)",
            Attempt::Unshare => "make a namespace (unshare)",
            Attempt::EnterNamespace => "enter a namespace (setns)",
            Attempt::Mount => "mount",
            Attempt::ChangeRoot => "change the root (chroot)",
            Attempt::RestartMachine => "restart the machine (reboot)",
            Attempt::OpenByHandle => "open a file by its number (open_by_handle_at)",
            Attempt::IoUring => "io_uring",
            Attempt::Bpf => "bpf",
            Attempt::PerfEvent => "perf_event_open",
            Attempt::UserFaultFd => "userfaultfd",
            Attempt::Keyring => "use a keyring (keyctl)",
            Attempt::SharedMemory => "System V shared memory",
            Attempt::Semaphore => "System V semaphores",
            Attempt::MessageQueue => "System V messages",
            Attempt::PosixMessageQueue => "POSIX messages (mq_open)",
            Attempt::Ioctl => "ioctl on the network's own file",
        }
    }
}
