//! Decoders of pictures are other people's code, fed with other people's files: what one of
//! them panics at is an error of that file, and nothing is printed about it.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::Problem;

thread_local! {
    /// Whether a panic of this thread is expected, and dealt with.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Does what may panic; a panic becomes a problem of the file at hand.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !EXPECTED.get() {
                before(panic);
            }
        }));
    });
    let outer = EXPECTED.replace(true);
    // What the work was changing is dropped with it.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(outer);
    result.unwrap_or_else(|_| {
        Err(Problem::with_hint(
            "its decoder stopped at something that it does not know",
            "the file may be damaged; if other programs show it, save it anew as PNG",
        ))
    })
}

/// Whether the machine would give this many bytes. A decoder that gets none aborts.
///
/// # Errors
/// If it would not.
pub(super) fn check_memory(bytes: u64) -> Result<(), Problem> {
    let mut room: Vec<u8> = Vec::new();
    let there = usize::try_from(bytes).is_ok_and(|bytes| room.try_reserve_exact(bytes).is_ok());
    if there {
        return Ok(());
    }
    Err(Problem::with_hint(
        format!("reading it takes {} MB of memory, more than there is", bytes / 1_000_000),
        "make the picture smaller, or give more memory",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_problem_and_the_thread_goes_on() {
        let stopped = guarded(|| -> Result<(), Problem> {
            let empty: &[u8] = std::hint::black_box(&[]);
            assert_eq!(empty[0], 1);
            Ok(())
        });
        assert!(stopped.expect_err("a panic").what.contains("decoder stopped"));
        assert_eq!(guarded(|| Ok(2)).expect("no panic"), 2);
    }

    #[test]
    fn more_memory_than_any_machine_has_is_a_problem() {
        assert!(check_memory(1 << 20).is_ok());
        assert!(check_memory(1 << 62).is_err());
    }
}
