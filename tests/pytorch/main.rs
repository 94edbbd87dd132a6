//! Holds torchvision's architectures against PyTorch's own hooks: names, order, shapes
//! and values of every activation layer, scripted and traced.
//!
//! Opt-in, for it needs a Python with torch 2.13 and torchvision:
//! `make test-pytorch PYTHON=...`. Which architectures: `ACTVIZ_ARCHITECTURES="resnet50
//! vgg11"`; several, resnet50 among them, if nothing is said.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod agreement;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use agreement::{assert_agrees, names_in, read};

#[test]
#[ignore = "needs Python with torch and torchvision: make test-pytorch"]
fn torchvision_s_architectures_agree_with_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch/make_reference.py");
    let chosen = env::var("ACTVIZ_ARCHITECTURES").unwrap_or_default();
    let made = Command::new(env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
        .arg(script)
        .arg(folder.path())
        .args(chosen.split_whitespace())
        .status()
        .unwrap();
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
