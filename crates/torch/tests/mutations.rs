//! Damaged networks against the real loader: each gives maps, a clean error, or an end
//! of its process that the program reports as a clean error.
//!
//! Starting the program for each of thousands would take many minutes. So this test
//! starts itself as a worker that loads them one after the other, and gives only those
//! to the program that the worker did not survive.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use actviz_core::engine::{
    Batch, Device, DeviceChoice, Engine, InputShape, Network, Probe, Reduce, Taps,
};
use actviz_core::error::Error;
use actviz_core::model_file::ModelFile;
use actviz_torch::{TorchEngine, end_with_parent, limit_memory};
use ndarray::Array4;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// Where the worker finds the files.
const FOLDER: &str = "ACTVIZ_TEST_MUTATIONS";
/// The first file that it loads.
const FIRST: &str = "ACTVIZ_TEST_FIRST";
const MUTATIONS: usize = 2000;
const MODELS: [&str; 6] = [
    "hostile/plain.pt",
    "hostile/restored.pt",
    "cases/branched.scripted.pt",
    "cases/looped.scripted.pt",
    "cases/dict_output.scripted.pt",
    "cases/in_place.traced.pt",
];

/// Marsaglia's xorshift64: the same damage on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// One to three times: a bit, a byte, a doubled, moved or missing piece.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(5) {
                _ if bytes.is_empty() => return,
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.below(256) as u8,
                2 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                3 => bytes[at..end].reverse(),
                _ => drop(bytes.drain(at..end)),
            }
        }
    }
}

/// A damaged copy: every third time in the raw directory, else in a pickle or the code,
/// which is packed again so that its checksum is right.
fn mutant(model: &[u8], number: usize) -> Vec<u8> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1) << 17);
    if number.is_multiple_of(3) {
        let directory = model.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        let mut tail = model[directory..].to_vec();
        random.damage(&mut tail);
        return [&model[..directory], &tail].concat();
    }
    let mut old = ZipArchive::new(Cursor::new(model)).unwrap();
    let names: Vec<String> =
        (0..old.len()).map(|at| old.by_index(at).unwrap().name().unwrap().into_owned()).collect();
    let ends: &[&str] = if number % 3 == 1 { &[".pkl"] } else { &[".py"] };
    let chosen: Vec<&String> =
        names.iter().filter(|name| ends.iter().any(|end| name.ends_with(end))).collect();
    let victim = chosen[random.below(chosen.len())];
    let mut new = ZipWriter::new(Cursor::new(Vec::new()));
    for name in &names {
        let mut bytes = Vec::new();
        old.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        if name == victim {
            random.damage(&mut bytes);
        }
        new.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        new.write_all(&bytes).unwrap();
    }
    new.finish().unwrap().into_inner()
}

fn file(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number}.pt"))
}

fn open(engine: &TorchEngine, file: &Path) -> Result<Box<dyn Network>, Error> {
    engine.open(&ModelFile::open(file)?, Taps::Activations)
}

/// Not a test by itself: loads and runs the files, and says after each how it went.
#[test]
#[ignore = "started by the test below"]
fn worker() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let first: usize = std::env::var(FIRST).unwrap().parse().unwrap();
    end_with_parent().unwrap();
    let engine = TorchEngine::new(DeviceChoice::Exactly(Device::Cpu), Some(1));
    let engine = engine.unwrap().within(64 << 20);
    limit_memory(4 << 30).unwrap();
    for number in (first..).take_while(|number| file(&folder, *number).exists()) {
        let drawn = open(&engine, &file(&folder, number)).and_then(|mut network| {
            let channels = network.input_channels().unwrap_or(3).clamp(1, 64);
            let layers = network.layers(InputShape { channels, height: 8, width: 8 })?;
            let probe = Probe::Reduced(Reduce::Mean);
            let probes: Vec<_> = layers.into_iter().map(|layer| (layer.name, probe)).collect();
            let batch = Batch::of(Array4::ones((1, channels, 8, 8)));
            network.run(&batch, &probes)
        });
        match drawn {
            Ok(_) => println!("\n{number} drawn"),
            Err(error) => println!("\n{number} refused {error}"),
        }
    }
    println!("\nend");
}

/// What became of the files.
#[derive(Debug, Default)]
struct Outcomes {
    drawn: usize,
    refused: usize,
    /// Those that the worker did not survive.
    fatal: Vec<usize>,
}

fn outcomes(folder: &Path) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut next = 0;
    loop {
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--ignored", "--nocapture", "--test-threads", "1"])
            .envs([(FOLDER, folder.as_os_str()), (FIRST, next.to_string().as_ref())])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| said.send(line).ok())
        });
        // One that hangs is as good as dead; a minute is no claim about speed.
        while let Ok(line) = heard.recv_timeout(Duration::from_secs(60)) {
            if line == "end" {
                worker.wait().unwrap();
                return outcomes;
            }
            let mut words = line.splitn(3, ' ');
            let Some(Ok(number)) = words.next().map(str::parse::<usize>) else { continue };
            match words.next() {
                Some("drawn") => outcomes.drawn += 1,
                Some("refused") => {
                    assert!(words.next().is_some_and(|text| !text.is_empty()), "{number}");
                    outcomes.refused += 1;
                }
                _ => continue,
            }
            next = number + 1;
        }
        let _ = worker.kill();
        worker.wait().unwrap();
        outcomes.fatal.push(next);
        next += 1;
    }
}

/// The whole program on what the worker did not survive.
fn assert_clean(file: &Path) {
    let place = tempfile::tempdir().unwrap();
    let picture = fixtures().join("pictures/black.png");
    // Cargo puts both programs beside each other.
    let program = Path::new(env!("CARGO_BIN_EXE_actviz-torch")).with_file_name("actviz");
    let output = Command::new(program)
        .current_dir(place.path())
        .args(["render", "--input-size", "8", "--timeout", "20", "--max-memory", "4G", "-o", "out"])
        .arg("-m")
        .arg(file)
        .arg(picture)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 2 | 75)), "{}: {words}", file.display());
    assert!(!words.contains("panicked"), "{words}");
    assert!(words.contains("error: ") || output.status.success(), "{words}");
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = fixtures();
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn two_thousand_damaged_networks_are_drawn_or_refused_and_none_takes_us_down() {
    let place = tempfile::tempdir().unwrap();
    let models = MODELS.map(fixture);
    for number in 0..MUTATIONS {
        // In turn by thirds, so that each model sees each kind of damage.
        let model = &models[number / 3 % models.len()];
        fs::write(file(place.path(), number), mutant(model, number)).unwrap();
    }
    let outcomes = outcomes(place.path());
    println!("{outcomes:?}");
    assert_eq!(outcomes.drawn + outcomes.refused + outcomes.fatal.len(), MUTATIONS);
    // Harmless damage, and damage that is found: both were tried.
    assert!(outcomes.drawn > 0 && outcomes.refused > 0, "{outcomes:?}");
    outcomes.fatal.iter().for_each(|number| assert_clean(&file(place.path(), *number)));
}

#[test]
fn a_network_that_is_cut_off_anywhere_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let whole = fixture("hostile/plain.pt");
    for part in 0..64 {
        fs::write(file(place.path(), part), &whole[..whole.len() * part / 64]).unwrap();
    }
    let outcomes = outcomes(place.path());
    println!("{outcomes:?}");
    assert_eq!(outcomes.refused, 64, "{outcomes:?}");
}
