//! `actviz insights` on the fake engine: flags, outputs, failures.
#![allow(clippy::panic)]

use std::path::PathBuf;

use actviz::args::{Cli, Command};
use actviz::commands::insights::Subjects;
use actviz::commands::{EXIT_DONE, EXIT_PARTLY, insights};
use actviz::fake::{FakeEngine, FakeNetwork, write_archive};
use actviz::insights::Document;
use actviz::insights::reach::Reach;
use actviz::terminal::{Reporter, Verbosity};
use clap::Parser;

/// A folder with three folds and an image.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a temporary folder"));
        for fold in 1..=3 {
            write_archive(&place.path(&format!("fold_{fold}.pt")), None).expect("a file");
        }
        let noise = |x: u32, y: u32| (x * 97 + y * 57 + x * y * 31) as u8;
        let picture = image::GrayImage::from_fn(64, 64, |x, y| image::Luma([noise(x, y)]));
        picture.save(place.path("cat.png")).expect("a picture");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `actviz insights`; a word that begins with ^ is a name in this place.
    fn insights(&self, flags: &str) -> (anyhow::Result<u8>, String) {
        let all = format!("actviz insights --input-size 64 {flags}");
        let words = all.split_whitespace().map(|word| match word.strip_prefix('^') {
            Some(name) => self.path(name).to_string_lossy().into_owned(),
            None => word.to_owned(),
        });
        let Command::Insights(args) = Cli::try_parse_from(words).expect("flags").command else {
            unreachable!("the first word is insights");
        };
        let engine = FakeEngine(|_: &std::path::Path| {
            Ok(FakeNetwork { channels_out: 4, waves: true, ..FakeNetwork::default() })
        });
        let mut stdout = Vec::new();
        let reporter = Reporter::new(Verbosity::Quiet);
        let code = Subjects::find(&args)
            .map_err(anyhow::Error::from)
            .and_then(|subjects| insights::run(&args, &subjects, &engine, &reporter, &mut stdout));
        (code, String::from_utf8(stdout).expect("UTF-8"))
    }
}

const ALL: &str = "--model ^fold_{fold}.pt ^cat.png";

#[test]
fn pooled_layers_lose_detail_and_see_more() {
    let place = Place::new();
    let (code, text) = place.insights(&format!("{ALL} --json"));
    assert_eq!(code.expect("a code"), EXIT_DONE);
    let document: Document = serde_json::from_str(&text).expect("a document");
    let model = &document.models[0];
    assert_eq!(model.folds, [1, 2, 3]);
    let names: Vec<&str> = model.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["block1.relu", "block2.relu", "block3.relu"]);
    for (depth, layer) in model.layers.iter().enumerate() {
        // The fake's layers are means over squares of 1, 2 and 4 pixels.
        let side = f64::from(1 << depth);
        let Reach::Window(field) = layer.receptive_field else { panic!("{layer:?}") };
        assert_eq!((field.size, field.offset), ([side; 2], [(side - 1.0) / 2.0; 2]));
        assert_eq!(layer.shape, [4, 64 >> depth, 64 >> depth]);
        for fold in &layer.folds {
            assert_eq!(fold.energy_inside.map(|share| share.mean), Some(1.0));
            let (detail, fill) = (fold.detail.expect("detail"), fold.fill.expect("fill"));
            assert!((fill.mean - detail.mean / (32.0 / side)).abs() < 1e-12);
        }
        // The folds are the same network.
        assert!(layer.mean_agreement().is_some_and(|mean| (mean - 1.0).abs() < 1e-12));
    }
    assert!(model.trend.as_ref().is_some_and(|trend| trend.supported), "{:?}", model.trend);
}

#[test]
fn csv_has_a_line_for_each_fold_and_layer() {
    let (code, text) = Place::new().insights(&format!("{ALL} --csv"));
    assert_eq!(code.expect("a code"), EXIT_DONE);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 3 * 3);
    let columns = lines[0].split(',').count();
    assert!(lines.iter().all(|line| line.split(',').count() == columns), "{text}");
    assert!(lines[0].starts_with("model,fold,index,layer,"));
    assert!(lines[9].contains(",3,3,block3.relu,relu,4,16,16,1,"), "{}", lines[9]);
}

#[test]
fn the_table_says_what_the_figures_support() {
    let (code, text) = Place::new().insights(ALL);
    assert_eq!(code.expect("a code"), EXIT_DONE);
    assert!(text.contains("3 folds, 1 image, input 64 x 64"), "{text}");
    let trend = "deeper layers show less detail: supported; detail falls with depth in 3 of 3";
    assert!(text.contains(trend), "{text}");
    assert!(!text.lines().any(|line| line.ends_with(' ')), "{text}");
}

#[test]
fn several_models_stand_side_by_side() {
    let place = Place::new();
    let (code, text) = place.insights("--model ^fold_{fold}.pt --model ^fold_1.pt ^cat.png");
    assert_eq!(code.expect("a code"), EXIT_DONE);
    assert!(text.trim_start().starts_with("model"), "{text}");
    assert!(text.contains("holds for") && text.contains("lose alike"), "{text}");
}

#[test]
fn one_bad_image_is_named_and_the_others_are_measured() {
    let place = Place::new();
    std::fs::write(place.path("bad.png"), "no picture").expect("a file");
    let (code, text) = place.insights(&format!("{ALL} ^bad.png --json"));
    assert_eq!(code.expect("a code"), EXIT_PARTLY);
    let document: Document = serde_json::from_str(&text).expect("a document");
    assert_eq!(document.models[0].images.len(), 1);
    assert!(document.models[0].failed[0].contains("bad.png"), "{:?}", document.models[0].failed);
    let (code, _) = place.insights("--model ^fold_{fold}.pt ^bad.png");
    assert!(code.expect_err("no image").to_string().contains("bad.png"));
}

#[test]
fn the_document_can_be_kept_beside_the_pictures() {
    let place = Place::new();
    let (code, _) = place.insights(&format!("{ALL} --places 0 -o ^out"));
    assert_eq!(code.expect("a code"), EXIT_DONE);
    let kept = Document::read(&place.path("out")).expect("readable").expect("a document");
    assert!(kept.models[0].layers[0].folds[0].effective_field.is_none());
    assert_eq!(Document::read(&place.path("elsewhere")).expect("no error"), None);
}

#[test]
fn names_that_give_orders_are_shown_as_text() {
    let place = Place::new();
    std::fs::create_dir(place.path("\u{1b}[31m")).expect("a folder");
    for fold in 1..=3 {
        let name = format!("fold_{fold}.pt");
        std::fs::copy(place.path(&name), place.path("\u{1b}[31m").join(name)).expect("a file");
    }
    let flags = "--model ^fold_{fold}.pt --model ^\u{1b}[31m/fold_{fold}.pt ^cat.png";
    let (code, stdout) = place.insights(flags);
    assert_eq!(code.expect("insights"), EXIT_DONE);
    assert!(!stdout.contains('\u{1b}') && stdout.contains("\\u{1b}[31m"), "{stdout}");
}
