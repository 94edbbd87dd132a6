//! A picture in the terminal: kitty, iTerm, sixel, or half blocks, whichever it can.

use std::env;
use std::io::{IsTerminal, stdin, stdout};

use crate::picture::Rgb;
use crate::talk::Talk;

/// Columns of a terminal that does not say how wide it is.
const COLUMNS: u32 = 80;

/// Shows a picture, if standard output is a terminal that can show any.
pub fn show(picture: &Rgb, talk: &Talk) {
    let term = env::var("TERM").unwrap_or_default();
    if !stdout().is_terminal() || matches!(term.as_str(), "" | "dumb") {
        talk.warn("--preview needs a terminal that shows colours; standard output is none");
        return;
    }
    let (width, height) = (picture.width as u32, picture.height as u32);
    let Some(image) = image::RgbImage::from_raw(width, height, picture.pixels.clone()) else {
        return;
    };
    if let Err(error) = viuer::print(&image::DynamicImage::from(image), &config(&term)) {
        talk.warn(format!("the terminal cannot show the sheet: {error}"));
    }
}

/// viuer asks the terminal what it can, and waits for the answer, for ever if there is
/// none. So it may ask only where the environment names a terminal that answers.
fn config(term: &str) -> viuer::Config {
    let answers = stdin().is_terminal();
    let is_one_of = |names: &[&str]| names.iter().any(|name| term.contains(name));
    let kitty = env::var_os("KITTY_WINDOW_ID").is_some() || is_one_of(&["kitty", "ghostty"]);
    let unknown_size = viuer::terminal_size().0 == 0;
    viuer::Config {
        absolute_offset: false,
        width: unknown_size.then_some(COLUMNS),
        use_kitty: answers && kitty,
        use_sixel: answers && is_one_of(&["foot", "mlterm", "contour", "sixel"]),
        ..viuer::Config::default()
    }
}
