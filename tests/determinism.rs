//! `--deterministic` and the marks of wrong networks, with the real engine and binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::str::contains;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn images(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| root().join(format!("examples/images/{name}.png"))).collect()
}

/// Renders cnn9 deterministically and returns the fox's pictures and maps by name.
fn fox(names: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let out = tempfile::tempdir().expect("a temporary folder");
    let views = ["--view", "heat,overlay,grid", "--raw", "--legend"];
    Command::cargo_bin("actviz")
        .expect("the binary")
        .args(["render", "-q", "--deterministic", "--folds", "2", "--model"])
        .arg(root().join("models/cnn9"))
        .args(views)
        .arg("-o")
        .arg(out.path())
        .args(images(names))
        .assert()
        .success();
    let folder = if names.len() == 1 { out.path().to_owned() } else { out.path().join("fox") };
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, _)| name != "manifest.json")
        .map(|(name, path)| (name, fs::read(path).expect("a file")))
        .collect()
}

#[test]
fn ten_runs_give_the_same_bytes_whatever_stands_beside_the_image() {
    let first = fox(&["fox"]);
    assert_eq!(first.len(), 2 * 3 * 4, "{:?}", first.keys());
    let company: [&[&str]; 4] = [
        &["fox"],
        &["fox", "parrot"],
        &["strawberry", "hamburger", "fox"],
        &["tropical-fish", "parrot", "strawberry", "hamburger", "fox"],
    ];
    for names in company.iter().cycle().take(9) {
        let again = fox(names);
        assert!(first.keys().eq(again.keys()), "{names:?}");
        for (name, bytes) in &first {
            assert!(again[name] == *bytes, "{name} differs among {names:?}");
        }
    }
}

#[test]
fn wrong_networks_are_named_by_fold_and_layer_and_fail_on_request() {
    for flag in ["dead", "nan", "inf", "constant"] {
        let out = tempfile::tempdir().expect("a temporary folder");
        let network = root().join(format!("tests/fixtures/pictures/{flag}.pt"));
        let render = |fail_on: &str| {
            let mut command = Command::cargo_bin("actviz").expect("the binary");
            command.args(["render", "--force", "--input-size", "32", "--fail-on", fail_on]);
            command.arg("--model").arg(&network).arg("-o").arg(out.path()).args(images(&["fox"]));
            command.assert()
        };
        render(flag).code(1).stderr(contains("fold 1, layer relu_1"));
        render(if flag == "nan" { "inf" } else { "nan" }).code(0);
        let manifest = actviz::manifest::Manifest::read(out.path());
        let manifest = manifest.expect("readable").expect("a manifest");
        assert!(manifest.pictures[0].flags.is_empty(), "{flag}");
        assert_eq!(manifest.pictures[1].flags[0].to_string(), flag);
    }
}

#[test]
fn show_tells_what_a_picture_carries() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let network = root().join("tests/fixtures/pictures/sound.pt");
    let mut render = Command::cargo_bin("actviz").expect("the binary");
    render.args(["render", "--input-size", "32", "--view", "heat,sheet", "--preview", "--model"]);
    render.arg(&network).arg("-o").arg(out.path()).args(images(&["fox"]));
    // There is no terminal here: a preview must leave standard output alone.
    render.assert().success().stdout("");
    for (file, text) in [("1_2.png", "relu_1"), ("sheet.png", "sound.pt")] {
        let mut show = Command::cargo_bin("actviz").expect("the binary");
        show.arg("show").arg(out.path().join(file)).assert().success().stdout(contains(text));
    }
}
