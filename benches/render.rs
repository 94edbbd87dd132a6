//! `actviz render` against the script that people write today (benches/peers/render.py:
//! PyTorch with hooks, PIL), and against the bare network.
//!
//! `cargo build --release && cargo bench --bench render`; PYTHON names a Python with torch,
//! torchvision, numpy and Pillow. What is measured first of all are checkpoints as a user has
//! them: three ResNet50s that the peer saves, in no bundle. All commands of a comparison run in
//! turn, so that whatever slows the machine slows all; medians are printed, their ratios, and the
//! bars. ACTVIZ_BENCH_QUICK=1 runs each once with few images, to see that all of it runs.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use actviz::engine::{Batch, Engine, InputShape, LayerId, Probe, Reduce, Taps};
use actviz::model_file::ModelFile;
use actviz::worker::{WorkerConfig, WorkerEngine};
use actviz_core::protocol::{self, Answer, Request};
use image::{Rgb, RgbImage};
use ndarray::Array4;

const SIDE: u32 = 224;
/// How much is measured.
struct Amount {
    rounds: usize,
    few: u32,
    many: u32,
    /// Where memory is measured.
    most: u32,
}

static AMOUNT: LazyLock<Amount> = LazyLock::new(|| match std::env::var_os("ACTVIZ_BENCH_QUICK") {
    Some(_) => Amount { rounds: 1, few: 1, many: 8, most: 16 },
    None => Amount { rounds: 3, few: 8, many: 96, most: 1000 },
});

/// What must hold (docs/performance.md).
const HELP_MS: f64 = 15.0;
const HELP_MB: f64 = 20.0;
const COLD_RATIO: f64 = 6.0;
const FEW_SHARE: f64 = 88.0;
const ALL_SHARE: f64 = 63.0;
const CROSSING_SHARE: f64 = 3.0;

fn main() {
    let Some(peer) = Peer::new() else {
        println!("skipped: set PYTHON to a Python with torch, torchvision, numpy and Pillow");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let Amount { rounds, few, many, most } = *AMOUNT;
    for (name, images) in [("one", 1), ("few", few), ("many", many), ("most", most)] {
        make_images(&place.join(name), images);
    }
    run(peer.command(place, &["checkpoints", "own", "3"]));
    println!("resnet50 at {SIDE} x {SIDE}; medians of {rounds} rounds\n");
    // `cargo bench --bench render -- cold crossing` measures these alone.
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|arg| arg == name);
    if wanted("start") {
        start(place);
    }
    if wanted("cold") {
        cold(place, &peer);
    }
    if wanted("steady") {
        steady(place, &peer, "10 pictures an image", "auto", FEW_SHARE);
        steady(place, &peer, "49 pictures an image", "all", ALL_SHARE);
    }
    if wanted("crossing") {
        crossing(place);
    }
    if wanted("memory") {
        memory(place);
    }
}

/// Whether a bar is met, in a word.
fn verdict(holds: bool) -> &'static str {
    if holds { "" } else { "   MISSED" }
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
}

/// A fold that the peer has saved: as TorchScript, and as what a training script leaves.
fn own(fold: usize, ending: &str) -> String {
    format!("own/fold_{fold}.{ending}")
}

/// The layers that `actviz` chooses in the bundle, by name: for files in no bundle.
const TEN: &str = "relu,layer1.0.relu_2,layer1.2.relu_2,layer2.0.relu_2,layer2.3.relu_2,\
                   layer3.0.relu_2,layer3.2.relu_2,layer3.5.relu_2,layer4.0.relu_2,\
                   layer4.2.relu_2";

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

/// Of checkpoints in no bundle.
const OWN: &str = "own/fold_{fold}.pt";

fn render(place: &Path, model: &str, images: &str, more: &[&str]) -> Command {
    let (side, out) = (SIDE.to_string(), fresh());
    let mut arguments = vec!["render", "-m", model, "--input-size", &side, "-q"];
    arguments.extend(["-o", &out, images]);
    arguments.extend(more);
    actviz(place, &arguments)
}

struct Ran {
    seconds: f64,
    /// The most memory of one of the processes: that of children that were waited for counts.
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
    for round in 0..=AMOUNT.rounds {
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
    let mut megabytes = f64::NAN;
    let [help, mistake, compare] = in_turn([
        &mut || {
            let ran = run(actviz(place, &["--help"]));
            megabytes = megabytes.max(ran.megabytes);
            // Without GNU time's own start.
            seconds_of(actviz(place, &["--help"]), 0)
        },
        &mut || seconds_of(actviz(place, &["render", "--no-such-flag"]), 2),
        &mut || seconds_of(actviz(place, &["compare", "--help"]), 0),
    ]);
    println!("start");
    let holds = help * 1e3 <= HELP_MS && megabytes <= HELP_MB;
    println!("  {:<34}{:>7.1} ms {megabytes:>7.1} MB{}", "--help", help * 1e3, verdict(holds));
    for (what, seconds) in [("a wrong flag", mistake), ("compare --help", compare)] {
        println!("  {what:<34}{:>7.1} ms", seconds * 1e3);
    }
}

fn seconds_of(mut command: Command, code: i32) -> f64 {
    let start = Instant::now();
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(code), "{command:?}");
    start.elapsed().as_secs_f64()
}

/// Three folds, one image, ten pictures a fold.
fn cold(place: &Path, peer: &Peer) {
    let checkpoints: Vec<String> = (1..=3).map(|fold| own(fold, "pth")).collect();
    let mut most = [f64::NAN; 3];
    let [mine, bundle, python] = {
        let [of_mine, of_bundle, of_python] = &mut most;
        let timed = |most: &mut f64, command: Command| {
            let ran = run(command);
            *most = most.max(ran.megabytes);
            ran.seconds
        };
        let flags = ["--folds", "3"];
        let ten = ["--folds", "3", "--layers", TEN];
        in_turn([
            &mut || timed(of_mine, render(place, OWN, "one", &ten)),
            &mut || timed(of_bundle, render(place, "resnet50", "one", &flags)),
            &mut || timed(of_python, peer.heatmaps(place, "ten", "one", &checkpoints)),
        ])
    };
    println!("\ncold: 3 folds, one image, 10 pictures a fold, whole processes");
    let line = |what: &str, seconds: f64, megabytes: f64| {
        println!("  {what:<34}{seconds:>7.2} s {megabytes:>8.0} MB");
    };
    line("actviz, own checkpoints", mine, most[0]);
    line("Python with hooks", python, most[2]);
    let (ratio, share) = (python / mine, 100.0 * most[0] / most[2]);
    println!("  {:<34}{ratio:>7.2} x {share:>8.0} %{}", "ratio", verdict(ratio >= COLD_RATIO));
    line("actviz, the bundle", bundle, most[1]);
}

/// Milliseconds an image, once everything is loaded.
fn steady(place: &Path, peer: &Peer, what: &str, layers: &str, bar: f64) {
    let all = layers == "all";
    let flags = ["--fold", "1", "--layers", if all { "all" } else { TEN }];
    let of_peer = if all { "all" } else { "ten" };
    let (few_images, many_images) = (AMOUNT.few, AMOUNT.many);
    let said = |ran: Ran| ran.said.trim().parse::<f64>().unwrap() * 1e3 / f64::from(many_images);
    let bf16_flags = [&flags[..], &["--precision", "bf16"]].concat();
    let [few, many, python, bare, bf16_few, bf16] = in_turn([
        &mut || run(render(place, OWN, "few", &flags)).seconds,
        &mut || run(render(place, OWN, "many", &flags)).seconds,
        &mut || said(run(peer.heatmaps(place, of_peer, "many", &[own(1, "pth")]))),
        &mut || {
            let count = many_images.to_string();
            said(run(peer.command(place, &["forward", &count, "8", &own(1, "pt")])))
        },
        &mut || run(render(place, OWN, "few", &bf16_flags)).seconds,
        &mut || run(render(place, OWN, "many", &bf16_flags)).seconds,
    ]);
    let an_image = |few: f64, many: f64| (many - few) * 1e3 / f64::from(many_images - few_images);
    let (actviz, bf16) = (an_image(few, many), an_image(bf16_few, bf16));
    let share = 100.0 * bare / actviz;
    println!("\nsteady: {what}, milliseconds an image");
    println!("  {:<34}{actviz:>7.1}", "actviz");
    println!("  {:<34}{python:>7.1}{:>9.2} x", "Python with hooks", python / actviz);
    println!("  {:<34}{bare:>7.1}{share:>8.0} %{}", "the bare network", verdict(share >= bar));
    println!("  {:<34}{bf16:>7.1}{:>9.2} x", "actviz --precision bf16", actviz / bf16);
}

/// What it costs that networks run in another process: a batch of eight with all layers, and
/// the messages of that batch with nothing computed between them.
fn crossing(place: &Path) {
    let engine = WorkerEngine::start(WorkerConfig::find().unwrap()).unwrap().ready().unwrap();
    let file = ModelFile::open(&place.join(own(1, "pt"))).unwrap();
    let mut network = engine.open(&file, Taps::Activations).unwrap();
    let side = SIDE as usize;
    let layers = network.layers(InputShape { channels: 3, height: side, width: side }).unwrap();
    let probes: Vec<(LayerId, Probe)> =
        layers.into_iter().map(|layer| (layer.name, Probe::Reduced(Reduce::Mean))).collect();
    let batch = Batch::of(Array4::from_elem((8, 3, side, side), 0.5));
    let answer = network.run(&batch, &probes).unwrap();
    let shapes = protocol::shapes(&answer);
    let arrays = answer.into_iter().flatten().flatten();
    let numbers: Vec<Vec<f32>> = arrays.map(|array| array.into_iter().collect()).collect();
    let megabytes = |count: usize| (4 * count) as f64 / 1e6;
    let (there, back) = (batch.images.len(), numbers.iter().map(Vec::len).sum());

    let (mut asking, mut answering) = std::os::unix::net::UnixStream::pair().unwrap();
    let echo = thread::spawn(move || {
        let parts: Vec<&[f32]> = numbers.iter().map(Vec::as_slice).collect();
        let answer = Answer::Outputs(shapes);
        while protocol::receive::<Request>(&mut answering, u64::MAX).unwrap().is_some() {
            protocol::send(&mut answering, &answer, &parts, None).unwrap();
        }
    });
    let shape = batch.images.dim().into();
    let request = Request::Run { network: 1, shape, fill: 8, probes: probes.clone() };
    let images = batch.images.as_slice().unwrap();
    let mut message = || {
        let start = Instant::now();
        protocol::send(&mut asking, &request, &[images], None).unwrap();
        let answer = protocol::receive::<Answer>(&mut asking, u64::MAX).unwrap().unwrap();
        let Answer::Outputs(shapes) = &answer.header else { unreachable!("it is an echo") };
        protocol::outputs(shapes, &answer.numbers, 8, probes.len()).unwrap();
        start.elapsed().as_secs_f64() * 1e3
    };
    // One is a thousandth of a second: the median of a few.
    let mut messages = || {
        let mut times: Vec<f64> = (0..9).map(|_| message()).collect();
        times.sort_by(f64::total_cmp);
        times[4]
    };
    let [ran, crossed] = in_turn([
        &mut || {
            let start = Instant::now();
            network.run(&batch, &probes).unwrap();
            start.elapsed().as_secs_f64() * 1e3
        },
        &mut messages,
    ]);
    drop(asking);
    echo.join().unwrap();
    let share = 100.0 * crossed / ran;
    println!(
        "\ncrossing: a batch of 8, {} maps an image; {:.1} MB there, {:.1} MB back",
        probes.len(),
        megabytes(there),
        megabytes(back)
    );
    println!("  {:<34}{ran:>7.1} ms", "run by the engine");
    println!("  {:<34}{crossed:>7.2} ms", "the messages alone");
    println!("  {:<34}{share:>7.2} %{}", "share", verdict(share <= CROSSING_SHARE));
}

/// Whether memory grows with the number of images.
fn memory(place: &Path) {
    let flags = ["--fold", "1", "--layers", TEN];
    let most = |images: &str| run(render(place, OWN, images, &flags)).megabytes;
    let (few, many) = (most("many"), most("most"));
    println!("\nmost memory of a process, 10 pictures an image");
    println!("  {:<34}{few:>7.0} MB", format!("{} images", AMOUNT.many));
    println!("  {:<34}{many:>7.0} MB{:>8.2} x", format!("{} images", AMOUNT.most), many / few);
}
