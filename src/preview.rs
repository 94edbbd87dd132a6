//! A picture in the terminal: kitty, iTerm, or half blocks, whichever it can.

use std::io::{IsTerminal, stdout};

use crate::picture::Rgb;
use crate::talk::Talk;

/// Shows a picture, if standard output is a terminal.
pub fn show(picture: &Rgb, talk: &Talk) {
    if !stdout().is_terminal() {
        talk.warn("--preview needs a terminal; standard output is none");
        return;
    }
    let (width, height) = (picture.width as u32, picture.height as u32);
    let Some(image) = image::RgbImage::from_raw(width, height, picture.pixels.clone()) else {
        return;
    };
    let config = viuer::Config { absolute_offset: false, ..viuer::Config::default() };
    if let Err(error) = viuer::print(&image::DynamicImage::from(image), &config) {
        talk.warn(format!("the terminal cannot show the sheet: {error}"));
    }
}
