//! What people read, as it stands: help, tables, errors. The texts are in tests/snapshots; a
//! change that is meant is accepted by `INSTA_UPDATE=always cargo test --release --test texts`,
//! and read in the diff.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use actviz::args::{Cli, Command as Subcommand};
use actviz::bundle::Model;
use actviz::commands::layers;
use actviz::fake::{FakeEngine, FakeNetwork, write_archive};
use actviz::terminal::{Reporter, Verbosity};
use assert_cmd::Command;
use clap::{CommandFactory, Parser};
use image::{Rgb, RgbImage};
use insta::assert_snapshot;

#[test]
fn help_fits_terminals_of_80_and_of_100_columns() {
    let names: Vec<String> =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for columns in [80, 100] {
        for name in names.iter().map(Some).chain([None]) {
            // Built as a whole first, so that a command knows what it is called.
            let mut all = Cli::command().term_width(columns);
            all.build();
            let command = match name {
                Some(name) => all.find_subcommand_mut(name).unwrap(),
                None => &mut all,
            };
            let text = command.render_long_help().to_string();
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
            assert!(longest <= columns, "{name:?}: a line of {longest} in {columns} columns");
            let name = name.map_or("actviz", String::as_str);
            assert_snapshot!(format!("help_{name}_{columns}"), text);
        }
    }
}

#[test]
fn layers_are_listed_in_a_table() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("net.pt");
    write_archive(&file, None).unwrap();
    let words = ["actviz", "layers", "--input-size", "16", "--model", &file.to_string_lossy()];
    let Subcommand::Layers(args) = Cli::try_parse_from(words).unwrap().command else {
        unreachable!("the first word is layers");
    };
    let operators = vec!["relu", "gelu", "hardswish", "relu"];
    let engine = FakeEngine(|_: &Path| {
        Ok(FakeNetwork { operators: operators.clone(), channels_out: 64, ..FakeNetwork::default() })
    });
    let model = Model::find(&args.model.model, None, &[]).unwrap();
    let mut out = Vec::new();
    layers::run(&args, &model, &engine, &Reporter::new(Verbosity::Quiet), &mut out).unwrap();
    assert_snapshot!(String::from_utf8(out).unwrap());
}

/// A folder in which commands run.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn picture(&self, name: &str, colour: [u8; 3]) {
        let file = self.0.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        RgbImage::from_pixel(20, 16, Rgb(colour)).save(file).unwrap();
    }

    /// The command line, its exit code, and what it says on both streams.
    fn run(&self, line: &str) -> String {
        let mut command = Command::cargo_bin("actviz").unwrap();
        command.current_dir(self.0.path()).args(line.split_whitespace());
        command.env_remove("CI").env_remove("GITHUB_STEP_SUMMARY").env("NO_COLOR", "1");
        command.env("ACTVIZ_MODELS", "bundles").env("ACTVIZ_ENGINE", "no-engine");
        let done = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        format!(
            "$ actviz {}\n{}{}exit code {}\n",
            line.trim_end(),
            text(&done.stdout),
            text(&done.stderr),
            done.status.code().unwrap()
        )
    }
}

#[test]
fn a_comparison_is_told_in_a_table() {
    let place = Place::new();
    let grey = [10, 20, 30];
    for name in ["1_1.png", "1_2.png", "2_1.png", "fox/1_1.png"] {
        place.picture(&format!("golden/{name}"), grey);
        place.picture(&format!("same/{name}"), grey);
    }
    place.picture("new/1_1.png", grey);
    place.picture("new/1_2.png", [10, 23, 30]);
    place.picture("new/2_2.png", grey);
    fs::write(place.0.path().join("new/2_1.png"), "no picture").unwrap();
    let mut told = place.run("compare golden same");
    for flags in ["", "--max-abs 4 --max-diff-ratio 0.5 --allow missing", "-q"] {
        told += "\n";
        told += &place.run(&format!("compare golden new {flags}"));
    }
    assert_snapshot!(told);
}

#[test]
fn errors_say_what_where_and_what_to_do() {
    let place = Place::new();
    fs::create_dir_all(place.0.path().join("bundles/fox")).unwrap();
    fs::write(place.0.path().join("bundles/fox/model.json"), "{").unwrap();
    fs::write(place.0.path().join("text.pt"), "hello").unwrap();
    fs::write(place.0.path().join("empty.pt"), "").unwrap();
    write_archive(&place.0.path().join("net_1.pt"), None).unwrap();
    place.picture("a/cat.png", [1, 2, 3]);
    place.picture("b/cat.png", [1, 2, 3]);
    let told: Vec<String> = [
        "render",
        "render --model net_1.pt --reduce median",
        "render --model net_1.pt --size 0",
        "render --model net_1.pt --layers every:0",
        "render --model net_1.pt --device gpu",
        "layers --model net_1.pt --max-memory 100M",
        "layers --model fox",
        "layers --model gone.pt",
        "layers --model text.pt",
        "layers --model empty.pt",
        "layers --model net_{fold}.pt --folds 2",
        "layers --model net_1.pt",
        "render --model net_1.pt",
        "render --model net_1.pt *.tif",
        "render --model net_1.pt a/cat.png b/cat.png",
        "render --model net_1.pt a/cat.png --std 0",
        "compare a gone",
        "compare a b/cat.png",
        "accept a a/cat.png",
        "merge a",
        "report gone",
        "show gone.png",
        "show a/cat.png",
    ]
    .iter()
    .map(|line| place.run(line))
    .collect();
    assert_snapshot!(told.join("\n"));
}
