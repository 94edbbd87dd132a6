//! What is said on stderr: errors, warnings, notes, progress.
//!
//! stdout is for data alone. Colour follows the terminal and `NO_COLOR`.

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors alone.
    Quiet,
    /// Errors, warnings, what was done, progress on a terminal.
    #[default]
    Normal,
    /// All that the runtime says, too.
    Verbose,
}

/// Any text as one line that can be printed: names of files and words of networks, without
/// what a terminal would obey, what ends a line or turns its direction, and what a CI would
/// take for a command of ours (`::` at the start of a line, `##[`). Shown as `\u{1b}`.
pub fn line(text: impl Display) -> String {
    let text = text.to_string();
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match is_obeyed(c) {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    if line.trim_start().starts_with("::") {
        line = line.replacen("::", "\\u{3a}:", 1);
    }
    if line.contains("##[") { line.replace("##[", "\\u{23}#[") } else { line }
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        // Line ends, and marks of direction, of Unicode.
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same for a text of several lines, which stay.
pub(crate) fn plain(text: impl Display) -> String {
    let lines: Vec<String> = text.to_string().split('\n').map(line).collect();
    lines.join("\n")
}

/// Prints an error and, on a line of its own, what to do about it.
pub fn error(error: impl Display, hint: Option<&str>) {
    anstream::eprintln!("\x1b[1;31merror\x1b[0m: {}", plain(format!("{error:#}")));
    if let Some(hint) = hint {
        anstream::eprintln!(" \x1b[1;36mhint\x1b[0m: {}", plain(hint));
    }
}

/// Prints the runtime's own words, indented.
pub fn detail(text: &str) {
    for line in text.lines() {
        anstream::eprintln!("       {}", plain(line));
    }
}

/// How often progress is told where there is no terminal.
const NEXT_LINE: Duration = Duration::from_secs(60);

/// Says what a run has to say, at its verbosity.
pub struct Talk {
    verbosity: Verbosity,
    bar: ProgressBar,
    /// Where there is no terminal.
    lines: Mutex<Option<Lines>>,
}

/// Progress as a line now and then.
struct Lines {
    /// What is counted.
    unit: String,
    /// When the last line was printed.
    last: Instant,
}

impl Lines {
    /// The line that is to be printed `now`, if it is time for one.
    fn next(&mut self, now: Instant, bar: &ProgressBar) -> Option<String> {
        if now.duration_since(self.last) < NEXT_LINE {
            return None;
        }
        self.last = now;
        let (done, all) = (bar.position(), bar.length().unwrap_or_default());
        let (speed, left) = (bar.per_sec(), HumanDuration(bar.eta()));
        Some(format!("{done}/{all} {}, {speed:.1} a second, {left} left", self.unit))
    }
}

impl Talk {
    /// Without a progress bar.
    pub fn new(verbosity: Verbosity) -> Talk {
        Talk { verbosity, bar: ProgressBar::hidden(), lines: Mutex::new(None) }
    }

    /// Whether nothing but errors is to be said.
    pub fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Begins to count up to `total`: with a bar on a terminal, elsewhere with a line a
    /// minute.
    pub fn start(&self, total: u64, unit: &str) {
        if self.is_quiet() {
            return;
        }
        self.bar.set_length(total);
        self.bar.reset();
        if !std::io::stderr().is_terminal() {
            *self.lines() = Some(Lines { unit: unit.to_owned(), last: Instant::now() });
            return;
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        let template =
            format!("{{bar:30}} {{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}} left  {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            self.bar.set_style(style);
        }
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Says beside the bar what is being done now.
    pub fn now(&self, what: String) {
        self.bar.set_message(what);
    }

    /// Counts steps as done.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        let now = Instant::now();
        let next = self.lines().as_mut().and_then(|lines| lines.next(now, &self.bar));
        if let Some(line) = next {
            anstream::eprintln!("{line}");
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Option<Lines>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the bar.
    pub fn stop(&self) {
        self.bar.finish_and_clear();
        *self.lines() = None;
    }

    /// What was done.
    pub fn note(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.bar.suspend(|| anstream::eprintln!("{}", plain(&text)));
        }
    }

    /// What is odd, but no error.
    pub fn warn(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.bar.suspend(|| anstream::eprintln!("\x1b[1;33mwarning\x1b[0m: {}", plain(&text)));
        }
    }

    /// What went wrong with one of several, while the others go on.
    pub fn failed(&self, failure: &crate::Error) {
        self.bar.suspend(|| {
            error(failure, failure.hint().as_deref());
            if self.verbosity == Verbosity::Verbose
                && let Some(text) = failure.detail()
            {
                detail(text);
            }
        });
    }

    /// What only `-v` wants to know.
    pub fn verbose(&self, text: impl Display) {
        if self.verbosity == Verbosity::Verbose {
            self.bar.suspend(|| anstream::eprintln!("{}", plain(&text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_give_orders_to_the_terminal() {
        assert_eq!(plain("a\u{1b}]0;title\u{7}.png"), "a\\u{1b}]0;title\\u{7}.png");
        assert_eq!(plain("two\nlines, ümlaut"), "two\nlines, ümlaut");
        assert_eq!(plain("two\n::error::lines"), "two\n\\u{3a}:error::lines");
    }

    #[test]
    fn progress_is_a_line_a_minute_where_there_is_no_terminal() {
        let bar = ProgressBar::hidden();
        bar.set_length(2940);
        bar.inc(49);
        let start = Instant::now();
        let mut lines = Lines { unit: "layers".to_owned(), last: start };
        let mut after = |seconds: u64| lines.next(start + Duration::from_secs(seconds), &bar);
        assert_eq!(after(59), None);
        let line = after(60).expect("a line");
        assert!(line.starts_with("49/2940 layers, ") && line.ends_with(" left"), "{line}");
        assert_eq!(after(119), None);
        assert!(after(121).is_some());
    }

    #[test]
    fn any_text_becomes_one_line_that_is_no_command() {
        for (text, expected) in [
            ("größe 3_1.png", "größe 3_1.png"),
            ("aten::relu", "aten::relu"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31m\u{9b}x\u{7f}", "\\u{1b}[31m\\u{9b}x\\u{7f}"),
            ("gpj.\u{202e}png", "gpj.\\u{202e}png"),
            (" ::add-mask::a", " \\u{3a}:add-mask::a"),
            ("a ##[error]b", "a \\u{23}#[error]b"),
        ] {
            assert_eq!(line(text), expected);
        }
    }
}
