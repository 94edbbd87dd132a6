//! What strangers' files may not do. SECURITY.md names the test for each promise.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

const MARK: &str = "written-by-the-model";

/// An empty folder to run in, with one picture.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        image::RgbImage::from_pixel(8, 8, image::Rgb([200, 100, 50]))
            .save(place.path("x.png"))
            .unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn actviz(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("actviz").unwrap();
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    fn render(&self, model: &str, more: &[&str]) -> Command {
        let mut arguments = vec!["render", "-m", model, "--input-size", "8", "-o", "out", "x.png"];
        arguments.extend(more);
        self.actviz(&arguments)
    }

    fn refuses(&self, model: &str, texts: &[&str]) {
        let mut result = self.render(model, &[]).assert().code(2).stdout("");
        for text in texts {
            result = result.stderr(contains(*text));
        }
        result.stderr(contains("panicked").not());
        assert!(!self.path(MARK).exists(), "{model} has written a file");
        assert!(!self.path("out").exists(), "something was left behind");
    }
}

fn hostile(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hostile");
    folder.join(name).to_string_lossy().into_owned()
}

/// What `actviz doctor` says, on the processor.
fn doctor(more: &[&str]) -> serde_json::Value {
    let mut command = Command::cargo_bin("actviz").unwrap();
    command.args(["doctor", "--json"]).args(more).env("CUDA_VISIBLE_DEVICES", "");
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether this system can hold a process to its plan; else its tests have nothing to see.
fn has_sandbox() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| doctor(&[])["runtime"]["sandbox"] == "Landlock, seccomp")
}

#[test]
fn a_network_that_saves_a_file_is_refused_by_operator_and_place() {
    Place::new().refuses(&hostile("saves.pt"), &["aten::save (code/__torch__.py:", "--allow-op"]);
}

#[test]
fn what_a_part_would_do_in_a_branch_is_found() {
    Place::new().refuses(&hostile("deep.pt"), &["aten::save (code/__torch__.py:"]);
}

#[test]
fn a_network_that_reads_a_file_is_refused() {
    Place::new().refuses(&hostile("reads.pt"), &["aten::from_file (code/__torch__.py:"]);
}

#[test]
fn code_that_would_run_while_the_file_is_loaded_is_refused_before_it_runs() {
    Place::new().refuses(&hostile("onload.pt"), &["aten::save"]);
}

#[test]
fn what_would_be_evaluated_while_the_code_is_compiled_is_refused_and_never_runs() {
    for (model, what) in [
        ("default.pt", "a computed default argument (y) (code/__torch__.py:12)"),
        ("default_in_a_list.pt", "a computed default argument (y) (code/__torch__.py:12)"),
        ("default_inside.pt", "a computed default argument (y) (code/__torch__.py:13)"),
        ("default_of_interface.pt", "a computed default argument (y) (code/__torch__.py:5)"),
        ("constant.pt", "a computed constant (n) (code/__torch__.py:8)"),
        ("field.pt", "a computed type (code/__torch__.py:5)"),
    ] {
        let place = Place::new();
        place.refuses(&hostile(model), &[what, "made by hand"]);
        // Nobody can let it through, and it runs neither outside of the sandbox nor to be listed.
        let (name, _) = what.rsplit_once(" (").unwrap();
        let more = ["--no-sandbox", "--allow-op", name];
        place.render(&hostile(model), &more).assert().code(2).stderr(contains(what));
        let audit = ["layers", "-m", &hostile(model), "--audit", "--no-sandbox"];
        let listed = place.actviz(&audit).assert().code(1);
        listed.stdout(contains(name).and(contains("REFUSED")));
        assert!(!place.path(MARK).exists(), "{model} has written a file");
    }
}

#[test]
fn all_literals_that_can_be_saved_are_let_through() {
    Place::new().render(&hostile("literals.pt"), &[]).assert().success();
}

#[test]
fn nothing_that_a_file_says_becomes_an_address() {
    for (model, what) in [
        ("taps.pt", "actviz::tap (code/__torch__.py:10)"),
        ("addresses.pt", "prim::id (code/__torch__.py:17)"),
    ] {
        let place = Place::new();
        place.refuses(&hostile(model), &[what]);
        let audit = ["layers", "-m", &hostile(model), "--audit"];
        let (name, _) = what.rsplit_once(" (").unwrap();
        place.actviz(&audit).assert().code(1).stdout(contains(name).and(contains("REFUSED")));
    }
    // Not even to those who trust the file.
    let place = Place::new();
    let more = ["--allow-op", "actviz::tap"];
    place.render(&hostile("taps.pt"), &more).assert().code(2).stderr(contains("actviz::tap"));
}

#[test]
fn a_class_that_is_read_later_is_looked_at_before_its_method_runs() {
    let place = Place::new();
    place.refuses(&hostile("behind.pt"), &["aten::save (code/__torch__.py:"]);
    let audit = ["layers", "-m", &hostile("behind.pt"), "--audit", "--no-sandbox"];
    place.actviz(&audit).assert().code(1).stdout(contains("aten::save"));
    assert!(!place.path(MARK).exists());
}

#[test]
fn tensors_that_contradict_themselves_are_refused_and_their_twins_are_drawn() {
    let place = Place::new();
    for (model, what) in [
        ("sparse_coo_lies.pt", "size is inconsistent with indices"),
        ("sparse_csr_lies.pt", "col_indices"),
        ("per_channel_lies.pt", "too few or too many scales"),
        ("beyond.pt", "reaches beyond the 4 elements"),
    ] {
        let result = place.render(&hostile(model), &["--force"]).assert().code(2);
        result.stderr(contains(what).and(contains("SIG").not()));
    }
    for model in ["sparse_coo.pt", "sparse_csr.pt", "per_channel.pt", "plain.pt"] {
        place.render(&hostile(model), &["--force"]).assert().success();
    }
}

#[test]
fn harmless_code_that_runs_while_the_file_is_loaded_does_run() {
    let place = Place::new();
    place.render(&hostile("restored.pt"), &["--raw"]).assert().success();
    let map: ndarray::Array2<f32> = ndarray_npy::read_npy(place.path("out/1_1.npy")).unwrap();
    // ImageNet's normalised value, and not the half of it that the file holds.
    let grey = [(200.0, 0.485, 0.229), (100.0, 0.456, 0.224), (50.0, 0.406, 0.225)]
        .map(|(value, mean, std): (f32, f32, f32)| ((value / 255.0 - mean) / std).max(0.0));
    let expected = grey.iter().sum::<f32>() / 3.0;
    assert!((map[[0, 0]] - expected).abs() < 1e-4, "{} {expected}", map[[0, 0]]);
}

#[test]
fn a_method_that_nobody_calls_is_no_reason_to_refuse() {
    let place = Place::new();
    place.render(&hostile("unused.pt"), &[]).assert().success();
    assert!(!place.path(MARK).exists());
}

#[test]
fn what_is_new_in_this_libtorch_and_only_computes_is_not_refused() {
    Place::new().render(&hostile("resizes.pt"), &[]).assert().success();
}

#[test]
fn the_user_can_let_an_operator_through_and_the_sandbox_still_holds() {
    if !has_sandbox() {
        return;
    }
    let place = Place::new();
    // libtorch does not notice that nothing was written.
    place.render(&hostile("saves.pt"), &["--allow-op", "aten::save"]).assert().success();
    assert!(!place.path(MARK).exists());
}

#[test]
fn without_the_sandbox_an_operator_that_was_let_through_does_what_it_does() {
    let place = Place::new();
    let more = ["--allow-op", "aten::save", "--no-sandbox"];
    place.render(&hostile("saves.pt"), &more).assert().success();
    assert!(place.path(MARK).exists());
}

#[test]
fn the_sandbox_keeps_files_closed_that_the_plan_does_not_name() {
    if !has_sandbox() {
        return;
    }
    let place = Place::new();
    let more = ["--allow-op", "aten::from_file"];
    place
        .render(&hostile("reads.pt"), &more)
        .assert()
        .code(2)
        .stderr(contains("Permission denied"));
}

/// Its operators are harmless; where its weights are is not.
#[test]
fn a_file_that_claims_memory_which_it_does_not_hold_is_refused() {
    let place = Place::new();
    let refused = contains("claims 288000 bytes").and(contains("holds 432"));
    place.render(&hostile("claims.pt"), &[]).assert().code(2).stderr(refused);
}

#[test]
fn one_fold_that_is_cut_off_stops_neither_pictures_nor_lists() {
    let place = Place::new();
    let whole = fs::read(hostile("plain.pt")).unwrap();
    fs::write(place.path("fold_1.pt"), &whole).unwrap();
    fs::write(place.path("fold_2.pt"), &whole[..whole.len() / 2]).unwrap();
    let told = || contains("fold_2.pt").and(contains("cut off"));
    place.render("fold_{fold}.pt", &[]).assert().code(1).stderr(told());
    assert!(place.path("out/1_1.png").exists());
    for more in [&[][..], &["--audit"]] {
        let layers = ["layers", "-m", "fold_{fold}.pt", "--input-size", "8"];
        let listed = place.actviz(&[&layers[..], more].concat()).assert().code(1);
        listed.stderr(told()).stdout(contains("sigmoid"));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_sandbox_keeps_closed_what_other_programs_share() {
    // Where there is a GPU, its driver shares memory with other programs.
    let devices = fs::read_dir("/dev").unwrap().flatten();
    let names = devices.map(|device| device.file_name().to_string_lossy().into_owned());
    if !has_sandbox() || names.into_iter().any(|name| name.starts_with("nvidia")) {
        return;
    }
    let shared = Path::new("/dev/shm/actviz-test-of-shared-memory");
    fs::write(shared, [0; 16]).unwrap();
    let place = Place::new();
    let more = ["--allow-op", "aten::from_file"];
    let result = place.render(&hostile("shared.pt"), &more).assert();
    let now = fs::read(shared).unwrap();
    fs::remove_file(shared).unwrap();
    result.code(2).stderr(contains("Permission denied"));
    assert_eq!(now, [0; 16]);
}

#[test]
fn one_refused_fold_does_not_stop_the_others_from_being_listed() {
    let place = Place::new();
    fs::copy(hostile("saves.pt"), place.path("fold_1.pt")).unwrap();
    fs::copy(hostile("plain.pt"), place.path("fold_2.pt")).unwrap();
    let layers = ["layers", "-m", "fold_{fold}.pt", "--input-size", "8"];
    let table = place.actviz(&layers).assert().code(1);
    table.stderr(contains("fold_1.pt").and(contains("aten::save"))).stdout(contains("sigmoid"));
    let found = place.actviz(&layers).arg("--json").assert().code(1);
    let found: serde_json::Value = serde_json::from_slice(&found.get_output().stdout).unwrap();
    assert_eq!(found["folds"], serde_json::json!([2]));
    assert!(found["failed"][0].as_str().unwrap().starts_with("fold 1: "), "{found}");
    // Where none is left, there is no table.
    fs::copy(hostile("saves.pt"), place.path("fold_2.pt")).unwrap();
    place.actviz(&layers).assert().code(2).stdout("");
}

#[test]
fn a_refused_network_does_not_take_the_figures_of_others_away() {
    let place = Place::new();
    let (plain, saves) = (hostile("plain.pt"), hostile("saves.pt"));
    let models = ["insights", "-m", &plain, "-m", &saves, "--places", "0", "--input-size", "8"];
    let result = place.actviz(&models).arg("x.png").assert().code(1);
    result.stderr(contains("aten::save")).stdout(contains("sigmoid"));
}

#[test]
fn a_crash_ends_one_fold_of_what_is_measured_and_the_others_go_on() {
    let place = Place::new();
    fs::copy(hostile("plain.pt"), place.path("fold_1.pt")).unwrap();
    fs::copy(hostile("nested.pt"), place.path("fold_2.pt")).unwrap();
    fs::copy(hostile("saves.pt"), place.path("fold_3.pt")).unwrap();
    let found = place
        .actviz(&["insights", "-m", "fold_{fold}.pt", "--input-size", "8", "--json", "x.png"])
        .assert()
        .code(1)
        .stderr(contains("its process died of SIG").and(contains("aten::save")));
    let found: serde_json::Value = serde_json::from_slice(&found.get_output().stdout).unwrap();
    assert_eq!(found["models"][0]["folds"], serde_json::json!([1]));
    assert_eq!(found["models"][0]["failed"].as_array().unwrap().len(), 2);
}

#[test]
fn measuring_is_shut_in_as_drawing_is() {
    if !has_sandbox() {
        return;
    }
    let place = Place::new();
    let model = hostile("reads.pt");
    let more = ["--allow-op", "aten::from_file", "x.png"];
    place
        .actviz(&["insights", "-m", &model, "--input-size", "8"])
        .args(more)
        .assert()
        .code(2)
        .stderr(contains("Permission denied"));
}

#[test]
fn an_audit_lists_what_a_network_would_do_and_runs_none_of_it() {
    let place = Place::new();
    for (model, code) in [("saves.pt", 1), ("onload.pt", 1), ("plain.pt", 0)] {
        let result =
            place.actviz(&["layers", "-m", &hostile(model), "--audit"]).assert().code(code);
        let refused = contains("aten::save").and(contains("REFUSED"));
        match code {
            1 => result.stdout(refused),
            _ => result.stdout(contains("aten::relu").and(contains("REFUSED").not())),
        };
        assert!(!place.path(MARK).exists());
    }
}

#[test]
fn what_a_network_prints_is_not_mixed_with_our_data() {
    let place = Place::new();
    place.render(&hostile("prints.pt"), &[]).assert().success().stdout("");
}

#[test]
fn one_refused_fold_does_not_stop_the_others() {
    let place = Place::new();
    fs::copy(hostile("plain.pt"), place.path("fold_1.pt")).unwrap();
    fs::copy(hostile("saves.pt"), place.path("fold_2.pt")).unwrap();
    place.render("fold_{fold}.pt", &[]).assert().code(1).stderr(contains("aten::save"));
    assert!(place.path("out/1_1.png").exists());
    assert!(!place.path(MARK).exists());
}

#[test]
fn a_file_that_unpacks_to_more_than_the_limit_is_refused() {
    let place = Place::new();
    place
        .render(&hostile("plain.pt"), &["--max-model-size", "1K"])
        .assert()
        .code(2)
        .stderr(contains("--max-model-size"));
}

#[test]
fn doctor_says_whether_there_is_a_sandbox() {
    let place = Place::new();
    let expected = if has_sandbox() { "Landlock, seccomp" } else { "on this system" };
    place.actviz(&["doctor"]).assert().stdout(contains("sandbox").and(contains(expected)));
}

/// What a worker on the processor has to be let do.
#[cfg(target_os = "linux")]
const ALLOWED: [&str; 3] = ["take_memory", "start_thread", "read_descriptor"];
/// What ends it.
#[cfg(target_os = "linux")]
const FATAL: [&str; 22] = [
    "fork",
    "start_program",
    "trace",
    "read_memory_of_others",
    "write_memory_of_others",
    "open_process",
    "set_user",
    "unshare",
    "enter_namespace",
    "mount",
    "change_root",
    "restart_machine",
    "io_uring",
    "bpf",
    "perf_event",
    "user_fault_fd",
    "keyring",
    "shared_memory",
    "semaphore",
    "message_queue",
    "posix_message_queue",
    "open_by_handle",
];
/// What is only answered with an error.
#[cfg(target_os = "linux")]
const REFUSED: [&str; 34] = [
    "read_file",
    "read_system_file",
    "write_file",
    "create_file",
    "look_at_file",
    "list_folder",
    "change_mode",
    "change_mode_of_descriptor",
    "change_owner",
    "change_times",
    "set_attribute",
    "truncate_file",
    "rename_file",
    "link_file",
    "make_symbolic_link",
    "make_folder",
    "make_pipe",
    "remove_file",
    "change_folder",
    "file_in_memory",
    "tcp_socket",
    "udp_socket",
    "unix_socket",
    "netlink_socket",
    "raw_socket",
    "connect_unix_socket",
    "listen_tcp",
    "clone3",
    "signal_parent",
    "signal_thread_of_parent",
    "set_limit",
    "be_dumped",
    "hold_capability",
    "ioctl",
];
/// What only root may do without the sandbox, and what administrators and containers often
/// switch off.
#[cfg(target_os = "linux")]
const NOT_FOR_ALL: [&str; 13] = [
    "raw_socket",
    "hold_capability",
    "mount",
    "change_root",
    "restart_machine",
    "open_by_handle",
    "io_uring",
    "bpf",
    "perf_event",
    "user_fault_fd",
    "keyring",
    "clone3",
    "posix_message_queue",
];

#[test]
#[cfg(target_os = "linux")]
fn the_sandbox_refuses_row_by_row_what_is_allowed_without_it() {
    if !has_sandbox() {
        return;
    }
    let found = doctor(&["--sandbox"]);
    let rows = found["sandbox"].as_array().unwrap();
    let (mut seen, root) = (Vec::new(), rustix::process::geteuid().is_root());
    for row in rows {
        let name = row["attempt"].as_str().unwrap();
        let inside = &row["in_sandbox"];
        let as_expected = match name {
            name if ALLOWED.contains(&name) => inside == "allowed",
            name if FATAL.contains(&name) => {
                inside["ended"].as_str().is_some_and(|how| how.contains("SIGSYS"))
            }
            name if REFUSED.contains(&name) => inside["refused"].is_string(),
            _ => false,
        };
        assert!(as_expected, "{row}");
        // It is the sandbox that refuses it, and the attempt is one.
        if root || !NOT_FOR_ALL.contains(&name) {
            assert_eq!(row["without"], "allowed", "{row}");
        }
        seen.push(name);
    }
    let mut expected = [&ALLOWED[..], &FATAL, &REFUSED].concat();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

/// Those tasks of the workers of a process that are not shut in, and the count of all. Each
/// thread shows the filter of its system calls, and what is left of root's rights.
#[cfg(target_os = "linux")]
fn threads_outside(process: u32) -> (Vec<String>, usize) {
    let children = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(children).unwrap_or_default();
    let (mut outside, mut count) = (Vec::new(), 0);
    for worker in children.split_whitespace() {
        let tasks = fs::read_dir(format!("/proc/{worker}/task")).into_iter().flatten();
        for task in tasks.filter_map(|task| Some(task.ok()?.path())) {
            let status = fs::read_to_string(task.join("status")).unwrap_or_default();
            if status.is_empty() {
                continue;
            }
            count += 1;
            let is_line = |line: &&str| status.lines().any(|other| other == *line);
            let none = "\t0000000000000000";
            let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"];
            let empty = sets.map(|set| format!("{set}{none}"));
            // Who is not root may not empty what it could be given by other programs; the flag
            // before it sees to it that it gets nothing.
            let root = rustix::process::geteuid().is_root();
            let sets = empty.iter().map(String::as_str).filter(|set| root || !set.contains("Bnd"));
            let all: Vec<&str> =
                ["NoNewPrivs:\t1", "Seccomp:\t2"].into_iter().chain(sets).collect();
            outside.extend(
                all.iter().filter(|line| !is_line(line)).map(|line| {
                    format!("{}: not {line}", status.lines().next().unwrap_or_default())
                }),
            );
        }
    }
    (outside, count)
}

#[test]
#[cfg(target_os = "linux")]
fn the_sandbox_holds_on_every_thread_of_the_worker() {
    if !has_sandbox() {
        return;
    }
    let place = Place::new();
    // So large an input that libtorch takes a second thread for it.
    let large = ["--input-size", "512", "--threads", "2", "-o", "out", "x.png"];
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("actviz"))
        .args(["render", "-m", &hostile("endless.pt")])
        .args(large)
        .current_dir(place.0.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The main one, two that unpack, and one of OpenMP. It runs for ever, so it is there for as
    // long as this takes.
    let mut seen = (Vec::new(), 0);
    for _ in 0..1200 {
        seen = threads_outside(child.id());
        if seen.0.is_empty() && seen.1 >= 4 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.1 >= 4, "only {} threads were seen", seen.1);
    assert_eq!(seen.0, Vec::<String>::new());
}

#[test]
fn a_crash_of_libtorch_is_a_clean_error_and_the_other_folds_go_on() {
    let place = Place::new();
    let crashed = contains("fold_1.pt: the network crashed: its process died of SIG");
    fs::copy(hostile("nested.pt"), place.path("fold_1.pt")).unwrap();
    fs::copy(hostile("plain.pt"), place.path("fold_2.pt")).unwrap();
    place.render("fold_{fold}.pt", &[]).assert().code(1).stderr(crashed.clone());
    assert!(place.path("out/2_1.png").exists());
    let alone = place.render("fold_1.pt", &["--force"]).assert().code(2);
    alone.stderr(crashed.and(contains("hint")));
}

#[test]
fn a_network_that_never_ends_is_given_up_and_the_other_folds_go_on() {
    let place = Place::new();
    fs::copy(hostile("endless.pt"), place.path("fold_1.pt")).unwrap();
    fs::copy(hostile("plain.pt"), place.path("fold_2.pt")).unwrap();
    let patience = ["--timeout", "5"];
    let result = place.render("fold_{fold}.pt", &patience).assert().code(1);
    result.stderr(contains("fold_1.pt: the network did not answer within 5 seconds"));
    assert!(place.path("out/2_1.png").exists());
}

#[test]
#[cfg(unix)]
fn a_network_that_wants_all_memory_gets_what_is_allowed_and_the_other_folds_go_on() {
    let place = Place::new();
    fs::copy(hostile("greedy.pt"), place.path("fold_1.pt")).unwrap();
    fs::copy(hostile("plain.pt"), place.path("fold_2.pt")).unwrap();
    let result = place.render("fold_{fold}.pt", &["--max-memory", "3G"]).assert().code(1);
    result.stderr(contains("fold_1.pt: out of memory"));
    assert!(place.path("out/2_1.png").exists());
    place.render("fold_1.pt", &["--max-memory", "3G", "--force"]).assert().code(75);
}

#[test]
fn a_bundle_whose_files_are_other_ones_is_told_of() {
    let place = Place::new();
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cnn9");
    let copy = place.path("cnn9");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&bundle).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let description = fs::read_to_string(copy.join("model.json")).unwrap();
    let described: serde_json::Value = serde_json::from_str(&description).unwrap();
    let digest = described["folds"][0]["sha256"].as_str().unwrap();
    fs::write(copy.join("model.json"), description.replace(digest, &"0".repeat(64))).unwrap();
    let result = place.actviz(&["layers", "-m", "./cnn9"]).assert().success();
    result.stderr(contains("fold_1.pt: not the file that model.json describes"));
}

#[test]
fn the_process_of_a_network_ends_with_the_one_that_started_it() {
    let place = Place::new();
    let mut parent = std::process::Command::new(assert_cmd::cargo::cargo_bin("actviz"))
        .args(["layers", "-m", &hostile("endless.pt")])
        .current_dir(place.0.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let mut child = String::new();
    while child.is_empty() && parent.try_wait().unwrap().is_none() {
        child = fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
        if !Path::new("/proc/self/task").exists() {
            return; // Only Linux shows it.
        }
    }
    let command = PathBuf::from(format!("/proc/{child}/cmdline"));
    // Until it is the network's own program it has not asked to be ended yet.
    while !fs::read_to_string(&command).unwrap_or_default().contains("actviz-torch") {}
    std::thread::sleep(std::time::Duration::from_secs(1));
    parent.kill().unwrap();
    parent.wait().unwrap();
    let gone = || fs::read_to_string(&command).unwrap_or_default().is_empty();
    for _ in 0..600 {
        if gone() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(gone(), "process {child} lives on");
}

/// Opens a network whose file is changed after its SHA-256 was read. What is opened are the
/// bytes that were hashed.
fn changed_after_it_was_hashed(change: impl FnOnce(&Path)) -> Result<(), actviz::Error> {
    use actviz::engine::{Engine, Taps};
    let place = Place::new();
    let path = place.path("net.pt");
    fs::copy(hostile("plain.pt"), &path).unwrap();
    let model = actviz::bundle::Model::find(path.to_str().unwrap(), None, &[]).unwrap();
    let fold = &model.folds[0];
    let hashed = fold.digest().unwrap();
    // Times of files have steps.
    std::thread::sleep(std::time::Duration::from_millis(50));
    change(&path);
    let config = actviz::worker::WorkerConfig::find().unwrap();
    let engine = actviz::worker::WorkerEngine::start(config).unwrap().ready().unwrap();
    let file = fold.open().unwrap();
    let opened = engine.open(&file, Taps::Activations).map(drop);
    let sent = actviz::digest::of_reader(file.reader()).unwrap();
    if opened.is_ok() {
        assert_eq!(sent, hashed, "other bytes were run than those that were hashed");
    }
    opened
}

#[test]
fn a_file_that_is_replaced_after_it_was_hashed_is_never_run_as_what_it_is_now() {
    let opened = changed_after_it_was_hashed(|path| {
        fs::rename(path, path.with_extension("old")).unwrap();
        fs::copy(hostile("saves.pt"), path).unwrap();
    });
    // Some file systems note that a file was moved, which is told from being written to by
    // nothing.
    if let Err(error) = opened {
        assert!(error.to_string().contains("written to or replaced"), "{error}");
    }
}

#[test]
fn a_file_that_is_written_to_after_it_was_hashed_is_an_error() {
    let opened = changed_after_it_was_hashed(|path| {
        // As long as it was: a byte of a time in the archive that nobody looks at.
        let mut bytes = fs::read(path).unwrap();
        bytes[10] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("written to or replaced"), "{error}");
}
