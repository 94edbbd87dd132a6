//! `actviz compare` against odiff and pixelmatch: the same 1,000 pairs of 224 x 224
//! pixels, a tenth of them differing, each tool as a whole process on all cores.
//!
//! `cargo bench --bench compare`; npm fetches the peers into target/peers.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{Rgb, RgbImage};

const PAIRS: u32 = 1_000;
const SIDE: u32 = 224;
const ROUNDS: usize = 7;

fn main() {
    let Some(peers) = peers() else {
        println!("skipped: npm could not fetch the peers");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    println!("{PAIRS} pairs of {SIDE} x {SIDE}, {} differ; {ROUNDS} rounds", PAIRS / 10);
    for (what, encoder) in [
        ("equal pictures are equal files", FilterType::Adaptive),
        ("every file was encoded anew", FilterType::Sub),
    ] {
        let folder = place.path().join(encoder_name(encoder));
        make(&folder, encoder);
        println!("\n{what}");
        measure(&folder, &peers);
    }
}

fn encoder_name(filter: FilterType) -> String {
    format!("{filter:?}")
}

/// Smooth heatmaps; in a tenth of NEW's one spot of 9 x 9 is other.
fn make(folder: &Path, filter: FilterType) {
    for side in ["golden", "new"] {
        fs::create_dir_all(folder.join(side)).unwrap();
    }
    let table = actviz::colormap::Colormap::Viridis.table();
    for number in 0..PAIRS {
        let (slow, fast) = (0.02 + number as f32 * 3e-5, 0.11 - number as f32 * 4e-5);
        let mut picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let (x, y) = (x as f32, y as f32);
            let value = (x * slow).sin() * (y * fast).cos() + ((x + y) * 0.05).sin();
            Rgb(table[((value + 2.0) / 4.0 * 255.0) as usize])
        });
        let name = format!("{number}.png");
        save(&picture, &folder.join("golden").join(&name), FilterType::Adaptive);
        if number % 10 == 0 {
            for (x, y) in (0..9).flat_map(|x| (0..9).map(move |y| (x, y))) {
                picture.put_pixel(100 + x, 80 + y, Rgb([255, 0, 0]));
            }
        }
        save(&picture, &folder.join("new").join(&name), filter);
    }
}

fn save(picture: &RgbImage, file: &Path, filter: FilterType) {
    let file = std::io::BufWriter::new(fs::File::create(file).unwrap());
    let encoder = PngEncoder::new_with_quality(file, CompressionType::Default, filter);
    picture.write_with_encoder(encoder).unwrap();
}

/// Every tool once a round, in turn, so that whatever slows the machine slows all.
fn measure(folder: &Path, peers: &Path) {
    let mut actviz = Command::new(env!("CARGO_BIN_EXE_actviz"));
    actviz.args(["compare", "golden", "new"]);
    let mut tools = [
        ("actviz", actviz),
        ("odiff", node(peers, "odiff.mjs")),
        ("pixelmatch", { node(peers, "pixelmatch.mjs") }),
    ];
    for (_, tool) in &mut tools[1..] {
        tool.args(["golden", "new"]);
    }
    let mut seconds = vec![Vec::new(); tools.len()];
    for round in 0..=ROUNDS {
        for ((name, tool), seconds) in tools.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            let done = tool.current_dir(folder).stderr(Stdio::inherit()).output().unwrap();
            let taken = start.elapsed().as_secs_f64();
            let said = String::from_utf8_lossy(&done.stdout);
            let found = match *name {
                "actviz" => said.contains(&format!("{} different", PAIRS / 10)),
                _ => said.trim() == (PAIRS / 10).to_string(),
            };
            assert!(found, "{name} did not find what differs: {said}");
            // The first round warms the disk's cache.
            if round > 0 {
                seconds.push(taken);
            }
        }
    }
    let medians: Vec<f64> = seconds.iter_mut().map(|seconds| median(seconds)).collect();
    println!("  {:<12}{:>9}{:>9}{:>9}{:>8}", "", "median s", "min s", "max s", "ratio");
    for (((name, _), seconds), median) in tools.iter().zip(&seconds).zip(&medians) {
        let (least, most) = (seconds[0], seconds[seconds.len() - 1]);
        let ratio = median / medians[0];
        println!("  {name:<12}{median:>9.3}{least:>9.3}{most:>9.3}{ratio:>8.2}");
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn node(peers: &Path, script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(peers.join(script));
    command
}

/// The folder of the peers' scripts, with what they import.
fn peers() -> Option<PathBuf> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    fs::create_dir_all(&folder).unwrap();
    for name in ["package.json", "odiff.mjs", "pixelmatch.mjs"] {
        fs::copy(scripts.join(name), folder.join(name)).unwrap();
    }
    let install = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"];
    let fetched = Command::new("npm").args(install).current_dir(&folder).status();
    fetched.is_ok_and(|status| status.success()).then_some(folder)
}
