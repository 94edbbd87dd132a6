//! Every command in README.md that calls `actviz` is run, in order, in one folder, and
//! so are those of the example of a workflow. The README's others, make and cargo, are
//! what CI runs.
#![cfg(unix)]
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

    // What a fresh clone has.
    let place =
        Place::with(&[("examples/images", "examples/images"), ("models/cnn9", "models/cnn9")]);
    for line in lines {
        place.run(&line);
    }
}

#[test]
fn the_example_of_a_workflow_renders_compares_and_accepts() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workflow = fs::read_to_string(checkout.join("examples/github-workflow.yml")).unwrap();
    let command = |verb: &str, start: &str| -> String {
        let lines = workflow.lines().filter(|line| line.trim_start().starts_with(start));
        let found: Vec<&str> =
            lines.filter_map(|line| line.find(verb).map(|at| &line[at..])).collect();
        assert_eq!(found.len(), 1, "{verb} {start}");
        found[0].to_owned()
    };
    let place = Place::with(&[("examples/images", "images"), ("models/resnet50", "models")]);
    place.run(&command("actviz render", "#"));
    place.run(&command("actviz render", "run:"));
    place.run(&command("actviz compare", "run:"));
    place.run(&command("actviz accept", "#"));
}

/// A folder with copies of what a command needs.
struct Place(tempfile::TempDir);

impl Place {
    /// Copies the pictures and networks in folders of the checkout.
    fn with(copies: &[(&str, &str)]) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        for (from, to) in copies {
            fs::create_dir_all(place.0.path().join(to)).unwrap();
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
            for entry in fs::read_dir(from).unwrap() {
                let file = entry.unwrap().path();
                let wanted = file.extension().is_some_and(|end| end == "png" || end == "pt");
                if wanted {
                    fs::copy(&file, place.0.path().join(to).join(file.file_name().unwrap()))
                        .unwrap();
                }
            }
        }
        place
    }

    /// Runs a line of the shell, which must succeed.
    fn run(&self, line: &str) {
        let binary = Path::new(env!("CARGO_BIN_EXE_actviz")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), env::var("PATH").unwrap());
        let done = Command::new("sh")
            .args(["-c", line])
            .current_dir(self.0.path())
            .env("PATH", &path)
            .env("ACTVIZ_MODELS", Path::new(env!("CARGO_MANIFEST_DIR")).join("models"))
            .env_remove("CI")
            .env_remove("GITHUB_STEP_SUMMARY")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{line}\n{said}");
    }
}
