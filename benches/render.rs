//! `actviz render` against the script that people write today (benches/peers/render.py:
//! PyTorch with hooks, PIL), and against the bare network.
//!
//! `cargo bench --bench render`; PYTHON names a Python with torch, torchvision, numpy and
//! Pillow. All commands of a comparison run in turn, so that whatever slows the machine
//! slows all; medians are printed, and their ratios.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use image::{Rgb, RgbImage};

const SIDE: u32 = 224;
const FEW: u32 = 8;
const MANY: u32 = 96;
const ROUNDS: usize = 3;

fn main() {
    let Some(peer) = Peer::new() else {
        println!("skipped: set PYTHON to a Python with torch, torchvision, numpy and Pillow");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    for (name, images) in [("one", 1), ("few", FEW), ("many", MANY), ("50", 50), ("1000", 1000)] {
        make_images(&place.join(name), images);
    }
    let checkpoints = peer.checkpoints(place);
    println!("resnet50 at {SIDE} x {SIDE}; medians of {ROUNDS} rounds\n");
    start(place);
    cold(place, &peer, &checkpoints);
    for (what, layers) in [("10 pictures an image", "auto"), ("49 pictures an image", "all")] {
        steady(place, &peer, &checkpoints[0], what, layers);
    }
    memory(place);
}

/// Photographs, near enough: smooth, with edges and a little noise.
fn make_images(folder: &Path, count: u32) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..count {
        let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let (a, b) = (x as f32 / 31.0, y as f32 / (17.0 + number as f32 % 13.0));
            let noise = (x * 7919 + y * 104_729 + number * 31) % 23;
            let inside = (x / 40 + y / 56 + number) % 3 == 0;
            let value = |phase: f32| {
                let wave = (a + phase).sin() * (b - phase).cos() * 90.0 + 128.0;
                (wave + if inside { 40.0 } else { 0.0 }) as u32 + noise
            };
            Rgb([value(0.0), value(0.7), value(1.9)].map(|value| value.min(255) as u8))
        });
        picture.save(folder.join(format!("{number:04}.png"))).unwrap();
    }
}

struct Peer {
    python: String,
    script: PathBuf,
}

impl Peer {
    fn new() -> Option<Peer> {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let modules = ["-c", "import torch, torchvision, numpy, PIL"];
        let has = Command::new(&python).args(modules).stderr(Stdio::null()).status();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/render.py");
        has.is_ok_and(|status| status.success()).then_some(Peer { python, script })
    }

    fn command(&self, place: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).args(arguments).current_dir(place);
        command
    }

    fn heatmaps(&self, place: &Path, layers: &str, images: &str, folds: &[String]) -> Command {
        let out = fresh();
        let mut arguments = vec!["heatmaps", &out, layers, images];
        arguments.extend(folds.iter().map(String::as_str));
        self.command(place, &arguments)
    }

    /// What a training script would have saved of each fold.
    fn checkpoints(&self, place: &Path) -> Vec<String> {
        let of = |fold: usize| {
            let (source, target) = (fold_file(fold), format!("fold_{fold}.pth"));
            run(self.command(place, &["checkpoint", &source, &target]));
            target
        };
        (1..=3).map(of).collect()
    }
}

fn fold_file(fold: usize) -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/resnet50");
    models.join(format!("fold_{fold}.pt")).to_string_lossy().into_owned()
}

fn actviz(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actviz"));
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    command.env("ACTVIZ_MODELS", models).args(arguments).current_dir(place);
    command
}

/// A folder of which nobody has heard. To write over a file costs more than to write it, if
/// the file system looks after what was deleted a moment ago, as ext4 does.
fn fresh() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("out-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn render(place: &Path, images: &str, more: &[&str]) -> Command {
    let (side, out) = (SIDE.to_string(), fresh());
    let mut arguments = vec!["render", "-m", "resnet50", "--input-size", &side, "-q"];
    arguments.extend(["-o", &out, images]);
    arguments.extend(more);
    actviz(place, &arguments)
}

struct Ran {
    seconds: f64,
    /// The most memory of the process.
    megabytes: f64,
    said: String,
}

/// Runs a whole process; GNU time tells of its memory, if it is there.
fn run(command: Command) -> Ran {
    const TIME: &str = "/usr/bin/time";
    let mut timed = Command::new(TIME);
    timed.args(["-f", "%M"]).arg(command.get_program()).args(command.get_args());
    let mut command = if Path::new(TIME).exists() {
        let folder = command.get_current_dir().unwrap_or(Path::new(".")).to_owned();
        for (name, value) in command.get_envs() {
            timed.env(name, value.unwrap_or_default());
        }
        timed.current_dir(folder);
        timed
    } else {
        command
    };
    let start = Instant::now();
    let done = command.stderr(Stdio::piped()).output().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}\n{errors}");
    let kilobytes = errors.lines().last().and_then(|line| line.parse::<f64>().ok());
    Ran {
        seconds,
        megabytes: kilobytes.unwrap_or(f64::NAN) / 1024.0,
        said: String::from_utf8_lossy(&done.stdout).into_owned(),
    }
}

/// Every command once a round; the first round warms caches and does not count.
fn in_turn<const N: usize>(mut measures: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    let mut found = [const { Vec::new() }; N];
    for round in 0..=ROUNDS {
        for (measure, found) in measures.iter_mut().zip(&mut found) {
            let value = measure();
            if round > 0 {
                found.push(value);
            }
        }
    }
    found.map(|mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

/// What every command pays before it begins.
fn start(place: &Path) {
    let [help, mistake, compare] = in_turn([
        &mut || run(actviz(place, &["--help"])).seconds,
        &mut || {
            let start = Instant::now();
            let done = actviz(place, &["render", "--no-such-flag"]).output().unwrap();
            assert_eq!(done.status.code(), Some(2));
            start.elapsed().as_secs_f64()
        },
        &mut || run(actviz(place, &["compare", "--help"])).seconds,
    ]);
    println!("start");
    for (what, seconds) in
        [("--help", help), ("a wrong flag", mistake), ("compare --help", compare)]
    {
        println!("  {what:<28}{:>9.0} ms", seconds * 1e3);
    }
}

/// Three folds, one image, ten pictures a fold.
fn cold(place: &Path, peer: &Peer, checkpoints: &[String]) {
    let (mut own, mut other) = (f64::NAN, f64::NAN);
    let [actviz, python] = in_turn([
        &mut || {
            let ran = run(render(place, "one", &["--folds", "3"]));
            own = own.max(ran.megabytes);
            ran.seconds
        },
        &mut || {
            let ran = run(peer.heatmaps(place, "ten", "one", checkpoints));
            other = other.max(ran.megabytes);
            ran.seconds
        },
    ]);
    println!("\ncold: 3 folds, one image, 10 pictures a fold, whole processes");
    println!("  {:<28}{actviz:>9.2} s {own:>8.0} MB", "actviz");
    println!("  {:<28}{python:>9.2} s {other:>8.0} MB", "Python with hooks");
    println!("  {:<28}{:>9.2} x {:>7.0} %", "ratio", python / actviz, 100.0 * own / other);
}

/// Milliseconds an image, once everything is loaded.
fn steady(place: &Path, peer: &Peer, checkpoint: &String, what: &str, layers: &str) {
    let flags = ["--fold", "1", "--layers", layers];
    let of_peer = if layers == "all" { "all" } else { "ten" };
    let [few, many, python, bare, bf16_few, bf16] = in_turn([
        &mut || run(render(place, "few", &flags)).seconds,
        &mut || run(render(place, "many", &flags)).seconds,
        &mut || {
            let ran = run(peer.heatmaps(place, of_peer, "many", std::slice::from_ref(checkpoint)));
            ran.said.trim().parse::<f64>().unwrap() * 1e3 / f64::from(MANY)
        },
        &mut || {
            let count = MANY.to_string();
            let ran = run(peer.command(place, &["forward", &count, "8", &fold_file(1)]));
            ran.said.trim().parse::<f64>().unwrap() * 1e3 / f64::from(MANY)
        },
        &mut || run(render(place, "few", &[&flags[..], &["--precision", "bf16"]].concat())).seconds,
        &mut || {
            run(render(place, "many", &[&flags[..], &["--precision", "bf16"]].concat())).seconds
        },
    ]);
    let an_image = |few: f64, many: f64| (many - few) * 1e3 / f64::from(MANY - FEW);
    let (actviz, bf16) = (an_image(few, many), an_image(bf16_few, bf16));
    println!("\nsteady: {what}, milliseconds an image");
    println!("  {:<28}{actviz:>9.1}", "actviz");
    println!("  {:<28}{python:>9.1}{:>9.2} x", "Python with hooks", python / actviz);
    println!("  {:<28}{bare:>9.1}{:>8.0} %", "the bare network", 100.0 * bare / actviz);
    println!("  {:<28}{bf16:>9.1}{:>9.2} x", "actviz --precision bf16", actviz / bf16);
}

/// Whether memory grows with the number of images.
fn memory(place: &Path) {
    let most = |images: &str| run(render(place, images, &["--fold", "1"])).megabytes;
    let (few, many) = (most("50"), most("1000"));
    println!("\nmost memory, 10 pictures an image");
    println!("  {:<28}{few:>9.0} MB", "50 images");
    println!("  {:<28}{many:>9.0} MB{:>8.2} x", "1000 images", many / few);
}
