//! The pictures of both bundles are still those in tests/golden, which `make golden`
//! replaces after a change that is meant.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::str::contains;

fn actviz(arguments: &[&str]) -> Assert {
    // The manifest names files as seen from here.
    let checkout = env!("CARGO_MANIFEST_DIR");
    Command::cargo_bin("actviz").unwrap().current_dir(checkout).args(arguments).assert()
}

fn render(model: &str, out: &Path, flags: &[&str]) {
    let out = out.to_str().unwrap();
    let common = ["render", "--model", model, "--folds", "3", "--size", "32", "-q", "-o", out];
    actviz(&[&common[..], flags].concat()).success();
}

fn compare(model: &str, out: &Path) -> Assert {
    let golden = format!("tests/golden/{model}");
    actviz(&["compare", &golden, out.to_str().unwrap(), "--profile", "cross-cpu"])
}

#[test]
fn the_pictures_of_both_bundles_are_the_golden_ones() {
    for (model, count) in [("cnn9", 9), ("resnet50", 30)] {
        let out = tempfile::tempdir().unwrap();
        render(model, out.path(), &[]);
        compare(model, out.path()).success().stdout(contains(format!("same: {count} pictures")));
    }
}

#[test]
fn another_reduction_of_the_same_layers_is_told_from_the_golden_pictures() {
    let out = tempfile::tempdir().unwrap();
    render("cnn9", out.path(), &["--reduce", "max"]);
    compare("cnn9", out.path())
        .code(1)
        .stdout(contains("option reduce: \"mean\" -> \"max\""))
        .stdout(contains("fold 1 begins to differ at layer 1 (relu1)"));
}
