//! One self-contained page: every failed picture with a slider between what was
//! expected and what came out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{diff_image, diff_image::DiffImage, table};
use crate::compare::{PictureComparison, Report};

/// Pictures on the page at most: it is read by a person, and sent by mail.
const MOST: usize = 500;

/// Pixels from which on a picture has a line of its own.
const WIDE: u32 = 512;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page as text.
pub fn page(report: &Report) -> String {
    let failures = report.failures();
    let folds = failures.iter().filter_map(|p| Some((p.fold?, String::new())));
    let layers = failures
        .iter()
        .filter_map(|p| Some((p.layer_position?, p.layer.clone().unwrap_or_default())));
    let (folds, layers) = (numbered(folds), numbered(layers));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "actviz compare: " (if report.same { "same" } else { "different" }) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (table::summary(report)) }
                p { (report.golden) " → " (report.new) ", profile " (report.profile) }
                (explanations(report))
                @if !failures.is_empty() {
                    form id="filter" {
                        (choice("fold", &folds))
                        (choice("layer", &layers))
                    }
                }
                main {
                    @for picture in failures.iter().take(MOST) { (one(report, picture)) }
                    @if failures.len() > MOST {
                        p { (failures.len() - MOST) " more failed; the worst are shown." }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn explanations(report: &Report) -> Markup {
    html! {
        @if !report.notes.is_empty() || !report.divergence.is_empty() {
            ul {
                @for note in &report.notes {
                    li class=[note.fails.then_some("fails")] { b { (note.about) } " " (note.text) }
                }
                @for fold in &report.divergence { li { (table::divergence(fold)) } }
            }
        }
    }
}

/// Numbers in order, each with the names that it has.
fn numbered(all: impl Iterator<Item = (usize, String)>) -> BTreeMap<usize, BTreeSet<String>> {
    let mut numbered: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (number, name) in all {
        numbered.entry(number).or_default().extend(Some(name).filter(|name| !name.is_empty()));
    }
    numbered
}

fn choice(name: &str, numbers: &BTreeMap<usize, BTreeSet<String>>) -> Markup {
    html! {
        label {
            (name) " "
            select name=(name) {
                option value="" { "all" }
                @for (number, names) in numbers {
                    option value=(number) {
                        (number)
                        @for name in names { " " (name) }
                    }
                }
            }
        }
    }
}

fn one(report: &Report, picture: &PictureComparison) -> Markup {
    let (golden, new) = report.paths(picture);
    let triple = DiffImage::read(&golden, &new);
    let number = |number: Option<usize>| number.map(|number| number.to_string());
    let widths = [&triple.expected, &triple.actual].map(|p| p.as_ref().map_or(0, RgbImage::width));
    // Sheets and grids are read, not only looked at.
    let wide = widths.into_iter().any(|width| width > WIDE);
    html! {
        section data-fold=[number(picture.fold)] data-layer=[number(picture.layer_position)] {
            h2 {
                (picture.file)
                @if let Some(layer) = &picture.layer { " " small { (layer) } }
                " " small.kind { (picture.outcome) }
            }
            p { (picture.reasons.join("; ")) }
            div.pictures.wide[wide] {
                @if let (Some(expected), Some(actual)) = (&triple.expected, &triple.actual) {
                    @if expected.dimensions() == actual.dimensions() {
                        figure {
                            div.both {
                                (img(actual, "actual"))
                                div.expected { (img(expected, "expected")) }
                            }
                            input type="range" min="0" max="100" value="50"
                                aria-label="from actual to expected";
                            figcaption { "expected | actual" }
                        }
                    }
                }
                (figure(triple.expected.as_ref(), "expected"))
                (figure(triple.actual.as_ref(), "actual"))
                (figure(triple.difference.as_ref(), "difference, ten times"))
            }
        }
    }
}

fn figure(picture: Option<&RgbImage>, caption: &str) -> Markup {
    html! {
        figure {
            @match picture {
                Some(picture) => (img(picture, caption)),
                None => div.none { "none" },
            }
            figcaption { (caption) }
        }
    }
}

fn img(picture: &RgbImage, alt: &str) -> Markup {
    let bytes = diff_image::png(picture, Path::new(alt)).unwrap_or_default();
    let source = format!("data:image/png;base64,{}", STANDARD.encode(bytes));
    html! { img src=(source) alt=(alt) width=(picture.width()) height=(picture.height()); }
}
