//! Every command in README.md that calls `actviz` is run, in order, in one folder.
//! Those that call make and cargo are what CI runs.
#![cfg(all(feature = "torch", unix))]
#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The lines of all code blocks of a language.
fn commands(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .flat_map(|rest| rest.split("```").next().unwrap_or_default().lines())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_of_the_readme_that_calls_actviz_works() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(checkout.join("README.md")).unwrap();
    let lines: Vec<String> =
        commands(&readme, "sh").into_iter().filter(|line| line.contains("actviz ")).collect();
    assert!(lines.len() >= 8, "{lines:?}");

    // What the README supposes to be there: photographs, and checkpoints of one's own.
    let place = tempfile::tempdir().unwrap();
    for (from, to) in [("examples/images", "photos"), ("models/resnet50", "runs")] {
        fs::create_dir(place.path().join(to)).unwrap();
        for entry in fs::read_dir(checkout.join(from)).unwrap() {
            let file = entry.unwrap().path();
            let wanted = file.extension().is_some_and(|end| end == "png" || end == "pt");
            if wanted {
                fs::copy(&file, place.path().join(to).join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_actviz")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), env::var("PATH").unwrap());
    for line in lines {
        let done = Command::new("sh")
            .args(["-c", &line])
            .current_dir(place.path())
            .env("PATH", &path)
            .env("ACTVIZ_MODELS", checkout.join("models"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{line}\n{said}");
    }
}
