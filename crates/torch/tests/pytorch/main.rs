//! Holds torchvision's architectures against PyTorch's own hooks: names, order, shapes
//! and values of every activation layer, scripted and traced.
//!
//! Opt-in, for it needs a Python with torch 2.13 and torchvision:
//! `make test-pytorch PYTHON=...`. Which architectures: `ACTVIZ_ARCHITECTURES="resnet50
//! vgg11"`; several, resnet50 among them, if nothing is said.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod agreement;

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use agreement::{assert_agrees, names_in, read};

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn python() -> Command {
    Command::new(env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

#[test]
#[ignore = "needs Python with torch and torchvision: make test-pytorch"]
fn the_readme_s_python_makes_a_file_that_can_be_looked_at() {
    let checkout = checkout();
    let readme = fs::read_to_string(checkout.join("README.md")).unwrap();
    let block = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("runs")).unwrap();
    let code = format!("import torchvision\nmodel = torchvision.models.resnet18()\n{block}");
    let made = python().args(["-c", &code]).current_dir(place.path()).status().unwrap();
    assert!(made.success());
    let listed =
        Command::new(Path::new(env!("CARGO_BIN_EXE_actviz-torch")).with_file_name("actviz"))
            .args(["layers", "--model", "runs/fold_{fold}.pt"])
            .current_dir(place.path())
            .output()
            .unwrap();
    let table = String::from_utf8(listed.stdout).unwrap();
    assert!(table.contains("layer4.1.relu_1"), "{table}");
}

#[test]
#[ignore = "needs Python with torch and torchvision: make test-pytorch"]
fn the_bundles_load_and_run_in_pytorch() {
    let code = "import sys, torch\n\
        for file in sys.argv[1:]:\n    \
            torch.jit.load(file).eval()(torch.zeros(1, 3, 64, 64) + 0.5)\n";
    let models = checkout().join("models");
    let files: Vec<_> = ["cnn9", "resnet50"]
        .iter()
        .flat_map(|bundle| (1..=3).map(move |fold| format!("{bundle}/fold_{fold}.pt")))
        .collect();
    let loaded = python().args(["-c", code]).args(&files).current_dir(models).status().unwrap();
    assert!(loaded.success());
}

#[test]
#[ignore = "needs Python with torch and torchvision: make test-pytorch"]
fn torchvision_s_architectures_agree_with_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch/make_reference.py");
    let chosen = env::var("ACTVIZ_ARCHITECTURES").unwrap_or_default();
    let made =
        python().arg(script).arg(folder.path()).args(chosen.split_whitespace()).status().unwrap();
    assert!(made.success(), "make_reference.py failed: {made}");

    let mut failed = Vec::new();
    for name in names_in(folder.path()) {
        for reference in read(folder.path(), &name) {
            match catch_unwind(AssertUnwindSafe(|| assert_agrees(&reference))) {
                Ok((layers, difference)) => {
                    println!("{name:24} {:9} {layers:4} layers, {difference:.1e}", reference.kind);
                }
                Err(_) => failed.push(format!("{name} {}", reference.kind)),
            }
            // Each is some hundred megabytes.
            std::fs::remove_file(&reference.file).unwrap();
        }
    }
    assert!(failed.is_empty(), "these differ: {failed:?}");
}
