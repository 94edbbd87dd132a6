//! The examples in examples/scaling are run: by GNU parallel and Ray really, by the other
//! schedulers' files with the variables that those set.
//!
//! A test whose tool is missing says so and is skipped, unless ACTVIZ_NEEDS_ENGINES is set.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const IMAGES: u32 = 24;

/// A folder with images, and a `bin` that is searched for programs first.
struct Place(tempfile::TempDir);

type Tree = BTreeMap<String, Vec<u8>>;

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        for folder in ["images", "bin"] {
            fs::create_dir(place.path(folder)).unwrap();
        }
        for number in 0..IMAGES {
            let picture = image::RgbImage::from_fn(20, 20, |x, y| {
                image::Rgb([x as u8 * 9, y as u8 * 9, (number * 10) as u8])
            });
            picture.save(place.path(&format!("images/photo {number}.png"))).unwrap();
        }
        place.program("actviz", &format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_actviz")));
        fs::copy(example("shard.sh"), place.path("bin/actviz-shard")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.path("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// From now on, the first attempts at this shard die while they work, as many as are
    /// given; `attempts` tells of all.
    fn kill_attempts_at(&self, shard: &str, times: u32) {
        let script = format!(
            "echo \"$*\" >>{attempts}\n\
             case \" $* \" in *' --shard {shard} '*)\n\
               for time in $(seq {times}); do mkdir {mark}.$time 2>/dev/null || continue\n\
                 {actviz} \"$@\" & child=$!\n\
                 until [ \"$(cat {journal} 2>/dev/null | wc -l)\" -gt 3 ]; do\n\
                   kill -0 $child 2>/dev/null || break\n\
                 done\n\
                 kill -9 $child; wait $child; exit 137\n\
               done;;\n\
             esac\n\
             exec {actviz} \"$@\"",
            attempts = self.path("attempts").display(),
            mark = self.path("killed").display(),
            journal =
                self.path(&format!("out/.actviz-run.{}", shard.replace('/', "-of-"))).display(),
            actviz = env!("CARGO_BIN_EXE_actviz"),
        );
        self.program("actviz", &script);
    }

    fn kills(&self) -> usize {
        (1..9).filter(|time| self.path(&format!("killed.{time}")).is_dir()).count()
    }

    /// The shards that were begun so far, in order, e.g. `2/4`.
    fn attempts(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("attempts")).unwrap_or_default();
        let shard = |line: &str| Some(line.split_once("--shard ")?.1.split(' ').next()?.to_owned());
        log.lines().filter_map(shard).collect()
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:{}", self.path("bin").display(), env::var("PATH").unwrap());
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        command.current_dir(self.0.path()).env("PATH", path).env("ACTVIZ_MODELS", models);
        command
    }

    fn whole(&self) -> Tree {
        let render = ["render", "-q", "--threads", "1", "--model", "cnn9", "-o", "whole", "images"];
        done(self.command("actviz").args(render));
        self.tree("whole")
    }

    fn tree(&self, out: &str) -> Tree {
        let mut tree = Tree::new();
        collect(&self.path(out), &self.path(out), &mut tree);
        tree
    }

    fn parallel(&self, jobs: &str, out: &str) -> Command {
        let mut command = self.command(example("parallel.sh"));
        command.args(["4", jobs, out, "--model", "cnn9", "images"]);
        command
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

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scaling").join(name)
}

/// Runs a command that must end with this exit code; what it said.
fn ends_with(code: i32, command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}");
    said
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
    output
}

/// Whether a command works; if it does not, the test is skipped.
fn is_there(what: &str, test: &mut Command) -> bool {
    let found = test.output().is_ok_and(|output| output.status.success());
    if !found && env::var_os("ACTVIZ_NEEDS_ENGINES").is_some() {
        panic!("{what} is not there, and ACTVIZ_NEEDS_ENGINES says that it should be");
    }
    if !found {
        eprintln!("skipped: {what} is not there");
    }
    found
}

fn has_parallel() -> bool {
    is_there("GNU parallel", Command::new("parallel").arg("--version"))
}

fn python() -> String {
    env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn has_modules(modules: &str) -> bool {
    let import = format!("import {modules}");
    is_there(modules, Command::new(python()).args(["-c", &import]))
}

#[test]
fn gnu_parallel_gives_the_same_with_one_job_and_with_four() {
    if !has_parallel() {
        return;
    }
    let place = Place::new();
    done(&mut place.parallel("1", "one"));
    done(&mut place.parallel("4", "four"));
    let one = place.tree("one");
    assert_eq!(one, place.tree("four"));
    assert_eq!(one, place.whole());
    assert_eq!(one.len() as u32, 9 * IMAGES + 1);
}

#[test]
fn a_killed_job_of_gnu_parallel_is_taken_up_from_the_job_log() {
    if !has_parallel() {
        return;
    }
    let place = Place::new();
    // Twice: once is no more than another try.
    place.kill_attempts_at("3/4", 2);
    ends_with(137, &mut place.parallel("1", "out"));
    assert_eq!(place.kills(), 2);
    assert_eq!(place.attempts(), ["1/4", "2/4", "3/4", "3/4"]);
    assert!(place.path("out/.actviz-run.3-of-4").exists(), "it was not killed while it worked");
    let log = fs::read_to_string(place.path("out.joblog")).unwrap();
    assert_eq!(log.lines().filter(|line| line.split('\t').nth(6) == Some("0")).count(), 2, "{log}");
    done(&mut place.parallel("1", "out"));
    assert_eq!(place.attempts()[4..], ["3/4", "4/4"], "those that were done did not run again");
    assert_eq!(place.tree("out"), place.whole());
}

#[test]
fn a_run_of_gnu_parallel_that_is_done_is_checked_when_it_is_run_again() {
    if !has_parallel() {
        return;
    }
    let place = Place::new();
    done(&mut place.parallel("2", "out"));
    let whole = place.tree("out");
    fs::remove_file(place.path("out/photo 7/2_3.png")).unwrap();
    done(&mut place.parallel("2", "out"));
    assert_eq!(place.tree("out"), whole);
}

#[test]
fn gnu_parallel_ends_with_the_exit_code_of_the_shard_and_begins_no_more() {
    if !has_parallel() {
        return;
    }
    let place = Place::new();
    for code in [2, 75] {
        place.program("actviz", &format!("echo \"$*\" >>attempts; exit {code}"));
        ends_with(code, &mut place.parallel("1", "out"));
        assert_eq!(place.attempts(), ["1/4", "1/4"], "the shard was tried twice, no other was");
        fs::remove_file(place.path("attempts")).unwrap();
        fs::remove_file(place.path("out.joblog")).unwrap();
    }
    for unset in [["", "2", "out"], ["4", "2", ""]] {
        ends_with(2, place.command(example("parallel.sh")).args(unset).args(["-m", "cnn9"]));
    }
    assert!(place.attempts().is_empty());
}

/// The driver on a cluster of this machine's own.
fn ray(place: &Place, images: &str) -> Command {
    let mut ray = place.command(python());
    ray.env_remove("RAY_ADDRESS").arg(example("ray_render.py"));
    ray.args(["--shards", "4", "--out", "out", "--", "--model", "cnn9", images]);
    ray
}

#[test]
fn ray_runs_the_shards_and_one_that_was_killed_again() {
    if !has_modules("ray") {
        return;
    }
    let place = Place::new();
    place.kill_attempts_at("2/4", 1);
    // The worker itself dies with its shard: Ray starts another one. And another shard has
    // no room at first.
    let script = fs::read_to_string(place.path("bin/actviz")).unwrap();
    let script = script.replace("exit 137", "kill -9 $PPID; exit 137");
    let full = place.path("full");
    let script = script.replace(
        "esac",
        &format!(
            "*' --shard 3/4 '*) if mkdir {} 2>/dev/null; then exit 75; fi;;\nesac",
            full.display()
        ),
    );
    fs::write(place.path("bin/actviz"), script).unwrap();
    // Ray's workers may run in folders of their own.
    let images = place.path("images").to_string_lossy().into_owned();
    done(&mut ray(&place, &images));
    assert!(place.kills() == 1 && full.is_dir());
    let mut attempts = place.attempts();
    attempts.sort();
    assert_eq!(attempts, ["1/4", "2/4", "2/4", "3/4", "3/4", "4/4"]);
    let render = ["render", "-q", "--threads", "1", "--model", "cnn9", "-o", "whole"];
    done(place.command("actviz").args(render).arg(&images));
    assert_eq!(place.tree("out"), place.tree("whole"));
}

#[test]
fn ray_gives_up_on_wrong_usage_but_not_on_failed_images() {
    if !has_modules("ray") {
        return;
    }
    let place = Place::new();
    let script = format!(
        "echo \"$*\" >>{}\n\
         case \" $* \" in\n\
           *' --shard 1/4 '*) exit 1;;\n\
           *' --shard 2/4 '*) echo 'no such model' >&2; exit 2;;\n\
         esac",
        place.path("attempts").display(),
    );
    place.program("actviz", &script);
    let said = ends_with(2, &mut ray(&place, "images"));
    assert!(said.contains("1 shards failed\nno such model"), "{said}");
    let mut attempts = place.attempts();
    attempts.sort();
    assert_eq!(attempts, ["1/4", "2/4", "3/4", "4/4"], "a shard was tried again");
    let log = fs::read_to_string(place.path("attempts")).unwrap();
    assert!(!log.contains("merge"), "{log}");
}

/// Runs all shards and merges; and a shard whose variable is not set is wrong usage, which
/// no scheduler tries again, and does nothing.
fn shards_are_one_run(place: &Place, shard: impl Fn(Option<usize>) -> Command) {
    ends_with(2, &mut shard(None));
    assert!(!place.path("out").exists(), "it wrote something");
    for index in 0..3 {
        done(&mut shard(Some(index)));
    }
    done(place.command("actviz").args(["merge", "out"]));
    let files = place.tree("out").into_keys().collect::<Vec<_>>();
    assert_eq!(files, place.whole().into_keys().collect::<Vec<_>>());
}

/// The script, in the shell of its first line, as Slurm runs it.
fn slurm(place: &Place) -> Command {
    let mut command = place.command("bash");
    command.arg(example("slurm.sbatch")).args(["--model", "cnn9", "images"]);
    command.env("OUT", "out").env_remove("SHARDS");
    command.env_remove("SLURM_ARRAY_TASK_ID").env_remove("SLURM_ARRAY_TASK_COUNT");
    command
}

#[test]
fn the_slurm_script_makes_the_shard_that_slurm_names() {
    let place = Place::new();
    ends_with(2, slurm(&place).env("SLURM_ARRAY_TASK_ID", "0"));
    shards_are_one_run(&place, |index| {
        let mut command = slurm(&place);
        match index {
            // Run again alone: then Slurm counts only what is run again.
            Some(2) => command.env("SLURM_ARRAY_TASK_COUNT", "1").env("SHARDS", "3"),
            _ => command.env("SLURM_ARRAY_TASK_COUNT", "3"),
        };
        index.map(|index| command.env("SLURM_ARRAY_TASK_ID", index.to_string()));
        command
    });
}

#[test]
fn the_notice_of_slurm_reaches_actviz() {
    let script = fs::read_to_string(example("slurm.sbatch")).unwrap();
    // B: is to the script's own process, which nothing but exec makes that of actviz.
    assert!(script.contains("#SBATCH --signal=B:TERM@60\n"));
    let place = Place::new();
    place.program("actviz", "echo $$ >pid");
    let mut child = slurm(&place).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let pid = fs::read_to_string(place.path("pid")).unwrap();
    assert_eq!(pid.trim(), child.id().to_string());
}

/// The words of a list in YAML's short form, or of one item a line, below a key.
fn yaml_list(yaml: &str, key: &str) -> Vec<String> {
    let after = yaml.split_once(&format!("{key}:")).unwrap().1;
    let (first, rest) = after.split_once('\n').unwrap();
    if let Some(list) = first.trim().strip_prefix('[') {
        let list = list.trim_end_matches(']');
        return list.split(", ").map(|word| word.trim_matches('"').to_owned()).collect();
    }
    let items = rest.lines().map_while(|line| line.trim().strip_prefix("- "));
    items.map(str::to_owned).collect()
}

#[test]
fn the_kubernetes_job_makes_the_shard_that_kubernetes_names() {
    let place = Place::new();
    let yaml = fs::read_to_string(example("kubernetes.yaml")).unwrap();
    let (render, merge) = yaml.rsplit_once("\n---\n").unwrap();
    let words = [yaml_list(render, "command"), yaml_list(render, "args")].concat();
    assert_eq!(yaml_list(merge, "command"), ["actviz", "merge", "/data/out"]);
    shards_are_one_run(&place, |index| {
        let set = |word: &String| {
            // As Kubernetes does: a variable that is not set stays as it is written.
            let word = word.replace("$(SHARDS)", "3").replace("/data/out", "out");
            let word = word.replace("/data/photos", "images").replace("resnet50", "cnn9");
            match index {
                Some(index) => word.replace("$(JOB_COMPLETION_INDEX)", &index.to_string()),
                None => word,
            }
        };
        let words: Vec<String> = words.iter().map(set).collect();
        let mut command = place.command(place.path("bin").join(&words[0]));
        command.args(&words[1..]);
        command
    });
}

#[test]
fn the_aws_batch_job_makes_the_shard_that_aws_names() {
    let place = Place::new();
    let text = fs::read_to_string(example("aws-batch.json")).unwrap();
    let job: Value = serde_json::from_str(&text).unwrap();
    let words = job["containerProperties"]["command"].as_array().unwrap();
    shards_are_one_run(&place, |index| {
        let set = |word: &Value| match word.as_str().unwrap() {
            "Ref::out" => "out".to_owned(),
            "Ref::model" => "cnn9".to_owned(),
            "Ref::images" => "images".to_owned(),
            other => other.to_owned(),
        };
        let words: Vec<String> = words.iter().map(set).collect();
        let mut command = place.command(&words[0]);
        command.args(&words[1..]);
        command.env_remove("AWS_BATCH_JOB_ARRAY_INDEX").env("AWS_BATCH_JOB_ARRAY_SIZE", "3");
        index.map(|index| command.env("AWS_BATCH_JOB_ARRAY_INDEX", index.to_string()));
        command
    });
}

#[test]
fn what_is_submitted_to_aws_is_an_array_and_a_merge_that_waits_for_it() {
    let place = Place::new();
    place.program("aws", "echo \"$*\" >>calls; case $* in *--array*) echo job-1;; esac");
    ends_with(2, place.command(example("aws-batch.sh")).arg("queue"));
    done(place.command(example("aws-batch.sh")).args(["queue", "7"]));
    let calls = fs::read_to_string(place.path("calls")).unwrap();
    let [definition, array, merge] = calls.lines().collect::<Vec<_>>()[..] else {
        panic!("{calls}");
    };
    assert!(definition.starts_with("batch register-job-definition "), "{definition}");
    assert!(array.contains(" --job-queue queue ") && array.contains("size=7 "), "{array}");
    assert!(merge.contains(" --depends-on jobId=job-1 "), "{merge}");
    assert!(merge.contains(r#"{"command": ["actviz", "merge", "/data/out"]}"#), "{merge}");
}

#[test]
fn what_schedulers_read_is_what_they_take() {
    if !has_modules("botocore, kubernetes_validate, yaml") {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check_jobs.py");
    done(Command::new(python()).arg(script).arg(example("")));
}

#[test]
fn a_failed_image_is_no_failure_of_a_shard_and_a_notice_reaches_actviz() {
    let place = Place::new();
    fs::write(place.path("images/bad.png"), "no picture").unwrap();
    let render = ["render", "-q", "--model", "cnn9", "-o", "out", "--shard", "1/1", "images"];
    done(place.command("actviz-shard").args(render));
    place.program("actviz", "trap 'exit 143' TERM; kill -TERM $PPID; sleep 10 & wait");
    ends_with(143, place.command("actviz-shard").arg("x"));
}
