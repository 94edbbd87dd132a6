//! The binary on real networks: what a user types, and what comes out.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actviz::bundle::Assumed;
use actviz::engine::Engine;
use actviz::manifest::Manifest;
use actviz::worker::{WorkerConfig, WorkerEngine};
use assert_cmd::Command;
use ndarray::Array2;
use ndarray_npy::read_npy;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

/// An empty folder to run in, with this checkout's bundles.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn actviz(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("actviz").unwrap();
        command.current_dir(self.0.path()).env("ACTVIZ_MODELS", checkout("models"));
        command.args(arguments);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn copy(&self, from: PathBuf, to: &str) -> &Place {
        fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
        fs::copy(from, self.path(to)).unwrap();
        self
    }

    /// The files below a folder here, sorted.
    fn files(&self, folder: &str) -> Vec<String> {
        let mut files: Vec<String> = fs::read_dir(self.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        files
    }

    /// The command fails with code 2, says all of `texts`, shows no trace of C++ or of
    /// a panic, and writes nothing.
    fn refuses(&self, arguments: &[&str], texts: &[&str]) {
        let before = self.files(".");
        let mut result = self.actviz(arguments).assert().code(2).stdout("");
        for text in texts {
            result = result.stderr(contains(*text));
        }
        let trace = contains("Exception raised").or(contains("frame #")).or(contains("panicked"));
        result.stderr(trace.not());
        assert_eq!(self.files("."), before);
    }
}

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn fixture(name: &str) -> String {
    checkout("tests/fixtures/cases").join(name).to_string_lossy().into_owned()
}

fn image(name: &str) -> String {
    checkout("examples/images").join(name).to_string_lossy().into_owned()
}

fn manifest(folder: &Path) -> Manifest {
    Manifest::read(folder).unwrap().unwrap()
}

#[test]
fn a_bundle_is_rendered_with_its_own_sample_and_layers() {
    let place = Place::new();
    place.actviz(&["render", "--model", "cnn9", "--folds", "3"]).assert().success().stdout("");
    let mut expected: Vec<String> =
        (1..=3).flat_map(|a| (1..=3).map(move |b| format!("{a}_{b}.png"))).collect();
    expected.push("manifest.json".to_owned());
    assert_eq!(place.files("actviz-out"), expected);
    for picture in manifest(&place.path("actviz-out")).pictures {
        let size = image::image_dimensions(place.path("actviz-out").join(&picture.file)).unwrap();
        assert_eq!(size, (64, 64));
        assert_eq!(picture.layer, format!("relu{}", picture.layer_position));
        assert!(picture.low < picture.high && picture.zeros < 1.0, "{picture:?}");
    }
}

#[test]
fn resnet50_gives_ten_pictures_a_fold_and_all_49_on_request() {
    let place = Place::new();
    place.actviz(&["render", "--model", "resnet50", "--folds", "3"]).assert().success();
    let found = manifest(&place.path("actviz-out"));
    assert_eq!(found.pictures.len(), 30);
    let of_fold_2: Vec<&str> =
        found.pictures.iter().filter(|p| p.fold == 2).map(|p| p.layer.as_str()).collect();
    assert_eq!(of_fold_2[0], "relu");
    assert_eq!(of_fold_2[9], "layer4.2.relu_2");
    let all = ["render", "--model", "resnet50", "--fold", "2", "--layers", "all", "-o", "all"];
    place.actviz(&all).assert().success();
    assert_eq!(manifest(&place.path("all")).pictures.len(), 49);
}

#[test]
fn maps_can_be_had_as_numbers() {
    let place = Place::new();
    let arguments = ["render", "-m", "cnn9", "--fold", "1", "--raw", "--size", "100", "-o", "o"];
    place.actviz(&arguments).assert().success();
    for picture in manifest(&place.path("o")).pictures {
        let map: Array2<f32> = read_npy(place.path("o").join(picture.raw.unwrap())).unwrap();
        assert_eq!(map.dim(), (picture.height, picture.width));
        let mean = map.iter().map(|&v| f64::from(v)).sum::<f64>() / map.len() as f64;
        assert!((mean - f64::from(picture.mean)).abs() <= 1e-6 * mean.abs(), "{mean}");
        let largest = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(largest, picture.high);
        let size = image::image_dimensions(place.path("o").join(&picture.file)).unwrap();
        assert_eq!(size, (100, 100));
    }
}

#[test]
fn a_pattern_of_files_is_folds_that_are_numbered_as_the_files_are() {
    let place = Place::new();
    for fold in 0..=1 {
        let file = checkout("models/cnn9").join(format!("fold_{}.pt", fold + 1));
        place.copy(file, &format!("runs/net{fold}.pt"));
        let file = checkout("models/cnn9").join(format!("fold_{}.pt", fold + 1));
        place.copy(file, &format!("padded/net{fold:02}.pt"));
    }
    let fox = image("fox.png");
    for (pattern, out) in [("runs/net{fold}.pt", "a"), ("padded/net{fold:02}.pt", "b")] {
        let said = ["render", "-m", pattern, "--input-size", "64", "-o", out, &fox];
        place.actviz(&said).assert().success();
        let manifest = manifest(&place.path(out));
        assert_eq!(manifest.folds.iter().map(|fold| fold.fold).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(manifest.options.assumed, [Assumed::Mean, Assumed::Std]);
        assert_eq!(
            place.files(out),
            ["0_1.png", "0_2.png", "0_3.png", "1_1.png", "1_2.png", "1_3.png", "manifest.json"]
        );
    }
    let one = ["render", "-m", "runs/net{fold}.pt", "--fold", "0", "-o", "c", "--input-size", "64"];
    place.actviz(&one).arg(&fox).assert().success();
    assert!(place.files("c").iter().all(|file| !file.starts_with('1')));
}

/// They would agree on everything, and it would say nothing.
#[test]
fn folds_that_are_one_file_have_no_agreement() {
    let place = Place::new();
    for (fold, own) in [(1, 1), (2, 1), (3, 2)] {
        let file = checkout("models/cnn9").join(format!("fold_{own}.pt"));
        place.copy(file, &format!("runs/net{fold}.pt"));
    }
    let fox = image("fox.png");
    let flags = ["-m", "runs/net{fold}.pt", "--input-size", "64", "-o", "o", &fox];
    let told = || contains("folds 1 and 2 are the same file");
    place.actviz(&["render", "--consensus"]).args(flags).assert().success().stderr(told());
    for agreement in manifest(&place.path("o")).agreement {
        let pairs = &agreement.spearman;
        assert!(pairs[0][1].is_none() && pairs[1][0].is_none(), "{pairs:?}");
        assert!(pairs[0][2].is_some() && pairs[0][0].is_some(), "{pairs:?}");
    }
    place.actviz(&["insights", "--places", "0"]).args(flags).assert().success().stderr(told());
    let text = fs::read(place.path("o/insights.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let layers = document["models"][0]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for layer in layers {
        assert!(layer["agreement"][0][1].is_null() && layer["agreement"][1][0].is_null());
        assert!(layer["agreement"][0][2].is_number() && layer["agreement"][0][0].is_number());
    }
}

#[test]
fn one_bad_image_does_not_stop_the_rest() {
    let place = Place::new();
    fs::write(place.path("zero.png"), "").unwrap();
    fs::write(place.path("text.jpg"), "hello").unwrap();
    let whole = fs::read(image("fox.png")).unwrap();
    fs::write(place.path("cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(place.path("fox.png"), &whole).unwrap();
    fs::copy(image("parrot.png"), place.path("parrot.png")).unwrap();
    let images = ["zero.png", "fox.png", "text.jpg", "cut.png", "gone.png", "parrot.png"];
    place
        .actviz(&["render", "-m", "cnn9", "-o", "o"])
        .args(images)
        .assert()
        .code(1)
        .stderr(contains("zero.png: the file is empty"))
        .stderr(contains("text.jpg").and(contains("cut.png")).and(contains("gone.png")))
        .stderr(contains("panicked").not());
    assert_eq!(place.files("o"), ["fox", "manifest.json", "parrot"]);
    assert_eq!(place.files("o/fox").len(), 9);
    assert_eq!(manifest(&place.path("o")).failed.len(), 4);
    place.refuses(&["render", "-m", "cnn9", "-o", "p", "zero.png", "cut.png"], &["zero.png"]);
}

/// A BMP that says of itself that it is 0 pixels wide and high.
#[test]
fn a_picture_without_pixels_is_refused() {
    let place = Place::new();
    let mut bytes = b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bytes.extend([0; 8]);
    bytes.extend([1, 0, 24, 0]);
    bytes.resize(54, 0);
    fs::write(place.path("none.bmp"), bytes).unwrap();
    place.refuses(&["render", "-m", "cnn9", "none.bmp"], &["none.bmp"]);
}

#[test]
fn what_the_network_cannot_take_is_told_with_what_to_do() {
    let place = Place::new();
    let fox = image("fox.png");
    let no_activations = fixture("no_activations.pt");
    place.refuses(&["render", "-m", &no_activations, &fox], &["no activation layer", "relu"]);
    let classifier = fixture("classifier.scripted.pt");
    let small = ["render", "-m", &classifier, "--input-size", "1", &fox];
    place.refuses(&small, &["3x1x1", "too small", "--input-size"]);
    let mean = ["render", "-m", &classifier, "--mean", "0.5,0.5", &fox];
    place.refuses(&mean, &["--mean has 2 numbers", "one for each"]);
    let two_inputs = fixture("two_inputs.pt");
    place.refuses(&["render", "-m", &two_inputs, &fox], &["another input", "mask", "script"]);
    // 224 x 224 is assumed; this network's linear layer wants another size.
    place.refuses(&["render", "-m", &classifier, &fox], &["3x224x224", "--input-size"]);
}

/// tests/fixtures/make_kinds.py makes them.
#[test]
fn networks_that_no_picture_fits_are_told_what_they_are() {
    let place = Place::new();
    let fox = image("fox.png");
    for (name, size, texts) in [
        ("flat", "16", &["256 values, 16 x 16 of one channel", "--input-size 16"][..]),
        ("fixed_batch", "32", &["a batch of 4"]),
        ("sequence", "32", &["sequences (N, C, L)"]),
        ("tokens", "32", &["takes tokens"]),
        ("last_channel", "32", &["x.permute(0, 2, 3, 1)"]),
        ("no_forward", "32", &["forward"]),
        ("quantised_lstm", "32", &["torch.classes.rnn", "quantised"]),
        ("for_inference", "32", &["optimize_for_inference"]),
        ("for_mobile", "32", &["optimize_for_mobile"]),
    ] {
        let file = checkout("tests/fixtures/kinds").join(format!("{name}.pt"));
        let file = file.to_string_lossy();
        place.refuses(&["render", "-m", &file, "--input-size", size, &fox], texts);
    }
}

#[test]
fn an_input_that_no_memory_holds_is_told_as_such() {
    let place = Place::new();
    // 480 GB, and more than can be counted.
    for size in ["200000", "4000000000"] {
        for command in ["layers", "render"] {
            let arguments = [command, "-m", "cnn9", "--input-size", size];
            let result = place.actviz(&arguments).assert().code(75).stdout("");
            result.stderr(contains("out of memory on cpu").and(contains("panicked").not()));
        }
    }
}

#[test]
fn a_bundle_that_promises_other_channels_than_the_network_has_is_refused() {
    let place = Place::new();
    let gray = fixture("gray.scripted.pt");
    place.copy(gray.into(), "bundle/fold_1.pt");
    let model = r#"{"schema": 1, "name": "bundle",
        "input": {"channels": 3, "width": 6, "height": 6, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "folds": [{"file": "fold_1.pt", "sha256": ""}]}"#;
    fs::write(place.path("bundle/model.json"), model).unwrap();
    place.refuses(
        &["render", "-m", "bundle", &image("fox.png")],
        &["takes 1 channels", "model.json says 3"],
    );
}

#[test]
fn what_is_no_network_is_told_by_what_it_is() {
    let place = Place::new();
    let state = fixture("state_dict.pt");
    place.refuses(&["layers", "-m", &state], &["torch.save", "torch.jit.script(model.eval())"]);
    let whole = fs::read(fixture("residual.scripted.pt")).unwrap();
    for part in [1, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(place.path("cut.pt"), &whole[..part]).unwrap();
        place.refuses(&["layers", "-m", "cut.pt"], &["cut.pt"]);
    }
}

#[test]
fn a_weight_that_is_not_what_was_saved_is_found() {
    let place = Place::new();
    let mut bytes = fs::read(checkout("tests/fixtures/insights/one_blur.pt")).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
    let weights = archive.by_name("one_blur/data/0").unwrap().data_start().unwrap();
    bytes[usize::try_from(weights).unwrap() + 2] ^= 1;
    fs::write(place.path("bit.pt"), bytes).unwrap();
    place.refuses(&["layers", "-m", "bit.pt"], &["bit.pt", "its data/0 is damaged", "SHA-256"]);
}

#[test]
fn libtorch_s_own_words_are_for_v() {
    let place = Place::new();
    let (classifier, fox) = (fixture("classifier.scripted.pt"), image("fox.png"));
    place
        .actviz(&["render", "-v", "-m", &classifier, "--input-size", "1", &fox])
        .assert()
        .code(2)
        .stderr(contains("TorchScript interpreter"));
}

#[test]
fn an_output_folder_that_cannot_be_made_is_named_and_no_network_is_run() {
    let place = Place::new();
    fs::write(place.path("file"), "x").unwrap();
    place.refuses(&["render", "-m", "cnn9", "-o", "file"], &["file is a file, not a folder"]);
    place.refuses(&["render", "-m", "cnn9", "-o", "file/deeper"], &["file/deeper"]);
    fs::create_dir(place.path("other")).unwrap();
    fs::write(place.path("other/thesis.tex"), "x").unwrap();
    place.refuses(&["render", "-m", "cnn9", "-o", "other"], &["thesis.tex", "--force"]);
    place.actviz(&["render", "-m", "cnn9", "-o", "other", "--force"]).assert().success();
    assert_eq!(fs::read(place.path("other/thesis.tex")).unwrap(), b"x");
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    place
        .actviz(&["render", "-m", "cnn9", "--dry-run"])
        .assert()
        .success()
        .stdout(contains("actviz-out/3_3.png"));
    assert!(place.files(".").is_empty());
}

#[test]
fn layers_are_listed_for_people_and_for_scripts() {
    let place = Place::new();
    let listed = place.actviz(&["layers", "--model", "cnn9"]).assert().success();
    listed.stdout(contains("relu1").and(contains("16 x 64 x 64")).and(contains("*")));
    let json = place.actviz(&["layers", "--model", "cnn9", "--json"]).output().unwrap().stdout;
    let document: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(document["folds"], serde_json::json!([1, 2, 3]));
    let layers = document["layers"].as_array().unwrap();
    let column = |name: &str| layers.iter().map(|layer| layer[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("index"), [1, 2, 3, 4]);
    assert_eq!(column("spatial"), [true, true, true, false]);
    assert_eq!(column("default"), [true, true, true, false]);
    // 5 x 5 x 3 weights and a bias for each of 16 filters.
    assert_eq!(layers[0]["parameters"], 16 * (5 * 5 * 3 + 1));
}

#[test]
fn a_vector_is_drawn_only_if_asked_for() {
    let place = Place::new();
    place.actviz(&["render", "-m", "cnn9", "-l", "relu4", "-o", "o"]).assert().success();
    let found = manifest(&place.path("o"));
    assert_eq!(found.pictures.len(), 3);
    // 64 numbers, laid out as near to a square as they go.
    assert_eq!((found.pictures[0].height, found.pictures[0].width), (8, 8));
}

#[test]
fn folds_that_differ_are_refused_with_the_first_difference() {
    let place = Place::new();
    for (fold, name) in [(1, "residual.scripted.pt"), (2, "nested.scripted.pt")] {
        place.copy(fixture(name).into(), &format!("runs/fold_{fold}.pt"));
    }
    let network = ["-m", "runs/fold_{fold}.pt", "--input-size", "8"];
    let difference = "folds 1 and 2 differ at activation layer 1: relu";
    place.refuses(&[&["layers"], &network[..]].concat(), &[difference, "custom.relu"]);
    // The fold that came first is drawn all the same.
    place
        .actviz(&[&["render"], &network[..], &[&image("fox.png")]].concat())
        .assert()
        .code(1)
        .stderr(contains(difference));
    let found = manifest(&place.path("actviz-out"));
    assert!(found.pictures.iter().all(|picture| picture.fold == 1));
    assert_eq!(found.failed[0].fold, Some(2));
}

#[test]
fn doctor_verifies_the_bundles() {
    let place = Place::new();
    let text = contains("libtorch        2.13.0").and(contains("cnn9: 3 folds, SHA-256 verified"));
    place.actviz(&["doctor"]).assert().success().stdout(text);
    place.copy(checkout("models/cnn9/model.json"), "models/cnn9/model.json");
    for fold in 1..=3 {
        let file = checkout("models/cnn9").join(format!("fold_{fold}.pt"));
        place.copy(file, &format!("models/cnn9/fold_{fold}.pt"));
    }
    let file = place.path("models/cnn9/fold_2.pt");
    let mut bytes = fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    fs::write(&file, bytes).unwrap();
    place
        .actviz(&["doctor"])
        .env_remove("ACTVIZ_MODELS")
        .assert()
        .code(1)
        .stdout(contains("models/cnn9/fold_2.pt: SHA-256 is"));
}

/// Held on machines without CUDA, as CI's.
#[test]
fn cuda_that_is_not_there_says_what_to_install() {
    let engine = WorkerEngine::start(WorkerConfig::find().unwrap()).unwrap().ready().unwrap();
    if !engine.runtime().cuda.starts_with("not available") {
        eprintln!("skipped: CUDA is there");
        return;
    }
    Place::new().refuses(
        &["render", "-m", "cnn9", "--device", "cuda"],
        &["device cuda:0 cannot be used", "pip install torch==2.13.0", "LIBTORCH_USE_PYTORCH=1"],
    );
}

/// In a terminal that answers no question, as under a CI that gives its jobs one.
#[test]
#[cfg(target_os = "linux")]
fn a_preview_is_shown_in_a_terminal_and_waits_for_no_answer_of_it() {
    let place = Place::new();
    let binary = env!("CARGO_BIN_EXE_actviz");
    let line = format!("{binary} render --model cnn9 --fold 1 --preview --force");
    for (term, blocks) in [("xterm-256color", true), ("xterm-kitty", true), ("dumb", false)] {
        let mut terminal = Command::new("script");
        terminal.args(["--quiet", "--return", "--command", &line, "typescript"]);
        terminal.current_dir(place.0.path()).env("ACTVIZ_MODELS", checkout("models"));
        terminal.env("TERM", term).env_remove("KITTY_WINDOW_ID").env_remove("TERM_PROGRAM");
        let shown = terminal.timeout(Duration::from_secs(300)).assert().success();
        let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
        assert_eq!(shown.contains('▄'), blocks, "{term}");
        assert_eq!(
            shown.contains("--preview needs a terminal that shows colours"),
            !blocks,
            "{term}"
        );
    }
}
