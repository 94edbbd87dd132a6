//! `actviz compare` and `actviz accept` as CI sees them: every kind of difference,
//! made by a small generator.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use actviz::compare::{self, Allowed, CompareOptions, Outcome, Profile, Tolerances};
use assert_cmd::Command;
use image::{Rgb, RgbImage};
use ndarray::Array2;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::{Value, json};

#[path = "compare/accept.rs"]
mod accept;
#[path = "compare/entry_changes.rs"]
mod entry_changes;
#[path = "compare/files.rs"]
mod files;
#[path = "compare/kinds.rs"]
mod kinds;
#[path = "compare/names.rs"]
mod names;
#[path = "compare/passes.rs"]
mod passes;
#[path = "compare/streams.rs"]
mod streams;
#[path = "compare/targets.rs"]
mod targets;
#[path = "compare/values.rs"]
mod values;

/// Two folders, golden and new, with the same four pictures of two folds.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        for side in ["golden", "new"] {
            for name in ["1_1.png", "1_2.png", "2_1.png", "2_2.png"] {
                place.picture(&format!("{side}/{name}"), |_, _| [10, 20, 30]);
            }
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn picture(&self, name: &str, colour: impl Fn(u32, u32) -> [u8; 3]) {
        self.sized(name, 20, 16, colour);
    }

    fn sized(&self, name: &str, width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        RgbImage::from_fn(width, height, |x, y| Rgb(colour(x, y))).save(file).unwrap();
    }

    fn raw(&self, name: &str, values: &Array2<f32>) {
        ndarray_npy::write_npy(self.path(name), values).unwrap();
    }

    /// A manifest that speaks of the four pictures, changed by `change`.
    fn manifest(&self, side: &str, change: impl Fn(&mut Value)) {
        let picture = |fold: usize, b: usize| {
            json!({"file": format!("{fold}_{b}.png"), "image": 0, "fold": fold, "b": b,
                   "layer": format!("relu{b}"), "operator": "relu", "channels": 4, "height": 8,
                   "width": 8, "reduce": "mean", "low": 0.0, "high": 1.0, "mean": 0.5,
                   "std": 0.1, "zeros": 0.0, "non_finite": 0})
        };
        let mut manifest = json!({
            "schema": 1, "actviz": "0.1.0", "libtorch": "2.13.0", "device": "cpu", "threads": 2,
            "model": "net",
            "options": {"layers": "auto", "reduce": "mean", "scale": "map", "clip": 0.0,
                "view": ["heat"], "alpha": 0.5, "legend": false, "grid_order": "channel",
                "align_folds": false, "consensus": false, "deterministic": false,
                "colormap": "auto", "interpolation": "bilinear", "size": "input",
                "input_size": [20, 16], "resize": "stretch", "mean": [0.0], "std": [1.0]},
            "folds": [{"fold": 1, "file": "a.pt", "sha256": "aaaa"},
                      {"fold": 2, "file": "b.pt", "sha256": "bbbb"}],
            "images": [{"path": "fox.png", "sha256": "cccc"}],
            "pictures": [picture(1, 1), picture(1, 2), picture(2, 1), picture(2, 2)],
        });
        change(&mut manifest);
        fs::write(self.path(side).join("manifest.json"), manifest.to_string()).unwrap();
    }

    fn actviz(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("actviz").unwrap();
        command.current_dir(self.0.path()).args(arguments);
        command.env_remove("CI").env_remove("GITHUB_STEP_SUMMARY");
        // What waits for ever fails; a minute is no claim about speed.
        command.timeout(std::time::Duration::from_secs(60));
        command
    }

    /// `actviz compare golden new FLAGS` gives this exit code and says all of `texts`.
    fn compares(&self, flags: &[&str], code: i32, texts: &[&str]) {
        let mut result = self.actviz(&["compare", "golden", "new"]).args(flags).assert().code(code);
        for text in texts {
            result = result.stdout(contains(*text));
        }
    }
}

#[cfg(unix)]
fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Beyond 5, 5 one pixel is brighter by `by`.
fn brighter(by: u8) -> impl Fn(u32, u32) -> [u8; 3] {
    move |x, y| if (x, y) == (5, 7) { [10, 20 + by, 30] } else { [10, 20, 30] }
}

#[test]
fn equal_pictures_are_the_same_whoever_encoded_them() {
    let place = Place::new();
    place.compares(&[], 0, &["same: 4 pictures, 4 the same"]);
    let picture = image::open(place.path("new/1_1.png")).unwrap();
    let file = fs::File::create(place.path("new/1_1.png")).unwrap();
    let best = image::codecs::png::CompressionType::Best;
    let filter = image::codecs::png::FilterType::Paeth;
    let encoder = image::codecs::png::PngEncoder::new_with_quality(file, best, filter);
    picture.write_with_encoder(encoder).unwrap();
    assert_ne!(
        fs::read(place.path("new/1_1.png")).unwrap(),
        fs::read(place.path("golden/1_1.png")).unwrap()
    );
    place.compares(&[], 0, &["4 the same"]);
}

#[test]
fn one_pixel_is_enough_and_is_told_with_its_place() {
    let place = Place::new();
    place.picture("new/2_1.png", brighter(1));
    place.compares(
        &[],
        1,
        &["DIFFERENT", "2_1.png", "1 of 320 pixels differs", "fold 2 begins to differ at layer 1"],
    );
    place.compares(&["--hard-max", "0"], 1, &["a difference of 1 at (5, 7), limit 0"]);
}

#[test]
fn every_limit_that_is_set_must_hold() {
    let place = Place::new();
    place.picture("new/2_1.png", brighter(9));
    for (flags, code) in [
        (&["--max-abs", "9"][..], 0),
        (&["--max-abs", "8"], 1),
        (&["--max-diff-ratio", "0.0032"], 0),
        (&["--max-diff-ratio", "0.003"], 1),
        (&["--hard-max", "9"], 0),
        (&["--hard-max", "8"], 1),
        (&["--max-diff-ratio", "1", "--hard-max", "8"], 1),
        (&["--max-abs", "2", "--max-diff-ratio", "0.01", "--hard-max", "9"], 0),
        (&["--rmse", "0.3"], 0),
        (&["--rmse", "0.2"], 1),
        (&["--window", "4:1"], 0),
        (&["--window", "4:0"], 1),
    ] {
        place.compares(flags, code, &[]);
    }
}

#[test]
fn a_uniform_shift_does_not_pass_any_profile() {
    let place = Place::new();
    place.picture("new/1_1.png", |_, _| [36, 46, 56]);
    for profile in ["exact", "cross-cpu", "gpu"] {
        place.compares(&["--profile", profile], 1, &["100 %"]);
    }
}

#[test]
fn nothing_compared_is_no_pass_whatever_is_allowed() {
    let place = Place::new();
    for name in ["1_1.png", "1_2.png", "2_1.png", "2_2.png"] {
        fs::write(place.path("golden").join(name), "no picture").unwrap();
        fs::write(place.path("new").join(name), "no picture").unwrap();
    }
    let allowed = ["compare", "golden", "new", "--allow", "unreadable"];
    place.actviz(&allowed).assert().code(2).stderr(contains("nothing could be compared"));
    place.compares(&[], 1, &["no readable PNG"]);
}

#[test]
fn json_stays_json_with_annotations_for_github() {
    let place = Place::new();
    place.picture("new/1_1.png", brighter(9));
    let found = place.actviz(&["compare", "golden", "new", "--json", "--github"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(json["same"], false);
    assert!(
        String::from_utf8_lossy(&found.stderr).contains("::error title=actviz compare::1_1.png")
    );
}

#[test]
fn a_quiet_comparison_prints_only_what_was_asked_for() {
    let place = Place::new();
    place.picture("new/1_1.png", brighter(9));
    let quiet = |flags: &[&str]| {
        let said = place.actviz(&["compare", "-q", "golden", "new"]).args(flags).assert().code(1);
        String::from_utf8(said.get_output().stdout.clone()).unwrap()
    };
    assert_eq!(quiet(&[]), "");
    assert!(quiet(&["--json"]).starts_with('{'));
    assert!(quiet(&["--github"]).starts_with("::error"));
}

#[test]
fn missing_extra_unreadable_empty_and_resized_pictures_fail_unless_allowed() {
    let place = Place::new();
    fs::remove_file(place.path("new/1_1.png")).unwrap();
    place.picture("new/3_1.png", |_, _| [0; 3]);
    fs::write(place.path("new/1_2.png"), "no picture").unwrap();
    fs::write(place.path("new/2_1.png"), "").unwrap();
    place.sized("new/2_2.png", 16, 20, |_, _| [10, 20, 30]);
    // Something must be compared.
    for side in ["golden", "new"] {
        place.picture(&format!("{side}/4_1.png"), |_, _| [10, 20, 30]);
    }
    let texts = [
        "it is missing in NEW",
        "it is not in GOLDEN",
        "no readable PNG",
        "the file in NEW is empty",
        "GOLDEN has 20 x 16 pixels, NEW 16 x 20",
    ];
    place.compares(&[], 1, &texts);
    place.compares(&["--allow", "missing,extra,unreadable,empty,size"], 0, &["1 missing"]);
    for left_out in ["missing", "extra", "unreadable", "empty", "size"] {
        let all = ["missing", "extra", "unreadable", "empty", "size"];
        let rest: Vec<&str> = all.into_iter().filter(|allowed| *allowed != left_out).collect();
        place.compares(&["--allow", &rest.join(",")], 1, &[]);
    }
}

#[test]
fn two_broken_files_are_not_the_same_because_they_are_equal() {
    let place = Place::new();
    for bytes in [&b""[..], b"no picture"] {
        for side in ["golden", "new"] {
            fs::write(place.path(side).join("1_1.png"), bytes).unwrap();
        }
        place.compares(&[], 1, &["1_1.png"]);
    }
}

#[test]
fn nothing_to_compare_is_an_error() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    place.picture("other/9_9.png", |_, _| [0; 3]);
    for (golden, new) in [
        ("golden", "empty"),
        ("empty", "empty"),
        ("golden", "other"),
        ("golden", "gone"),
        ("golden", "new/1_1.png"),
    ] {
        place.actviz(&["compare", golden, new]).assert().code(2).stderr(contains("error"));
    }
}

#[test]
fn two_files_are_a_pair_whatever_they_are_called() {
    let place = Place::new();
    place.actviz(&["compare", "golden/1_1.png", "new/2_2.png"]).assert().code(0);
    place.picture("new/2_2.png", brighter(40));
    place.actviz(&["compare", "golden/1_1.png", "new/2_2.png"]).assert().code(1);
}

#[test]
fn raw_maps_are_compared_as_numpy_does() {
    let place = Place::new();
    let values = Array2::from_elem((2, 3), 100.0f32);
    place.raw("golden/1_1.npy", &values);
    place.raw("new/1_1.npy", &values.mapv(|value| value + 0.5));
    place.compares(&[], 1, &["6 of 6 raw values are beyond rtol 0, atol 0"]);
    place.compares(&["--rtol", "0.01"], 0, &["same"]);
    place.compares(&["--atol", "0.5"], 0, &["same"]);
    place.compares(&["--atol", "0.4"], 1, &[]);
    place.raw("new/1_1.npy", &Array2::zeros((3, 3)));
    place.compares(&["--atol", "1000"], 1, &["shape [2, 3] in GOLDEN, [3, 3] in NEW"]);
    fs::write(place.path("new/1_1.npy"), "x").unwrap();
    place.compares(&["--atol", "1000"], 1, &["raw map in NEW cannot be read"]);
    place.actviz(&["compare", "golden/1_1.npy", "golden/1_1.npy"]).assert().code(0);
}

#[test]
fn another_layer_at_the_same_place_fails_though_no_pixel_differs() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |_| {});
    place.compares(&[], 0, &[]);
    place.manifest("new", |manifest| manifest["pictures"][1]["layer"] = json!("gelu"));
    place.compares(&[], 1, &["layer 2 was relu2, is gelu in fold 1"]);
}

#[test]
fn what_explains_a_difference_is_said_first_and_does_not_fail_by_itself() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |manifest| {
        manifest["folds"][1]["sha256"] = json!("dddd");
        manifest["images"][0]["sha256"] = json!("eeee");
        manifest["device"] = json!("cuda:0");
        manifest["threads"] = json!(8);
        manifest["libtorch"] = json!("2.14.0");
        manifest["options"]["scale"] = json!("folds");
    });
    let texts = [
        "fold 2: b.pt has SHA-256 bbbb -> dddd",
        "fox.png has SHA-256 cccc -> eeee",
        "device cpu -> cuda:0",
        "threads 2 -> 8",
        "libtorch 2.13.0 -> 2.14.0",
        "option scale: \"map\" -> \"folds\"",
    ];
    place.compares(&[], 0, &texts);
}

#[test]
fn a_picture_that_only_the_manifests_know_is_missing() {
    let place = Place::new();
    for side in ["golden", "new"] {
        place.manifest(side, |manifest| {
            manifest["sheets"] = json!([{"file": "sheet.png", "image": 0}]);
        });
        fs::remove_file(place.path(side).join("2_2.png")).unwrap();
    }
    place.compares(&[], 1, &["2_2.png", "sheet.png", "2 missing"]);
}

#[test]
fn a_damaged_manifest_fails() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    fs::write(place.path("new/manifest.json"), "{").unwrap();
    place.compares(&[], 1, &["manifest  NEW:"]);
}

#[test]
fn the_first_layer_that_differs_is_named_for_every_fold() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |_| {});
    place.picture("new/1_2.png", brighter(40));
    place.picture("new/2_1.png", brighter(9));
    place.picture("new/2_2.png", brighter(90));
    let texts = [
        "fold 1 begins to differ at layer 2 (relu2): RMSE 1.29",
        "fold 2 begins to differ at layer 1 (relu1): RMSE 0.29, 2.90",
    ];
    place.compares(&[], 1, &texts);
    let json = place.actviz(&["compare", "golden", "new", "--json"]).output().unwrap().stdout;
    let document: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(document["same"], false);
    assert_eq!(document["divergence"][1]["first"], 1);
    assert_eq!(document["pictures"].as_array().unwrap().len(), 4);
    assert_eq!(document["pictures"][1]["measured"]["at"], json!([5, 7]));
    fs::remove_file(place.path("new/1_1.png")).unwrap();
    let text = "fold 1 begins to differ at layer 2 (relu2), or before: not all of layer 1 was \
                compared: RMSE 1.29";
    place.compares(&["--allow", "missing"], 1, &[text]);
}

#[test]
fn the_worst_picture_comes_first() {
    let place = Place::new();
    place.picture("new/1_1.png", brighter(3));
    place.picture("new/2_2.png", brighter(200));
    let said = place.actviz(&["compare", "golden", "new"]).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.find("2_2.png").unwrap() < said.find("1_1.png").unwrap(), "{said}");
}

#[test]
fn reports_are_written_for_machines_and_people() {
    let place = Place::new();
    place.manifest("golden", |manifest| {
        manifest["pictures"][3]["layer"] = json!("<script>alert(1)</script>");
    });
    place.manifest("new", |manifest| {
        manifest["pictures"][3]["layer"] = json!("<script>alert(1)</script>");
    });
    place.picture("new/2_2.png", brighter(25));
    fs::remove_file(place.path("new/1_1.png")).unwrap();
    let flags =
        ["--junit", "r/junit.xml", "--html", "r/page.html", "--diff-dir", "diff", "--github"];
    place
        .actviz(&["compare", "golden", "new"])
        .args(flags)
        .env("GITHUB_STEP_SUMMARY", place.path("summary.md"))
        .assert()
        .code(1)
        .stdout(contains("::error title=actviz compare::1_1.png (missing): it is missing in NEW"));

    let junit = fs::read_to_string(place.path("r/junit.xml")).unwrap();
    assert!(junit.contains("tests=\"4\"") && junit.contains("failures=\"2\""), "{junit}");
    let page = fs::read_to_string(place.path("r/page.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"));
    assert!(!page.contains("http"), "nothing leaves the page");
    let summary = fs::read_to_string(place.path("summary.md")).unwrap();
    assert!(summary.contains("| 1\\_1.png |"), "{summary}");

    // Expected, actual, and ten times the difference, with gaps of 8.
    let triple = image::open(place.path("diff/2_2.png")).unwrap().into_rgb8();
    assert_eq!(triple.dimensions(), (3 * 20 + 2 * 8, 16));
    assert_eq!(triple.get_pixel(28 + 5, 7), &Rgb([10, 45, 30]));
    assert_eq!(triple.get_pixel(56 + 5, 7), &Rgb([0, 250, 0]));
    assert_eq!(triple.get_pixel(56 + 6, 7), &Rgb([0, 0, 0]));
    // Only one side is there: its place tells which.
    let triple = image::open(place.path("diff/1_1.png")).unwrap().into_rgb8();
    assert_eq!(triple.dimensions(), (3 * 20 + 2 * 8, 16));
    assert_eq!(triple.get_pixel(5, 5), &Rgb([10, 20, 30]));
    assert_eq!(triple.get_pixel(28 + 5, 5), &Rgb([255; 3]));
    assert_eq!(triple.get_pixel(28 + 9, 5), &Rgb([224; 3]));
}

fn outcome_of(golden: &Path, new: &Path, question: &CompareOptions) -> Option<(bool, Outcome)> {
    let report = compare::compare(golden, new, question).ok()?;
    Some((report.same, report.pictures[0].outcome))
}

/// A small generator of numbers, so that every run of the tests is the same.
struct Chance(u64);

impl Chance {
    /// Below `end`. Marsaglia's xorshift (J. Stat. Softw. 8(14), 2003).
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn whichever_side_comes_first_the_answer_is_the_same() {
    let place = Place::new();
    let mut chance = Chance(20);
    let (golden, new) = (place.path("golden/1_1.png"), place.path("new/1_1.png"));
    for _ in 0..200 {
        let spots: Vec<(u32, u32, u8)> = (0..chance.below(6))
            .map(|_| (chance.below(20) as u32, chance.below(16) as u32, chance.below(256) as u8))
            .collect();
        place.picture("new/1_1.png", |x, y| {
            let spot = spots.iter().find(|spot| (spot.0, spot.1) == (x, y));
            [10, spot.map_or(20, |spot| spot.2), 30]
        });
        let limits = Tolerances { max_abs: Some(chance.below(200) as u8), ..Tolerances::default() };
        let question = CompareOptions { limits, ..CompareOptions::default() };
        assert_eq!(outcome_of(&new, &new, &question), Some((true, Outcome::Same)));
        let there = compare::compare(&golden, &new, &question).unwrap();
        let back = compare::compare(&new, &golden, &question).unwrap();
        assert_eq!(there.pictures[0].measured, back.pictures[0].measured);
        assert_eq!(there.pictures[0].reasons, back.pictures[0].reasons);
    }
}

/// Ten thousand random changes of PNG files: none panics, and none passes as the same
/// unless it decodes to the same pixels.
#[test]
fn no_mutation_of_a_picture_passes_with_other_pixels() {
    let place = Place::new();
    place.picture("golden/1_1.png", |x, y| [x as u8 * 12, y as u8 * 16, (x * y) as u8]);
    let whole = fs::read(place.path("golden/1_1.png")).unwrap();
    let expected = image::load_from_memory(&whole).unwrap().into_rgba8();
    let (golden, new) = (place.path("golden/1_1.png"), place.path("new/1_1.png"));
    let mut chance = Chance(4);
    let (mut passed, mut failed) = (0, 0);
    for _ in 0..10_000 {
        let mut bytes = whole.clone();
        for _ in 0..=chance.below(3) {
            let at = chance.below(bytes.len());
            match chance.below(4) {
                0 => bytes[at] ^= 1 << chance.below(8),
                1 => bytes[at] = chance.below(256) as u8,
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, chance.below(256) as u8),
            }
        }
        fs::write(&new, &bytes).unwrap();
        let (same, outcome) = outcome_of(&golden, &new, &CompareOptions::default()).unwrap();
        if same {
            let decoded = image::load_from_memory(&bytes).unwrap().into_rgba8();
            assert_eq!(decoded, expected, "{outcome:?}");
            passed += 1;
        } else {
            failed += 1;
        }
    }
    assert!(passed > 0 && failed > 5_000, "{passed} passed, {failed} failed");
}

#[test]
fn no_mutation_of_a_manifest_ends_in_a_panic() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    let whole = fs::read(place.path("golden/manifest.json")).unwrap();
    let mut chance = Chance(9);
    for _ in 0..2_000 {
        let mut bytes = whole.clone();
        for _ in 0..=chance.below(3) {
            let at = chance.below(bytes.len());
            match chance.below(3) {
                0 => bytes[at] = chance.below(256) as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"0{}[],:\"-e9"[chance.below(11)]),
            }
        }
        fs::write(place.path("new/manifest.json"), &bytes).unwrap();
        let question =
            CompareOptions { allowed: vec![Allowed::Missing], ..CompareOptions::default() };
        let report = compare::compare(&place.path("golden"), &place.path("new"), &question);
        // A manifest may name pictures that are nowhere; that fails, or is forgiven.
        assert!(report.unwrap().pictures.len() >= 4);
    }
}

#[test]
fn profiles_widen_from_exact_to_gpu() {
    let place = Place::new();
    // One of 320 pixels by a step of viridis.
    place.picture("new/1_1.png", brighter(2));
    place.compares(&["--profile", "exact"], 1, &[]);
    place.compares(&["--profile", "cross-cpu"], 0, &["1 within the limits"]);
    place.compares(&["--profile", "gpu"], 0, &[]);
    let of = |profile: Profile| profile.limits(Some(actviz::colormap::Colormap::Viridis));
    assert!(of(Profile::CrossCpu).hard_max < of(Profile::Gpu).hard_max);
}
