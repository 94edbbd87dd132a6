//! Runs that end before their time, and runs in parts, on the fake engine: what comes out
//! in the end is what one run in one go gives.
#![allow(clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use actviz::args::{Cli, Command};
use actviz::commands::{EXIT_DONE, EXIT_PARTLY, merge, render};
use actviz::engine::{
    Batch, Engine, InputShape, LayerId, Network, OperatorUse, Output, Probe, Runtime, Taps,
};
use actviz::error::Error;
use actviz::fake::{FakeEngine, FakeNetwork, write_archive};
use actviz::graph::Graph;
use actviz::interrupt::Interrupt;
use actviz::layers::Layer;
use actviz::manifest::Manifest;
use actviz::model_file::ModelFile;
use actviz::plan::Plan;
use actviz::render::{Event, Render};
use actviz::terminal::{Reporter, Verbosity};
use clap::Parser;
use serde_json::Value;

/// Two folds and twenty images.
struct Place(tempfile::TempDir);

/// Every file's bytes by its name.
type Tree = BTreeMap<String, Vec<u8>>;

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a temporary folder"));
        fs::create_dir(place.path("images")).expect("a folder");
        for fold in 1..=2 {
            write_archive(&place.path(&format!("fold_{fold}.pt")), None).expect("a file");
        }
        for image in 0..20 {
            place.image(&format!("{image:02}.png"), 3 * image);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn image(&self, name: &str, start: u8) {
        let picture = image::GrayImage::from_fn(16, 16, |x, y| {
            image::Luma([start.saturating_add((x * 3 + y * 5) as u8)])
        });
        picture.save(self.path("images").join(name)).expect("a picture");
    }

    /// The plan for all images into the folder `out`.
    fn plan(&self, out: &str, flags: &str) -> (actviz::args::RenderArgs, Result<Plan, Error>) {
        let (model, out) = (self.path("fold_{fold}.pt"), self.path(out));
        let images = self.path("images");
        let fixed =
            ["actviz", "render", "--input-size", "16", "-m", text(&model), "-o", text(&out)];
        let words = fixed.into_iter().chain([text(&images)]).chain(flags.split_whitespace());
        let cli = Cli::try_parse_from(words).expect("flags");
        let Command::Render(args) = cli.command else { unreachable!("the word is render") };
        let plan = Plan::new(&args);
        (*args, plan)
    }

    fn render(&self, engine: &dyn Engine, out: &str, flags: &str) -> (anyhow::Result<u8>, String) {
        let (args, plan) = self.plan(out, flags);
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => return (Err(error.into()), String::new()),
        };
        let (reporter, interrupt) = (Reporter::new(Verbosity::Quiet), Interrupt::default());
        let mut stdout = Vec::new();
        let result = render::run(&args, &plan, engine, (&reporter, &interrupt), &mut stdout);
        (result, String::from_utf8(stdout).expect("text"))
    }

    /// Renders and ends, as by Ctrl-C, after so many pictures.
    fn interrupted_after(&self, pictures: usize, out: &str, flags: &str) -> Manifest {
        let (_, plan) = self.plan(out, flags);
        let plan = plan.expect("a plan");
        let (reporter, interrupt) = (Reporter::new(Verbosity::Quiet), Interrupt::default());
        let seen = AtomicUsize::new(0);
        let watch = |event: Event<'_>| {
            if matches!(event, Event::Picture(..))
                && seen.fetch_add(1, Ordering::Relaxed) + 1 == pictures
            {
                interrupt.set();
            }
        };
        let engine = plain();
        Render::new(&plan, &engine, &reporter, &interrupt).run(&watch, |_| {}).expect("a manifest")
    }

    fn merge(&self, out: &str) -> (anyhow::Result<u8>, String) {
        let out = self.path(out);
        let cli = Cli::try_parse_from(["actviz", "merge", "--json", text(&out)]).expect("flags");
        let Command::Merge(args) = cli.command else { unreachable!("the word is merge") };
        let mut stdout = Vec::new();
        let result = merge::run(&args, &Reporter::new(Verbosity::Quiet), &mut stdout);
        (result, String::from_utf8(stdout).expect("text"))
    }

    fn change_network(&self, name: &str) {
        let file = fs::File::options().read(true).write(true).open(self.path(name));
        let mut archive = zip::ZipWriter::new_append(file.expect("a file")).expect("an archive");
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file("net/more", options).expect("an entry");
        archive.finish().expect("an archive");
    }

    fn tree(&self, out: &str) -> Tree {
        let mut tree = Tree::new();
        collect(&self.path(out), &self.path(out), &mut tree);
        tree
    }

    fn manifest(&self, out: &str) -> Manifest {
        Manifest::read(&self.path(out)).expect("readable").expect("a manifest")
    }
}

fn collect(top: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(top, &path, tree);
        } else {
            let name = text(path.strip_prefix(top).expect("below")).to_owned();
            tree.insert(name, fs::read(&path).expect("a file"));
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn plain() -> impl Engine {
    FakeEngine(|_: &Path| Ok(FakeNetwork::default()))
}

fn done(result: &anyhow::Result<u8>) -> u8 {
    match result {
        Ok(code) => *code,
        Err(error) => panic!("{error:#}"),
    }
}

fn problem(result: anyhow::Result<u8>) -> (String, u8) {
    let error = result.expect_err("an error");
    let known: &Error = error.downcast_ref().expect("an error of ours");
    (known.to_string(), known.exit_code())
}

/// When a file was last written.
fn written(place: &Place, file: &str) -> std::time::SystemTime {
    fs::metadata(place.path(file)).expect("a file").modified().expect("a time")
}

#[test]
fn an_interrupted_run_says_so_and_the_same_command_ends_it() {
    let place = Place::new();
    for pictures in [1, 7, 30, 61, 119] {
        let flags = "--raw --view heat,grid";
        let found = place.interrupted_after(pictures, "out", flags);
        assert!(found.interrupted);
        assert!(found.pictures.len() >= pictures && found.pictures.len() < 240);
        assert_eq!(place.manifest("out"), found);
        done(&place.render(&plain(), "out", flags).0);
        done(&place.render(&plain(), "whole", flags).0);
        assert_eq!(place.tree("out"), place.tree("whole"), "after {pictures}");
        fs::remove_dir_all(place.path("out")).expect("a folder");
        fs::remove_dir_all(place.path("whole")).expect("a folder");
    }
}

#[test]
fn what_is_whole_is_kept_and_what_is_not_is_made_again() {
    let place = Place::new();
    done(&place.render(&plain(), "out", "").0);
    let whole = place.tree("out");
    let (kept, cut, gone) = ("out/03/1_1.png", "out/03/1_2.png", "out/04/2_3.png");
    let before = written(&place, kept);
    fs::write(place.path(cut), b"half").expect("a file");
    fs::remove_file(place.path(gone)).expect("a file");
    std::thread::sleep(std::time::Duration::from_millis(20));
    done(&place.render(&plain(), "out", "").0);
    assert_eq!(place.tree("out"), whole);
    assert_eq!(written(&place, kept), before, "a whole picture was written again");
    done(&place.render(&plain(), "out", "--force").0);
    assert_ne!(written(&place, kept), before, "--force keeps nothing");
}

#[test]
fn a_network_is_not_run_for_images_that_are_whole() {
    let place = Place::new();
    done(&place.render(&plain(), "out", "").0);
    // A network that refuses everything: it would leave holes if it were asked.
    let lazy = FakeNetwork { refuses_above: f32::NEG_INFINITY, ..FakeNetwork::default() };
    let engine = FakeEngine(move |_: &Path| Ok(lazy.clone()));
    assert_eq!(done(&place.render(&engine, "out", "").0), EXIT_DONE);
}

#[test]
fn a_picture_of_an_image_or_network_that_has_changed_is_made_again() {
    let place = Place::new();
    done(&place.render(&plain(), "out", "").0);
    place.image("05.png", 200);
    done(&place.render(&plain(), "out", "").0);
    done(&place.render(&plain(), "whole", "").0);
    assert_eq!(place.tree("out"), place.tree("whole"));
    // The same options, another network: its file is another one.
    place.change_network("fold_2.pt");
    let other = FakeEngine(|file: &Path| {
        let gain = if file.ends_with("fold_2.pt") { 3.0 } else { 1.0 };
        Ok(FakeNetwork { gain, ..FakeNetwork::default() })
    });
    done(&place.render(&other, "out", "").0);
    done(&place.render(&other, "other", "").0);
    assert_eq!(place.tree("out"), place.tree("other"));
    let high = |out: &str| place.manifest(out).pictures[3].high;
    assert!((high("out") - high("whole")).abs() > 0.1, "the old pictures were kept");
}

/// Tells of each run of its networks.
struct Watched {
    on_run: Arc<dyn Fn() + Send + Sync>,
}

struct WatchedNetwork(FakeNetwork, Arc<dyn Fn() + Send + Sync>);

impl Engine for Watched {
    fn open(&self, _file: &ModelFile, _taps: Taps) -> Result<Box<dyn Network>, Error> {
        Ok(Box::new(WatchedNetwork(FakeNetwork::default(), self.on_run.clone())))
    }

    fn audit(&self, _file: &ModelFile) -> Result<Vec<OperatorUse>, Error> {
        Ok(Vec::new())
    }

    fn runtime(&self) -> &Runtime {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        RUNTIME.get_or_init(|| plain().runtime().clone())
    }
}

impl Network for WatchedNetwork {
    fn input_channels(&self) -> Option<usize> {
        self.0.input_channels()
    }

    fn layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error> {
        self.0.layers(input)
    }

    fn graph(&self) -> Option<&Graph> {
        self.0.graph()
    }

    fn run(
        &mut self,
        batch: &Batch,
        probes: &[(LayerId, Probe)],
    ) -> Result<Vec<Vec<Output>>, Error> {
        (self.1)();
        self.0.run(batch, probes)
    }
}

const WAITING: &str = "--scale folds --view heat,sheet,grid --align-folds --consensus --batch 4";

/// Runs until the networks have been run so many times, and then as if by Ctrl-C to the end.
/// Gives how often they were run.
fn interrupted_after_runs(place: &Place, runs: usize, out: &str) -> usize {
    let (_, plan) = place.plan(out, WAITING);
    let (reporter, interrupt) = (Reporter::new(Verbosity::Quiet), Interrupt::default());
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, ends) = (count.clone(), interrupt.clone());
    let engine = Watched {
        on_run: Arc::new(move || {
            if counted.fetch_add(1, Ordering::Relaxed) + 1 == runs {
                ends.set();
            }
        }),
    };
    let plan = plan.expect("a plan");
    Render::new(&plan, &engine, &reporter, &interrupt).run(&|_| {}, |_| {}).expect("a manifest");
    count.load(Ordering::Relaxed)
}

#[test]
fn what_waits_for_all_folds_is_not_run_again_after_an_interruption() {
    let place = Place::new();
    done(&place.render(&plain(), "whole", WAITING).0);
    // Two folds of five batches each.
    assert_eq!(interrupted_after_runs(&place, usize::MAX, "all"), 10);
    for first in [1, 4, 7] {
        interrupted_after_runs(&place, first, "out");
        assert!(place.path("out/.actviz-maps").is_file());
        let again = interrupted_after_runs(&place, usize::MAX, "out");
        assert_eq!(again, 10 - first, "runs after {first}");
        assert_eq!(place.tree("out"), place.tree("whole"));
        fs::remove_dir_all(place.path("out")).expect("a folder");
    }
}

#[test]
fn maps_that_were_spoilt_while_they_waited_are_made_again() {
    let place = Place::new();
    done(&place.render(&plain(), "whole", WAITING).0);
    interrupted_after_runs(&place, 6, "out");
    let file = place.path("out/.actviz-maps");
    let mut bytes = fs::read(&file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes.truncate(bytes.len() - 1);
    fs::write(&file, bytes).expect("a file");
    place.image("03.png", 99);
    done(&place.render(&plain(), "whole", WAITING).0);
    done(&place.render(&plain(), "out", WAITING).0);
    assert_eq!(place.tree("out"), place.tree("whole"));
}

#[test]
fn what_is_drawn_when_all_folds_were_seen_comes_out_the_same_after_an_interruption() {
    let place = Place::new();
    let found = place.interrupted_after(9, "out", WAITING);
    assert!(found.interrupted && found.sheets.is_empty());
    done(&place.render(&plain(), "out", WAITING).0);
    done(&place.render(&plain(), "whole", WAITING).0);
    assert_eq!(place.tree("out"), place.tree("whole"));
}

#[test]
fn shards_put_together_are_one_run() {
    let place = Place::new();
    fs::write(place.path("images/bad.png"), b"no picture").expect("a file");
    assert_eq!(done(&place.render(&plain(), "whole", "--raw").0), EXIT_PARTLY);
    let mut codes = Vec::new();
    for shard in 0..4 {
        let flags = format!("--raw --shard-index {shard} --shard-count 4");
        codes.push(done(&place.render(&plain(), "out", &flags).0));
    }
    codes.sort_unstable();
    assert_eq!(codes, [EXIT_DONE, EXIT_DONE, EXIT_DONE, EXIT_PARTLY]);
    assert!(place.path("out/manifest.4-of-4.json").is_file());
    let (result, stdout) = place.merge("out");
    assert_eq!(done(&result), EXIT_PARTLY);
    assert_eq!(place.tree("out"), place.tree("whole"));
    let printed: Manifest = serde_json::from_str(&stdout).expect("a manifest");
    assert_eq!(printed, place.manifest("whole"));
}

#[test]
fn a_shard_can_be_run_again_before_and_after_the_merge() {
    let place = Place::new();
    for shard in ["1/2", "2/2", "2/2"] {
        done(&place.render(&plain(), "out", &format!("--shard {shard}")).0);
    }
    done(&place.merge("out").0);
    let merged = place.tree("out");
    for shard in ["1/2", "2/2"] {
        done(&place.render(&plain(), "out", &format!("--shard {shard}")).0);
    }
    done(&place.merge("out").0);
    assert_eq!(place.tree("out"), merged);
}

#[test]
fn a_merge_of_what_is_merged_is_done() {
    let place = Place::new();
    for shard in ["1/2", "2/2"] {
        done(&place.render(&plain(), "out", &format!("--shard {shard}")).0);
    }
    fs::write(place.path("out/.actviz-tmp-1-of-2-x1"), "half").expect("a file");
    let first = place.merge("out");
    assert_eq!(done(&first.0), EXIT_DONE);
    let merged = place.tree("out");
    assert!(!merged.keys().any(|name| name.contains("tmp")), "what was killed leaves nothing");
    let second = place.merge("out");
    assert_eq!(done(&second.0), EXIT_DONE);
    assert_eq!((place.tree("out"), second.1), (merged, first.1));
    // What is not whole is none of it.
    let mut found = place.manifest("out");
    fs::remove_file(place.path("out").join(&found.pictures[0].file)).expect("a file");
    assert_eq!(problem(place.merge("out").0).1, 2);
    found.interrupted = true;
    fs::write(place.path("out/manifest.json"), found.to_json()).expect("a file");
    let (text, code) = problem(place.merge("out").0);
    assert!(text.contains("no part of a sharded run") && code == 2, "{text}");
}

#[test]
fn an_interrupted_merge_is_finished_by_the_next_one() {
    let place = Place::new();
    for shard in ["1/2", "2/2"] {
        done(&place.render(&plain(), "out", &format!("--shard {shard}")).0);
    }
    let part = fs::read(place.path("out/manifest.2-of-2.json")).expect("a part");
    done(&place.merge("out").0);
    let merged = place.tree("out");
    // As if the last part had not been removed any more.
    fs::write(place.path("out/manifest.2-of-2.json"), part).expect("a file");
    done(&place.merge("out").0);
    assert_eq!(place.tree("out"), merged);
}

#[test]
fn a_merged_run_that_has_lost_a_picture_is_not_whole_until_its_shard_is_run_again() {
    let place = Place::new();
    let shard = |of: &str| done(&place.render(&plain(), "out", &format!("--shard {of}")).0);
    shard("1/2");
    shard("2/2");
    let lost = place.manifest_part("out", "2-of-2").pictures[0].file.clone();
    done(&place.merge("out").0);
    let merged = place.tree("out");
    fs::remove_file(place.path("out").join(&lost)).expect("a file");
    shard("1/2");
    let (text, code) = problem(place.merge("out").0);
    assert!(text.contains(&lost) && code == 2, "{text}");
    shard("2/2");
    done(&place.merge("out").0);
    assert_eq!(place.tree("out"), merged);
}

#[test]
fn shards_that_do_not_fit_are_not_merged() {
    let place = Place::new();
    let shard = |flags: &str| done(&place.render(&plain(), "out", flags).0);
    shard("--shard 1/3");
    shard("--shard 3/3");
    let (text, code) = problem(place.merge("out").0);
    assert!(text.contains("missing of 3 shards: 2/3") && code == 2, "{text}");
    shard("--shard 2/3");
    let picture = place.manifest_part("out", "2-of-3").pictures[0].file.clone();
    fs::write(place.path("out").join(&picture), b"half").expect("a file");
    let (text, _) = problem(place.merge("out").0);
    assert!(text.contains("1 file in") && text.contains(&picture), "{text}");
    shard("--shard 2/3");
    let other = place.path("out/manifest.1-of-3.json");
    let json = fs::read_to_string(&other).expect("a part");
    fs::write(&other, json.replace("\"threads\": 1", "\"threads\": 2")).expect("a file");
    let (text, _) = problem(place.merge("out").0);
    assert!(text.contains("threads is 2 and 1"), "{text}");
    let json = json.replace("\"of\": \"1/3\"", "\"of\": \"1/2\"");
    fs::write(place.path("out/manifest.1-of-2.json"), json).expect("a file");
    let (text, _) = problem(place.merge("out").0);
    assert!(text.contains("shards of"), "{text}");
    assert!(!place.path("out/manifest.json").exists());
}

impl Place {
    fn manifest_part(&self, out: &str, of: &str) -> Manifest {
        let file = self.path(out).join(format!("manifest.{of}.json"));
        let json = fs::read_to_string(&file).expect("a part");
        Manifest::parse(&json, &file).expect("a manifest")
    }
}

#[test]
fn shards_of_other_lists_do_not_get_into_one_folder() {
    let place = Place::new();
    done(&place.render(&plain(), "out", "--shard 1/2").0);
    place.image("20.png", 0);
    let (text, code) = problem(place.render(&plain(), "out", "--shard 2/2").0);
    assert!(text.contains("another run") && code == 2, "{text}");
}

#[test]
fn another_image_moves_none_to_another_shard() {
    let place = Place::new();
    let shards = |name: &str| {
        let own = |index| {
            let (_, plan) = place.plan(name, &format!("--shard {index}/3"));
            let images = plan.expect("a plan").images;
            images.into_iter().map(move |image| (image.name, index)).collect::<Vec<_>>()
        };
        (1..=3).flat_map(own).collect::<BTreeMap<String, usize>>()
    };
    let before = shards("a");
    place.image("00a.png", 0);
    let after = shards("b");
    assert_eq!(after.len(), before.len() + 1);
    assert!(before.iter().all(|(name, shard)| after[name] == *shard));
}

#[test]
fn a_shard_without_images_and_one_whose_images_all_fail_are_done() {
    let place = Place::new();
    fs::remove_dir_all(place.path("images")).expect("a folder");
    fs::create_dir(place.path("images")).expect("a folder");
    place.image("one.png", 0);
    fs::write(place.path("images/bad.png"), b"no picture").expect("a file");
    let codes: Vec<u8> = (1..=5)
        .map(|index| done(&place.render(&plain(), "out", &format!("--shard {index}/5")).0))
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == EXIT_PARTLY).count(), 1, "{codes:?}");
    assert_eq!(done(&place.merge("out").0), EXIT_PARTLY);
    done(&place.render(&plain(), "whole", "").0);
    assert_eq!(place.tree("out"), place.tree("whole"));
}

#[test]
fn what_looks_at_all_images_cannot_be_made_in_shards() {
    let place = Place::new();
    for flags in ["--scale layer", "--scale folds", "--consensus", "--align-folds --view grid"] {
        let (text, code) =
            problem(place.render(&plain(), "out", &format!("{flags} --shard 1/2")).0);
        assert!(text.contains("looks at all images") && code == 2, "{text}");
    }
}

#[test]
fn a_shard_that_is_not_named_is_never_everything() {
    for flags in [
        &["--shard", ""][..],
        &["--shard", "/4"],
        &["--shard", "0/4"],
        &["--shard-index", "", "--shard-count", "4"],
        &["--shard-index", "1"],
        &["--shard-count", "4"],
        &["--shard-index", "--shard-count", "4"],
    ] {
        let words = ["actviz", "render", "-m", "x"].iter().chain(flags);
        assert!(Cli::try_parse_from(words).is_err(), "{flags:?}");
    }
    let (text, code) =
        problem(Place::new().render(&plain(), "out", "--shard-index 4 --shard-count 4").0);
    assert!(text.contains("no such shard") && code == 2, "{text}");
}

#[test]
fn json_lines_tell_of_each_picture_and_failure_in_order() {
    let place = Place::new();
    fs::write(place.path("images/bad.png"), b"no picture").expect("a file");
    let (result, stdout) = place.render(&plain(), "out", "--json-lines");
    assert_eq!(done(&result), EXIT_PARTLY);
    let lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |event: &str| lines.iter().filter(|l| l["event"] == event).collect::<Vec<_>>();
    assert_eq!(of("failed").len(), 1);
    assert!(of("failed")[0]["image"].as_str().is_some_and(|path| path.ends_with("bad.png")));
    let files: Vec<&str> = of("picture").iter().filter_map(|l| l["file"].as_str()).collect();
    let manifest = place.manifest("out");
    let by_fold = |fold| manifest.pictures.iter().filter(move |p| p.fold == fold);
    let expected: Vec<&str> = (1..=2).flat_map(by_fold).map(|p| p.file.as_str()).collect();
    assert_eq!(files, expected);
    assert!(lines.iter().all(|line| line["event"] == "failed" || line["path"].is_string()));
}

#[test]
fn fail_fast_ends_at_the_first_failure_and_keeps_what_is_there() {
    let place = Place::new();
    let picky = FakeEngine(|file: &Path| {
        let refuses_above = if file.ends_with("fold_2.pt") { f32::NEG_INFINITY } else { 9.0 };
        Ok(FakeNetwork { refuses_above, ..FakeNetwork::default() })
    });
    assert_eq!(done(&place.render(&picky, "out", "--fail-fast").0), EXIT_PARTLY);
    let manifest = place.manifest("out");
    assert!(manifest.interrupted && !manifest.failed.is_empty());
    assert!(manifest.failed.len() < 20, "it went on");
    assert_eq!(manifest.pictures.len(), 60);
}

#[test]
fn a_list_with_zero_bytes_is_read() {
    let place = Place::new();
    let list = place.path("list");
    let images = ["images/03.png", "images/11.png"].map(|name| place.path(name));
    fs::write(&list, images.map(|image| format!("{}\0", image.display())).concat())
        .expect("a list");
    let (model, out) = (place.path("fold_1.pt"), place.path("out"));
    let words = ["actviz", "render", "-m", text(&model), "-o", text(&out), "--files0-from"];
    let cli = Cli::try_parse_from(words.into_iter().chain([text(&list)])).expect("flags");
    let Command::Render(args) = cli.command else { unreachable!("the word is render") };
    let plan = Plan::new(&args).expect("a plan");
    assert_eq!(
        plan.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(),
        ["03", "11"]
    );
}
