//! Real runs that are killed, interrupted, or left without room, and end as if nothing had
//! been.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use actviz::manifest::Manifest;
use rustix::process::{Pid, Signal, kill_process};

/// A folder with many small images.
struct Place(tempfile::TempDir);

/// Every file's bytes by its name, the bookkeeping of runs included.
type Tree = BTreeMap<String, Vec<u8>>;

impl Place {
    fn new(images: u32) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("images")).unwrap();
        for number in 0..images {
            let picture = image::RgbImage::from_fn(24, 24, |x, y| {
                let value = |step: u32| ((x * step + y * 7 + number * 13) % 256) as u8;
                image::Rgb([value(3), value(5), value(11)])
            });
            picture.save(place.path(&format!("images/{number:04}.png"))).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn actviz(&self, out: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_actviz"));
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        command.current_dir(self.0.path()).env("ACTVIZ_MODELS", models);
        command.args(["render", "--model", "cnn9", "--quiet", "-o", out, "images"]).args(flags);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end, which must be a good one.
    fn whole(&self, out: &str, flags: &[&str]) -> Tree {
        let done = self.actviz(out, flags).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.tree(out)
    }

    fn merge(&self, out: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_actviz"));
        command.args(["merge", "-q"]).arg(self.path(out));
        assert!(command.status().unwrap().success());
    }

    fn tree(&self, out: &str) -> Tree {
        let mut tree = Tree::new();
        collect(&self.path(out), &self.path(out), &mut tree);
        tree
    }
}

fn collect(top: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(top, &path, tree);
        } else {
            let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
            tree.insert(name, fs::read(&path).unwrap());
        }
    }
}

fn assert_same(found: &Tree, expected: &Tree, when: &str) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{when}");
    let differs = found.iter().find(|(name, bytes)| expected[*name] != **bytes);
    assert!(differs.is_none(), "{when}: {:?}", differs.map(|(name, _)| name));
}

/// Waits until the run has written so many pictures.
fn wait_for_pictures(child: &mut Child, journal: &Path, pictures: usize) {
    let start = Instant::now();
    loop {
        let lines = fs::read_to_string(journal).unwrap_or_default().lines().count();
        if lines > pictures {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
        assert!(start.elapsed() < Duration::from_secs(120), "it writes nothing");
        sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Marsaglia's xorshift: the same moments in every run of the test.
struct Moments(u64);

impl Moments {
    fn next_below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn a_thousand_images_come_out_the_same_in_one_go_and_in_four_shards() {
    let place = Place::new(1000);
    let expected = place.whole("whole", &["--folds", "1"]);
    assert_eq!(expected.len(), 3 * 1000 + 1);
    for shard in ["1/4", "2/4", "3/4", "4/4"] {
        place.whole("out", &["--folds", "1", "--shard", shard]);
    }
    place.merge("out");
    assert_same(&place.tree("out"), &expected, "merged");
}

#[test]
fn a_run_that_is_killed_eighty_times_comes_out_as_in_one_go() {
    killed(80, &["--folds", "1"]);
}

#[test]
fn a_run_whose_pictures_wait_is_killed_twenty_times_and_comes_out_as_in_one_go() {
    killed(20, &["--folds", "2", "--scale", "folds", "--view", "heat,sheet"]);
}

/// Kills a run again and again, and compares what comes out when none is in time.
fn killed(times: usize, flags: &[&str]) {
    let place = Place::new(300);
    let start = Instant::now();
    let expected = place.whole("whole", flags);
    // The other tests of this file may have slowed that one down.
    let taken = (start.elapsed().as_millis() as u64).min(700);
    let mut moments = Moments(0x2545_f491_4f6c_dd1d);
    let (mut kills, mut ends) = (0, 0);
    while kills < times {
        let mut child = place.actviz("out", flags).spawn().unwrap();
        // Some before the first picture, some when nearly all is there: each run goes on
        // where the one before it was killed.
        sleep(Duration::from_millis(moments.next_below(taken)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.signal() == Some(9) {
            kills += 1;
            continue;
        }
        assert!(status.success());
        ends += 1;
        assert_same(&place.tree("out"), &expected, &format!("after {kills} kills"));
        fs::remove_dir_all(place.path("out")).unwrap();
    }
    assert_same(&place.whole("out", flags), &expected, "in the end");
    eprintln!("{kills} kills, {} runs that ended", ends + 1);
}

#[test]
fn ctrl_c_ends_a_run_in_order_with_130_and_sigterm_with_143() {
    let place = Place::new(400);
    let flags = ["--folds", "1"];
    let expected = place.whole("whole", &flags);
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = place.actviz("out", &flags).spawn().unwrap();
        wait_for_pictures(&mut child, &place.path("out/.actviz-run"), 20);
        signal(&child, number);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let manifest = Manifest::read(&place.path("out")).unwrap().unwrap();
        assert!(manifest.interrupted && manifest.pictures.len() >= 20);
        for picture in &manifest.pictures {
            let name = picture.file.clone();
            assert_eq!(fs::read(place.path("out").join(&name)).unwrap(), expected[&name]);
        }
        assert_same(&place.whole("out", &flags), &expected, "taken up again");
        fs::remove_dir_all(place.path("out")).unwrap();
    }
}

#[test]
fn a_second_ctrl_c_ends_a_run_at_once() {
    let place = Place::new(400);
    let mut child = place.actviz("out", &["--folds", "1"]).spawn().unwrap();
    wait_for_pictures(&mut child, &place.path("out/.actviz-run"), 20);
    // Stopped, so that it sees both at once.
    signal(&child, Signal::STOP);
    signal(&child, Signal::INT);
    signal(&child, Signal::CONT);
    sleep(Duration::from_millis(1));
    let _ = kill_process(Pid::from_child(&child), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// The commands that run networks, with one that never answers.
fn hanging(place: &Place, command: &str) -> Child {
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hostile/endless.pt");
    let mut hanging = Command::new(env!("CARGO_BIN_EXE_actviz"));
    hanging.current_dir(place.0.path()).arg(command).arg("-m").arg(hostile);
    hanging.args(["--input-size", "8", "--quiet"]);
    match command {
        "render" => hanging.args(["-o", "out", "images"]),
        "insights" => hanging.arg("images"),
        _ => &mut hanging,
    };
    let mut child = hanging.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Until its worker computes: that takes more of a processor than being loaded.
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let start = Instant::now();
    while Path::new("/proc/self/task").exists() {
        assert!(child.try_wait().unwrap().is_none(), "{command} ended by itself");
        assert!(start.elapsed() < Duration::from_secs(120), "{command} runs nothing");
        let worker = fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
        if !worker.is_empty() {
            // proc_pid_stat(5): field 14 is the time in user mode, in hundredths of a second.
            let figures = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap_or_default();
            let ticks: u64 = figures.split(' ').nth(13).unwrap_or("0").parse().unwrap();
            if ticks > 200 {
                break;
            }
        }
        sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn a_signal_ends_a_command_whose_network_hangs_without_waiting_for_the_time_limit() {
    let place = Place::new(1);
    for command in ["render", "insights", "layers"] {
        for number in [Signal::TERM, Signal::INT] {
            let mut child = hanging(&place, command);
            let start = Instant::now();
            signal(&child, number);
            let status = child.wait().unwrap();
            // A second of grace for an answer, and the time that a busy machine takes; the
            // limit is ten minutes.
            let taken = start.elapsed();
            assert!(taken < Duration::from_secs(20), "{command}: {taken:?}");
            let number = number.as_raw();
            let ended = status.signal() == Some(number) || status.code() == Some(128 + number);
            assert!(ended, "{command}: {status}");
        }
    }
}

#[test]
fn a_second_signal_ends_a_run_whose_network_hangs_at_once() {
    let place = Place::new(1);
    let mut child = hanging(&place, "render");
    signal(&child, Signal::TERM);
    sleep(Duration::from_millis(20));
    let start = Instant::now();
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn two_attempts_at_one_shard_at_once_do_no_harm() {
    let place = Place::new(200);
    let flags = ["--folds", "1", "--shard", "1/1"];
    let start = || place.actviz("out", &flags).spawn().unwrap();
    let (first, second, third) = (start(), start(), start());
    for child in [first, second, third] {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    place.merge("out");
    assert_same(&place.tree("out"), &place.whole("whole", &["--folds", "1"]), "merged");
}

/// A small disk of its own; `None` where this user may not have one.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Disk<'a>> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &options, "none"];
        let done = Command::new("mount").args(mount).arg(at).output().ok()?;
        done.status.success().then_some(Disk(at))
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_with_75_and_what_is_there_is_kept() {
    let place = Place::new(200);
    let at = place.path("disk");
    let Some(disk) = Disk::mount(&at, "2m") else {
        eprintln!("skipped: only root may mount a small disk");
        return;
    };
    let expected = place.whole("whole", &["--folds", "2"]);
    let done = place.actviz("disk/out", &["--folds", "2"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(75), "{said}");
    assert!(said.contains("the disk is full: make room"), "{said}");
    let left = place.tree("disk/out");
    assert!(left.len() > 20, "{}", left.len());
    for (name, bytes) in left.iter().filter(|(name, _)| !name.starts_with(".actviz")) {
        assert!(expected[name] == *bytes, "{name} is not whole");
    }
    disk.resize("200m");
    assert_same(&place.whole("disk/out", &["--folds", "2"]), &expected, "with room");
}
