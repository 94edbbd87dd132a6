//! The binary as a shell sees it: streams, exit codes, and what errors must name (texts.rs has
//! the whole texts). None of these tests runs a network, so all of them hold without libtorch too.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

fn actviz() -> Command {
    let mut command = Command::cargo_bin("actviz").expect("the binary");
    command.env_remove("ACTVIZ_MODELS");
    command
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn zip(file: &Path, entries: &[&str]) -> PathBuf {
    let mut archive = zip::ZipWriter::new(fs::File::create(file).expect("a file"));
    for entry in entries {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(*entry, options).expect("an entry");
        archive.write_all(&[7; 512]).expect("bytes");
    }
    archive.finish().expect("a zip");
    file.to_owned()
}

/// `actviz layers --model FILE` fails with code 2, says all of `texts`, and shows no
/// trace of C++ or of a panic.
fn refuses(model: &Path, texts: &[&str]) {
    let mut command = actviz();
    let mut result = command.arg("layers").arg("--model").arg(model).assert().code(2).stdout("");
    for text in texts {
        result = result.stderr(contains(*text));
    }
    result.stderr(contains("Exception").or(contains("panicked")).not());
}

#[test]
fn wrong_flags_are_usage_errors() {
    for flags in [
        &["render"][..],
        &["render", "--model", "x", "--reduce", "median"],
        &["render", "--model", "x", "--size", "0"],
        &["render", "--model", "x", "--layers", "every:0"],
        &["render", "--model", "x", "--device", "gpu"],
        &["layers", "--model", "x", "--input-size", "12x"],
        &["layers", "--model", "x", "--threads", "0"],
        &["layers", "-q", "-v", "--model", "x"],
        &["layers", "--model", "x", "--max-memory", "100M"],
    ] {
        // Not for the model, which is not there either.
        let told = contains("error").and(contains("there is no model").not());
        actviz().args(flags).assert().code(2).stderr(told);
    }
}

#[test]
fn an_unknown_model_lists_those_that_exist() {
    let place = folder();
    fs::create_dir_all(place.path().join("fox")).expect("a folder");
    fs::write(place.path().join("fox/model.json"), "{}").expect("a file");
    actviz()
        .env("ACTVIZ_MODELS", place.path())
        .args(["layers", "--model", "wolf"])
        .assert()
        .code(2)
        .stderr(contains("there is no model named wolf").and(contains("fox")));
}

#[test]
fn a_missing_fold_file_is_named() {
    let place = folder();
    actviz::fake::write_archive(&place.path().join("fold_1.pt"), None).expect("a file");
    let pattern = place.path().join("fold_{fold}.pt");
    actviz()
        .args(["layers", "--folds", "2", "--model"])
        .arg(&pattern)
        .assert()
        .code(2)
        .stderr(contains("fold 2").and(contains("fold_2.pt")));
}

#[test]
fn folds_are_at_least_one() {
    for command in ["layers", "render", "insights"] {
        for count in ["0", "-1", "some"] {
            actviz()
                .args([command, "--model", "x", "--folds", count])
                .assert()
                .code(2)
                .stderr(contains("--folds 1 or more").and(contains("-- -1").not()));
        }
    }
}

/// Whatever comes then: without libtorch, that nothing can be run.
#[test]
fn a_gap_in_a_pattern_s_folds_is_told() {
    let place = folder();
    for fold in [1, 2, 4] {
        actviz::fake::write_archive(&place.path().join(format!("run_{fold}.pt")), None)
            .expect("a file");
    }
    let told = |flags: &[&str]| {
        let pattern = place.path().join("run_{fold}.pt");
        let mut command = actviz();
        command.arg("layers").arg("--model").arg(pattern).args(flags);
        String::from_utf8(command.output().expect("an answer").stderr).expect("text")
    };
    let all = told(&[]);
    assert!(all.contains("fold 3 has no file; looked at: folds 1, 2 and 4"), "{all}");
    assert!(told(&["--folds", "3"]).contains("fold 3 has no file"));
    // What lies behind the chosen ones is no gap.
    assert!(!told(&["--folds", "2"]).contains("fold 3"));
    assert!(!told(&["--fold", "1"]).contains("fold 3"));
}

#[test]
fn a_list_for_folds_is_taken_for_fold() {
    for command in ["layers", "render", "insights"] {
        let flags = [command, "--model", "x", "--folds", "1,3"];
        actviz().args(flags).assert().code(2).stderr(contains("did you mean --fold 1,3?"));
    }
}

#[test]
fn folds_that_are_one_file_are_told_of() {
    let place = folder();
    let first = place.path().join("run_0.pt");
    actviz::fake::write_archive(&first, None).expect("a file");
    fs::copy(&first, place.path().join("run_1.pt")).expect("a file");
    let picture = place.path().join("a.png");
    fs::write(&picture, b"").expect("a file");
    let pattern = place.path().join("run_{fold}.pt");
    for command in ["layers", "render", "insights"] {
        let mut run = actviz();
        run.current_dir(&place).arg(command).arg("--model").arg(&pattern);
        if command != "layers" {
            run.arg(&picture);
        }
        let told = String::from_utf8(run.output().expect("an answer").stderr).expect("text");
        let told = told.matches("folds 0 and 1 are the same file").count();
        assert_eq!(told, 1, "{command}");
    }
}

#[test]
fn an_installed_bundle_comes_before_one_of_the_current_folder_and_that_is_said() {
    let place = folder();
    for (at, text) in [("installed/fox", "{\"schema\": 7}"), ("models/fox", "{")] {
        fs::create_dir_all(place.path().join(at)).expect("a folder");
        fs::write(place.path().join(at).join("model.json"), text).expect("a file");
    }
    let layers = |model: &str| {
        let mut run = actviz();
        run.current_dir(&place).env("ACTVIZ_MODELS", place.path().join("installed"));
        run.args(["layers", "--model", model]).assert().code(2)
    };
    layers("fox").stderr(contains("installed"));
    layers("./models/fox").stderr(contains("models/fox").and(contains("installed").not()));
    // Whole ones: then it is said that there are two.
    let text = r#"{"schema": 1, "name": "fox", "folds": [{"file": "a.pt", "sha256": ""}],
        "input": {"channels": 1, "width": 8, "height": 8, "mean": [0.5], "std": [0.5]}}"#;
    for at in ["installed/fox", "models/fox"] {
        fs::write(place.path().join(at).join("model.json"), text).expect("a file");
        actviz::fake::write_archive(&place.path().join(at).join("a.pt"), None).expect("a file");
    }
    layers("fox").stderr(contains("--model models/fox takes the other one"));
    layers("models/fox").stderr(contains("takes the other one").not());
}

#[test]
fn a_mistyped_model_is_guessed() {
    let place = folder();
    fs::create_dir_all(place.path().join("resnet50")).expect("a folder");
    fs::write(place.path().join("resnet50/model.json"), "{}").expect("a file");
    let mut run = actviz();
    run.env("ACTVIZ_MODELS", place.path()).args(["layers", "--model", "resnet5"]);
    run.assert().code(2).stderr(contains("did you mean resnet50?"));
}

#[test]
fn what_is_assumed_of_the_input_is_said_once() {
    let place = folder();
    let file = place.path().join("net.pt");
    actviz::fake::write_archive(&file, None).expect("a file");
    let picture = place.path().join("a.png");
    fs::write(&picture, b"").expect("a file");
    let told = |flags: &[&str]| {
        let mut run = actviz();
        run.current_dir(&place).args(["render", "--model"]).arg(&file).arg(&picture).args(flags);
        String::from_utf8(run.output().expect("an answer").stderr).expect("text")
    };
    let words = "nothing says what the network's input is";
    assert_eq!(told(&[]).matches(words).count(), 1, "{}", told(&[]));
    let all = ["--input-size", "64", "--mean", "0.5", "--std", "0.5"];
    assert!(!told(&all).contains(words));
    // Ultralytics' exports say it themselves.
    let mut archive = zip::ZipWriter::new(fs::File::create(&file).expect("a file"));
    let options = zip::write::SimpleFileOptions::default();
    for name in ["n/code/__torch__.py", "n/constants.pkl", "n/data.pkl"] {
        archive.start_file(name, options).expect("an entry");
    }
    archive.start_file("n/extra/config.txt", options).expect("an entry");
    archive.write_all(br#"{"imgsz": [96, 64], "names": {"0": "cat"}}"#).expect("bytes");
    archive.finish().expect("a zip");
    assert!(!told(&[]).contains(words));
}

#[test]
fn networks_where_pictures_are_expected_come_from_an_expanded_pattern() {
    let place = folder();
    for fold in [1, 2] {
        actviz::fake::write_archive(&place.path().join(format!("f_{fold}.pt")), None)
            .expect("a file");
    }
    for command in ["render", "insights"] {
        let mut run = actviz();
        run.current_dir(&place).args([command, "--model", "f_1.pt", "f_2.pt", "photo.png"]);
        run.assert().code(2).stderr(contains("f_2.pt is a network").and(contains("'f_{fold}.pt'")));
    }
    let mut run = actviz();
    run.current_dir(&place).args(["layers", "--model", "f_*.pt"]);
    run.assert().code(2).stderr(contains("takes no *").and(contains("'f_{fold}.pt'")));
}

#[test]
fn a_file_that_is_no_archive_is_refused_in_words() {
    let place = folder();
    let file = place.path().join("net.pt");
    fs::write(&file, "hello").expect("a file");
    refuses(&file, &["net.pt", "not a TorchScript file", "torch.jit.script"]);
    fs::write(&file, "").expect("a file");
    refuses(&file, &["empty"]);
    fs::write(&file, [0x80, 2, 0x8a, 10]).expect("a file");
    refuses(&file, &["torch.save"]);
}

#[test]
fn a_truncated_archive_is_said_to_be_cut_off() {
    let place = folder();
    let file = zip(&place.path().join("net.pt"), &["net/code/a.py", "net/constants.pkl"]);
    let bytes = fs::read(&file).expect("bytes");
    for part in [bytes.len() / 4, bytes.len() / 2, bytes.len() - 8] {
        fs::write(&file, &bytes[..part]).expect("a file");
        refuses(&file, &["cut off or damaged"]);
    }
}

#[test]
fn weights_without_code_are_told_from_other_archives() {
    let place = folder();
    let weights = zip(&place.path().join("w.pt"), &["w/data.pkl", "w/data/0", "w/version"]);
    refuses(&weights, &["torch.save", "torch.jit.script(model.eval())"]);
    let export = zip(&place.path().join("e.pt2"), &["e/archive_format", "e/models/model.json"]);
    refuses(&export, &["torch.export"]);
    let other = zip(&place.path().join("o.zip"), &["readme.txt"]);
    refuses(&other, &["not a TorchScript file"]);
}

#[test]
fn a_folder_or_path_that_is_no_model_is_refused() {
    let place = folder();
    refuses(place.path(), &["without model.json", "{fold}"]);
    refuses(&place.path().join("gone.pt"), &["gone.pt does not exist"]);
}

#[test]
fn a_damaged_model_json_is_named_with_the_place() {
    let place = folder();
    fs::write(place.path().join("model.json"), "{\"schema\": 1,").expect("a file");
    refuses(place.path(), &["model.json", "line 1"]);
}

#[test]
fn images_are_checked_before_anything_runs() {
    let place = folder();
    let net = place.path().join("net.pt");
    actviz::fake::write_archive(&net, None).expect("a file");
    let render = |arguments: &[&str], expected: &str| {
        actviz()
            .current_dir(place.path())
            .args(["render", "--model", "net.pt"])
            .args(arguments)
            .assert()
            .code(2)
            .stderr(contains(expected));
    };
    render(&[], "no image was given");
    render(&["*.tif"], "nothing matches");
    render(&["."], "no images");
    render(&["@gone.txt"], "gone.txt");
    render(&["x.png", "--std", "0"], "--std");
    assert!(!place.path().join("actviz-out").exists());
}

#[cfg(unix)]
#[test]
fn show_does_not_wait_for_a_pipe() {
    let place = folder();
    let pipe = place.path().join("x.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let mut command = actviz();
    command.timeout(std::time::Duration::from_secs(60)).arg("show").arg(&pipe);
    command.assert().code(2).stderr(contains("x.png").and(contains("pipe")));
}
