//! A picture in the terminal: kitty, iTerm, sixel, or half blocks, whichever it can.

use std::env;
use std::io::{IsTerminal, stdin, stdout};
use std::time::Duration;

use crate::picture::Rgb;
use crate::terminal::Reporter;

/// Columns of a terminal that does not say how wide it is.
const COLUMNS: u32 = 80;

/// How long a terminal is waited for: one far away answers within a tenth of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows a picture, if standard output is a terminal that can show any.
pub fn show(picture: &Rgb, reporter: &Reporter) {
    let term = env::var("TERM").unwrap_or_default();
    if !stdout().is_terminal() || matches!(term.as_str(), "" | "dumb") {
        reporter.warn("--preview needs a terminal that shows colours; standard output is none");
        return;
    }
    let (width, height) = (picture.width as u32, picture.height as u32);
    let Some(image) = image::RgbImage::from_raw(width, height, picture.pixels.clone()) else {
        return;
    };
    if let Err(error) = viuer::print(&image::DynamicImage::from(image), &config(&term)) {
        reporter.warn(format!("the terminal cannot show the sheet: {error}"));
    }
}

/// viuer asks the terminal what it can, and waits for the answer, for ever if there is
/// none. So it may ask only where the environment names a terminal that answers, and one
/// that has answered before.
fn config(term: &str) -> viuer::Config {
    let is_one_of = |names: &[&str]| names.iter().any(|name| term.contains(name));
    let kitty = env::var_os("KITTY_WINDOW_ID").is_some() || is_one_of(&["kitty", "ghostty"]);
    let sixel = is_one_of(&["foot", "mlterm", "contour", "sixel"]);
    let answers = (kitty || sixel) && stdin().is_terminal() && answers(PATIENCE);
    let unknown_size = viuer::terminal_size().0 == 0;
    viuer::Config {
        absolute_offset: false,
        width: unknown_size.then_some(COLUMNS),
        use_kitty: answers && kitty,
        use_sixel: answers && sixel,
        ..viuer::Config::default()
    }
}

/// Whether the terminal answers at all: a name can be inherited, through ssh or by a CI.
#[cfg(unix)]
fn answers(patience: Duration) -> bool {
    question::is_answered(&stdin(), &mut stdout(), patience)
}

#[cfg(not(unix))]
fn answers(_patience: Duration) -> bool {
    true
}

#[cfg(unix)]
mod question {
    use std::io::{self, Write};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    /// "Device status report", and "ready": what all terminals of the last 40 years know.
    const QUESTION: &[u8] = b"\x1b[5n";
    const ANSWER: &[u8] = b"\x1b[0n";

    /// Asks the terminal for its state. While it is waited for, what comes is neither
    /// shown nor held back until the line ends.
    pub fn is_answered(input: &impl AsFd, output: &mut impl Write, patience: Duration) -> bool {
        let Ok(before) = tcgetattr(input) else { return false };
        let mut raw = before.clone();
        raw.make_raw();
        if tcsetattr(input, OptionalActions::Now, &raw).is_err() {
            return false;
        }
        let answered = ask(input, output, patience).unwrap_or(false);
        // With what was typed or answered late: the shell would take it for a command.
        let _ = tcsetattr(input, OptionalActions::Flush, &before);
        answered
    }

    fn ask(input: &impl AsFd, output: &mut impl Write, patience: Duration) -> io::Result<bool> {
        let start = Instant::now();
        output.write_all(QUESTION)?;
        output.flush()?;
        let mut heard = Vec::new();
        while start.elapsed() < patience {
            let left = patience.saturating_sub(start.elapsed());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            if poll(&mut [PollFd::new(input, PollFlags::IN)], Some(&left))? == 0 {
                break;
            }
            let mut bytes = [0; 64];
            let count = rustix::io::read(input, &mut bytes)?;
            heard.extend_from_slice(&bytes[..count]);
            if count == 0 || heard.windows(ANSWER.len()).any(|part| part == ANSWER) {
                return Ok(count > 0);
            }
        }
        Ok(false)
    }

    #[cfg(test)]
    mod tests {
        use std::fs::File;
        use std::io::Read;
        use std::os::fd::OwnedFd;

        use rustix::fs::{Mode, OFlags};
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

        use super::*;

        /// Both sides of a terminal: the one that shows, and the one that a program sees.
        fn terminal() -> (File, OwnedFd) {
            let shows = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
            grantpt(&shows).expect("mine");
            unlockpt(&shows).expect("open");
            let name = ptsname(&shows, Vec::new()).expect("a name");
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            let seen = rustix::fs::open(name, flags, Mode::empty()).expect("a terminal");
            (shows.into(), seen)
        }

        #[test]
        fn a_terminal_that_says_nothing_is_not_waited_for() {
            let (_shows, seen) = terminal();
            let before = tcgetattr(&seen).expect("its state").local_modes;
            let start = Instant::now();
            let mut output = File::from(seen.try_clone().expect("another handle"));
            assert!(!is_answered(&seen, &mut output, Duration::from_millis(50)));
            assert!(start.elapsed() < Duration::from_secs(5));
            assert_eq!(tcgetattr(&seen).expect("its state").local_modes, before);
        }

        #[test]
        fn a_terminal_that_answers_is_believed() {
            let (mut shows, seen) = terminal();
            let answering = std::thread::spawn(move || {
                let mut asked = [0; QUESTION.len()];
                shows.read_exact(&mut asked).expect("a question");
                // Somebody types meanwhile.
                shows.write_all(b"ls").expect("keys");
                shows.write_all(ANSWER).expect("an answer");
                (shows, asked)
            });
            let mut output = File::from(seen.try_clone().expect("another handle"));
            assert!(is_answered(&seen, &mut output, Duration::from_secs(30)));
            assert_eq!(answering.join().expect("no panic").1, QUESTION);
        }
    }
}
