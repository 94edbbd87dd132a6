//! What the system holds a process to, where it can.

/// Ends this process when the one that started it ends, however that happens (Linux;
/// elsewhere it ends with its pipes).
///
/// # Errors
/// If the system refuses.
pub fn end_with_parent() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// Lets this process have so many bytes of addresses, and no more (Unix).
///
/// # Errors
/// If the system refuses.
pub fn limit_memory(bytes: u64) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::As);
        limit.current = Some(limit.maximum.map_or(bytes, |most| most.min(bytes)));
        setrlimit(Resource::As, limit)?;
    }
    #[cfg(not(unix))]
    let _ = bytes;
    Ok(())
}

/// The bytes of memory that this machine has, where the system tells (Linux).
pub fn memory_of_machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}
