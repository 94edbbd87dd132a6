//! Which system calls this process may make from here on (seccomp, Linux).
//!
//! The lists were made from what libtorch 2.13 does on a processor once it is set up: loading,
//! networks of every kind in tests/, gradients, several threads, lack of memory, crashes. What
//! is on none of them is answered as by a kernel that does not have it (`ENOSYS`), which
//! libraries are prepared for. NVIDIA's driver could not be measured and gets what drivers of
//! devices usually need; on a GPU nothing kills the process, either.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

/// Computing, memory, threads, and the descriptors that are open already.
const ALLOWED: &[c_long] = &[
    // Descriptors: the socket, the networks' files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_close,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_ppoll,
    // Memory. Mapping is without conditions: oneDNN writes code for this very processor.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // glibc asks for it first; another filter answers.
    libc::SYS_clone3,
    // Signals of its own.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, chance, and questions about itself.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_capget,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_uname,
];
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_poll,
    libc::SYS_time,
    // Intel's AMX has to be asked for.
    libc::SYS_arch_prctl,
];
// Arm's libraries look the processor's cores up in /proc and /sys when they first compute.
// That was not measured; Landlock keeps all other files closed.
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[c_long] = &[libc::SYS_openat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALLOWED_HERE: &[c_long] = &[];

/// What a driver needs besides. On a processor it is refused: with `EACCES`, as where the
/// rights are missing.
const DRIVER: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_ioctl,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_pwrite64,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_memfd_create,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_connect,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mincore,
    libc::SYS_msync,
    libc::SYS_mbind,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_rt_sigtimedwait,
];
#[cfg(target_arch = "x86_64")]
const DRIVER_HERE: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_eventfd,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const DRIVER_HERE: &[c_long] = &[];

/// What no network and no driver needs, but a library may try and go on without: `EACCES`.
const REFUSED: &[c_long] = &[
    libc::SYS_openat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_truncate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_umask,
    libc::SYS_inotify_init1,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
];
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_fchmodat2,
    libc::SYS_creat,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// What nothing but an attack asks for: it ends the process (`SIGSYS`).
const FATAL: &[c_long] = &[
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    // Other views of the system, and what is set up in it.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    // Who this process is.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_personality,
    libc::SYS_seccomp,
    // Large parts of the kernel that attacks go through.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_setup,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];
#[cfg(target_arch = "x86_64")]
const FATAL_HERE: &[c_long] =
    &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const FATAL_HERE: &[c_long] = &[];

/// Holds all threads of this process to the lists, for good. `driver`: a GPU is computed on.
/// False if the kernel has no seccomp, or nobody writes filters for this processor.
///
/// # Errors
/// Those of the kernel.
pub fn restrict(driver: bool) -> Result<bool, Error> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(false) };
    // Of several filters the strictest answer counts, and of two errors the later filter's.
    for (place, (matched, otherwise, rules)) in filters(driver)?.into_iter().enumerate() {
        let filter = SeccompFilter::new(rules, otherwise, matched, arch)?;
        match apply_filter_all_threads(&BpfProgram::try_from(filter)?) {
            Err(error) if place == 0 && is_missing(&error) => return Ok(false),
            applied => applied?,
        }
    }
    Ok(true)
}

fn is_missing(error: &Error) -> bool {
    match error {
        Error::Prctl(error) | Error::Seccomp(error) => {
            matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS))
        }
        _ => false,
    }
}

/// No rule: whatever the arguments are.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// What happens to the calls that match, and to others.
type Filter = (SeccompAction, SeccompAction, Rules);

fn filters(driver: bool) -> Result<Vec<Filter>, Error> {
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let whatever = |lists: &[&[c_long]]| -> Rules {
        lists.iter().flat_map(|list| list.iter()).map(|call| (*call, Vec::new())).collect()
    };
    // The filters after the first have to be set up; the last one ends that.
    let mut allowed = whatever(&[ALLOWED, ALLOWED_HERE, &[libc::SYS_seccomp]]);
    allowed.extend(conditional(driver)?);
    let mut refused = whatever(&[REFUSED, REFUSED_HERE]);
    let mut fatal = whatever(&[FATAL, FATAL_HERE]);
    fatal.insert(libc::SYS_clone, vec![rule(&[no_thread()?])?]);
    refused.insert(libc::SYS_tgkill, vec![rule(&[other_process()?])?]);
    if driver {
        allowed.extend(whatever(&[DRIVER, DRIVER_HERE]));
        refused.insert(libc::SYS_socket, vec![rule(&[first(SeccompCmpOp::Ne, unix_socket())?])?]);
        refused.append(&mut fatal);
    } else {
        refused.extend(whatever(&[DRIVER, DRIVER_HERE, &[libc::SYS_socket]]));
        refused.retain(|call, _| !ALLOWED_HERE.contains(call));
    }
    let allow = SeccompAction::Allow;
    let mut filters = vec![
        (allow.clone(), errno(libc::ENOSYS), allowed),
        (errno(libc::ENOSYS), allow.clone(), whatever(&[&[libc::SYS_clone3]])),
        (errno(libc::EACCES), allow.clone(), refused),
    ];
    if !fatal.is_empty() {
        filters.push((SeccompAction::KillProcess, allow, fatal));
    }
    Ok(filters)
}

/// What is allowed with certain arguments only.
fn conditional(driver: bool) -> Result<Rules, Error> {
    let mut rules = Rules::new();
    // Threads, and no processes: those of glibc share all memory.
    let shared = u64::from((libc::CLONE_VM | libc::CLONE_THREAD).unsigned_abs());
    rules.insert(libc::SYS_clone, vec![rule(&[first(SeccompCmpOp::MaskedEq(shared), shared)?])?]);
    // abort() sends itself a signal.
    let myself = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![rule(&[first(SeccompCmpOp::Eq, myself)?])?]);
    // Its own limits are asked for, and not changed.
    let unchanged = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    let own = first(SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![rule(&[own, unchanged])?]);
    rules.insert(libc::SYS_getrlimit, Vec::new());
    let one_of = |position: u8, values: &[i32]| -> Result<Vec<SeccompRule>, Error> {
        let equals = |value: &i32| {
            let value = u64::from(value.unsigned_abs());
            let length = SeccompCmpArgLen::Dword;
            rule(&[SeccompCondition::new(position, length, SeccompCmpOp::Eq, value)?])
        };
        values.iter().map(equals).collect()
    };
    // Not F_SETOWN: it has signals sent to others.
    let commands = [libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL];
    let settings = [
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_SET_VMA,
        libc::PR_GET_DUMPABLE,
        libc::PR_SET_NO_NEW_PRIVS,
    ];
    match driver {
        false => {
            rules.insert(libc::SYS_fcntl, one_of(1, &commands)?);
            rules.insert(libc::SYS_prctl, one_of(0, &settings)?);
        }
        true => {
            rules.extend([(libc::SYS_fcntl, Vec::new()), (libc::SYS_prctl, Vec::new())]);
            let unix = first(SeccompCmpOp::Eq, unix_socket())?;
            rules.insert(libc::SYS_socket, vec![rule(&[unix])?]);
        }
    }
    Ok(rules)
}

/// A `clone` that makes a process.
fn no_thread() -> Result<SeccompCondition, Error> {
    first(SeccompCmpOp::MaskedEq(u64::from(libc::CLONE_THREAD.unsigned_abs())), 0)
}

/// A signal for another process.
fn other_process() -> Result<SeccompCondition, Error> {
    first(SeccompCmpOp::Ne, u64::from(std::process::id()))
}

fn unix_socket() -> u64 {
    u64::from(libc::AF_UNIX.unsigned_abs())
}

/// A condition on the first argument.
fn first(operation: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(0, SeccompCmpArgLen::Dword, operation, value)?)
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(conditions.to_vec())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_on_two_lists() {
        let lists =
            [ALLOWED, ALLOWED_HERE, DRIVER, DRIVER_HERE, REFUSED, REFUSED_HERE, FATAL, FATAL_HERE];
        let mut all: Vec<c_long> = lists.concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        let twice = usize::from(cfg!(target_arch = "aarch64"));
        assert_eq!(all.len() + twice, count);
    }

    #[test]
    fn both_kinds_of_filters_are_programs() {
        for driver in [false, true] {
            let arch: TargetArch = std::env::consts::ARCH.try_into().expect("a known one");
            for (matched, otherwise, rules) in filters(driver).expect("rules") {
                let filter = SeccompFilter::new(rules, otherwise, matched, arch).expect("a filter");
                assert!(!BpfProgram::try_from(filter).expect("a program").is_empty());
            }
        }
    }
}
