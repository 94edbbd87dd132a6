//! What is said on stderr: errors, warnings, notes, progress.
//!
//! stdout is for data alone. Colour follows the terminal and `NO_COLOR`.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{
    HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};

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

pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control()
        // Line ends, and marks of direction, of Unicode.
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same for a text of several lines, which stay.
pub fn plain(text: impl Display) -> String {
    let lines: Vec<String> = text.to_string().split('\n').map(line).collect();
    lines.join("\n")
}

/// A value as indented JSON in which no text can give orders either: what [`line()`] would
/// show as `\u{202e}` is `\u202e`, which every reader of JSON takes for the same text.
///
/// # Errors
/// If the value has no JSON.
pub fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(|text| harmless_json(&text))
}

/// The same on one line.
///
/// # Errors
/// If the value has no JSON.
pub fn json_line(value: &impl serde::Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|text| harmless_json(&text))
}

/// Outside of its strings JSON has neither of these characters, but for the line breaks
/// between them.
fn harmless_json(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match c != '\n' && is_obeyed(c) {
            true => harmless.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => harmless.push(c),
        }
    }
    if harmless.contains("##[") { harmless.replace("##[", "\\u0023#[") } else { harmless }
}

/// Prints a line on stderr, as far as it takes any: what cannot be said, because the disk
/// behind it is full or its reader gone, changes nothing of what is done.
pub fn say(text: impl Display) {
    // At once, so that lines of several processes do not mix.
    let _ = anstream::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Prints an error and, on a line of its own, what to do about it.
pub fn error(error: impl Display, hint: Option<&str>) {
    say(format!("\x1b[1;31merror\x1b[0m: {}", plain(format!("{error:#}"))));
    if let Some(hint) = hint {
        say(format!(" \x1b[1;36mhint\x1b[0m: {}", plain(hint)));
    }
}

/// Prints the runtime's own words, indented.
pub fn detail(text: &str) {
    for line in text.lines() {
        say(format!("       {}", plain(line)));
    }
}

/// How often progress is told where there is no terminal.
const NEXT_LINE: Duration = Duration::from_secs(60);

/// How fast it goes, and how long it will: nothing before that can be told.
fn pace(done: u64, a_second: f64, left: Duration) -> String {
    if done == 0 || a_second <= 0.0 || left.is_zero() {
        return String::new();
    }
    let speed = match a_second {
        slow if slow < 1.0 => format!("{:.0} a minute", (slow * 60.0).max(1.0)),
        fast => format!("{fast:.0} a second"),
    };
    format!(", {speed}, {} left", HumanDuration(left))
}

/// `1 picture`, `13,500 pictures`
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", HumanCount(number as u64))
}

/// Says what a run has to say, at its verbosity.
pub struct Reporter {
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
        let pace = pace(done, bar.per_sec(), bar.eta());
        Some(format!("{done}/{all} {}{pace}", self.unit))
    }
}

impl Reporter {
    /// Without a progress bar.
    pub fn new(verbosity: Verbosity) -> Reporter {
        Reporter { verbosity, bar: ProgressBar::hidden(), lines: Mutex::new(None) }
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
        let template = format!("{{bar:30}} {{pos}}/{{len}} {unit}{{pace}}  {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            let pace = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&pace(state.pos(), state.per_sec(), state.eta()));
            };
            self.bar.set_style(style.with_key("pace", pace));
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
            say(line);
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
            self.bar.suspend(|| say(plain(&text)));
        }
    }

    /// What is odd, but no error.
    pub fn warn(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.bar.suspend(|| say(format!("\x1b[1;33mwarning\x1b[0m: {}", plain(&text))));
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
            self.bar.suspend(|| say(plain(&text)));
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
        assert!(line.starts_with("49/2940 layers"), "{line}");
        assert_eq!(after(119), None);
        assert!(after(121).is_some());
    }

    #[test]
    fn json_gives_no_orders_and_says_the_same() {
        let text = "gpj.\u{202e}png \u{9b}31m \u{7f} ##[error]x, größe\n\u{1b}";
        let printed = json(&[text]).expect("JSON");
        assert!(!printed.chars().any(|c| c != '\n' && is_obeyed(c)), "{printed}");
        assert!(printed.contains("\\u202e") && !printed.contains("##["), "{printed}");
        assert!(printed.contains("größe"), "{printed}");
        let read: Vec<String> = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(read, [text]);
        assert_eq!(json_line(&["a", "\u{2028}"]).expect("JSON"), "[\"a\",\"\\u2028\"]");
    }

    #[test]
    fn a_pace_has_no_decimals_and_is_told_once_it_is_known() {
        let seconds = Duration::from_secs;
        assert_eq!(pace(0, 0.0, seconds(0)), "");
        assert_eq!(pace(3, 12.3456, seconds(45)), ", 12 a second, 45 seconds left");
        assert_eq!(pace(3, 0.51, seconds(180)), ", 31 a minute, 3 minutes left");
    }

    #[test]
    fn one_is_no_plural() {
        let counts = [0, 1, 13_500].map(|number| count(number, "picture"));
        assert_eq!(counts, ["0 pictures", "1 picture", "13,500 pictures"]);
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
