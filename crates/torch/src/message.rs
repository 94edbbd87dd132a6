//! From libtorch's long messages to one line for a person.

/// The line of `detail` that says what is wrong: without traces, source paths and
/// the names of C++ functions.
pub(super) fn headline(detail: &str) -> String {
    let own_words = before_trace(detail);
    let line = if own_words.contains("TorchScript interpreter") {
        // The interpreter puts the cause last, after its trace.
        own_words.lines().rev().find_map(after_exception_name)
    } else {
        None
    };
    let line = line
        .or_else(|| own_words.lines().map(str::trim).find(|line| !line.is_empty()))
        .unwrap_or("no reason given");
    without_place(line).to_owned()
}

/// The operators for which a network was refused, if it was: name and place of each.
/// `ACTVIZ_REFUSED` of shim.h is how such a message begins.
pub(super) fn refusal(detail: &str) -> Option<Vec<(String, String)>> {
    let lines = detail.strip_prefix("actviz refused:\n")?.lines();
    Some(
        lines
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, place)| (name.to_owned(), place.to_owned()))
            .collect(),
    )
}

/// Whether libtorch says that memory ran out.
pub(super) fn is_out_of_memory(detail: &str) -> bool {
    ["out of memory", "can't allocate memory", "not enough memory", "bad_alloc"]
        .iter()
        .any(|words| detail.contains(words))
}

fn before_trace(detail: &str) -> &str {
    ["Exception raised from", "\nframe #0"]
        .iter()
        .filter_map(|mark| detail.find(mark))
        .min()
        .map_or(detail, |end| &detail[..end])
}

/// `RuntimeError: words` or `builtins.ValueError: words` -> `words`.
fn after_exception_name(line: &str) -> Option<&str> {
    let (name, words) = line.trim().split_once(": ")?;
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_exception = name.ends_with("Error") || name.ends_with("Exception");
    (is_exception && name.split('.').all(is_name)).then_some(words)
}

/// Drops `[enforce fail at file.cc:12] condition. `, which tells nothing to users.
fn without_place(line: &str) -> &str {
    line.strip_prefix("[enforce fail at ")
        .and_then(|rest| rest.split_once("] "))
        .map_or(line, |(_, rest)| rest)
        .trim_start_matches(['.', ' '])
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_after_the_interpreter_s_trace() {
        let detail = "The following operation failed in the TorchScript interpreter.\n\
            Traceback of TorchScript, serialized code (most recent call last):\n  \
            File \"code/__torch__/net.py\", line 9, in forward\n    \
            x = torch.conv2d(x, w)\n        ~~~~~~~~~~~~ <--- HERE\n\
            RuntimeError: Given groups=1, expected 3 channels: got 1 instead\n";
        assert_eq!(headline(detail), "Given groups=1, expected 3 channels: got 1 instead");
    }

    #[test]
    fn an_exception_that_the_network_raises_is_told_in_its_own_words() {
        let detail = "The following operation failed in the TorchScript interpreter.\n\
            Traceback of TorchScript (most recent call last):\n\
            builtins.ValueError: too small: 3\n";
        assert_eq!(headline(detail), "too small: 3");
    }

    #[test]
    fn traces_and_places_in_the_source_are_dropped() {
        let detail = "[enforce fail at inline_container.cc:277] . file not found: a/version\n\
            Exception raised from validate at inline_container.cc:277 (most recent call first):\n\
            frame #0: c10::Error::Error";
        assert_eq!(headline(detail), "file not found: a/version");
        assert_eq!(headline("open file failed\nException raised from x"), "open file failed");
    }

    #[test]
    fn lack_of_memory_is_recognised_on_cpu_and_cuda() {
        assert!(is_out_of_memory("DefaultCPUAllocator: can't allocate memory: you tried"));
        assert!(is_out_of_memory("CUDA out of memory. Tried to allocate 2.00 GiB"));
        assert!(!is_out_of_memory("Given groups=1"));
    }
}
