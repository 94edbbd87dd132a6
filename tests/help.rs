//! Every example of every `--help` is run as it stands there, in a folder with the files
//! that it names.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder that an example is run in, with the networks and pictures of the checkout
/// under the names that the examples use.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let copy = |from: &str, to: &str| {
            let to = place.0.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(checkout(from), to).unwrap();
        };
        for fold in 1..=5 {
            copy(
                &format!("models/resnet50/fold_{}.pt", (fold - 1) % 3 + 1),
                &format!("runs/fold_{fold}.pt"),
            );
        }
        copy("models/resnet50/fold_1.pt", "net.pt");
        copy("models/resnet50/fold_2.pt", "strange.pt");
        copy("examples/images/fox.png", "cat.png");
        copy("examples/images/fox.png", "photos/fox.png");
        let parrot = image::open(checkout("examples/images/parrot.png")).unwrap().into_rgb8();
        for photo in ["photo.jpg", "photos/parrot.jpg"] {
            parrot.save(place.0.path().join(photo)).unwrap();
        }
        fs::write(place.0.path().join("list.txt"), "photos/fox.png\n").unwrap();
        place
    }

    fn run(&self, line: &str) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_actviz")).parent().unwrap();
        Command::new("bash")
            .args(["-o", "pipefail", "-c", line])
            .current_dir(self.0.path())
            .env("PATH", format!("{}:{}", binary.display(), env::var("PATH").unwrap()))
            .env("ACTVIZ_MODELS", checkout("models"))
            .env_remove("CI")
            .env_remove("GITHUB_STEP_SUMMARY")
            .output()
            .unwrap()
    }

    fn must(&self, line: &str) -> String {
        let done = self.run(line);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{line}\n{said}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// What the example supposes to have been made before: a run, twice, or the shards of one.
    fn prepare(&self, line: &str) {
        let merges = line.starts_with("actviz merge");
        if merges {
            for shard in ["1/2", "2/2"] {
                self.must(&format!("actviz render -q -m cnn9 -o out --shard {shard} photos"));
            }
        } else if !line.contains("actviz render") {
            self.must("actviz render -q -m cnn9 -o golden");
            self.must("cp -r golden out && cp -r golden actviz-out");
        }
        if line.contains("| jq ") && !self.run("jq --version").status.success() {
            // It is actviz's part of the line that is tried.
            self.must(
                "mkdir bin && printf '#!/bin/sh\\ncat > /dev/null' > bin/jq && chmod +x bin/jq",
            );
        }
    }
}

/// The lines of an example in a help text, without what is said beside them.
fn examples(help: &str) -> Vec<String> {
    let lines = help.split("Examples:\n").nth(1).unwrap_or_default().lines();
    lines
        .take_while(|line| line.starts_with("  "))
        .map(|line| line.trim().split("   ").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_example_of_every_help_works() {
    let place = Place::new();
    let help = place.must("actviz --help");
    let commands = help.split("Commands:\n").nth(1).unwrap().lines();
    let commands: Vec<&str> = commands
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 9, "{commands:?}");
    let mut lines = examples(&help);
    for command in &commands {
        let own = examples(&place.must(&format!("actviz {command} --help")));
        assert!(!own.is_empty(), "actviz {command} --help has no example");
        lines.extend(own);
    }
    assert!(lines.iter().all(|line| line.contains("actviz ")), "{lines:?}");
    for line in lines {
        let place = Place::new();
        place.prepare(&line);
        let path = "PATH=\"$PATH:$PWD/bin\"";
        place.must(&format!("{path}; {line}"));
    }
}
