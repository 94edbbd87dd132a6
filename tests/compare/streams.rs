//! Where what is said goes: pipes that close, and disks without room.

use std::process::Stdio;

use super::*;

/// Runs `actviz ARGUMENTS` with these streams; gives its exit code.
#[cfg(unix)]
fn code(place: &Place, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Option<i32> {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("actviz"));
    command.current_dir(place.0.path()).args(arguments).env_remove("CI");
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).status().unwrap().code()
}

/// A pipe whose reader is gone.
#[cfg(unix)]
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[cfg(target_os = "linux")]
fn full() -> Stdio {
    fs::File::options().write(true).open("/dev/full").unwrap().into()
}

#[cfg(unix)]
#[test]
fn the_verdict_survives_a_reader_that_has_gone() {
    let place = Place::new();
    let compare = ["compare", "golden", "new"];
    let json = ["compare", "golden", "new", "--json", "--github"];
    assert_eq!(code(&place, &compare, closed(), Stdio::null()), Some(0));
    place.picture("new/1_1.png", brighter(9));
    for arguments in [&compare[..], &json] {
        assert_eq!(code(&place, arguments, closed(), Stdio::null()), Some(1));
        assert_eq!(code(&place, arguments, closed(), closed()), Some(1));
    }
    assert_eq!(code(&place, &["compare", "golden", "gone"], closed(), closed()), Some(2));
    assert_eq!(code(&place, &["accept", "golden", "new"], closed(), closed()), Some(0));
    place.compares(&[], 0, &["4 the same"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stderr_changes_no_verdict() {
    let place = Place::new();
    place.picture("new/1_1.png", brighter(9));
    for (arguments, expected) in [
        (&["compare", "golden", "new"][..], 1),
        (&["compare", "golden", "new", "--json", "--github"], 1),
        (&["compare", "-v", "golden", "new", "--diff-dir", "diff"], 1),
        (&["compare", "golden", "gone"], 2),
        (&["compare", "--nonsense"], 2),
        (&["merge", "golden"], 2),
        (&["report", "golden"], 2),
        (&["show", "golden/gone.png"], 2),
        (&["render", "--model", "gone.pt"], 2),
        (&["insights", "--model", "gone.pt"], 2),
        (&["layers", "--model", "gone.pt"], 2),
    ] {
        assert_eq!(code(&place, arguments, Stdio::null(), full()), Some(expected), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_75() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    for arguments in [
        &["compare", "golden", "new"][..],
        &["compare", "golden", "new", "--json"],
        &["accept", "golden", "new", "--dry-run"],
        &["doctor"],
        &["--help"],
        &["--version"],
        &["compare", "--help"],
    ] {
        for stderr in [full(), Stdio::null()] {
            assert_eq!(code(&place, arguments, full(), stderr), Some(75), "{arguments:?}");
        }
    }
}

#[test]
fn a_name_gives_no_orders_wherever_it_is_printed() {
    let place = Place::new();
    let name = "1_1\u{202e}\u{9b}31m.png";
    place.picture(&format!("new/{name}"), |_, _| [0; 3]);
    let printed = |arguments: &[&str]| {
        let found = place.actviz(arguments).output().unwrap();
        let all = [found.stdout, found.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        assert!(all.contains("202e") && !all.contains(['\u{202e}', '\u{9b}']), "{all}");
        all
    };
    printed(&["compare", "golden", "new"]);
    printed(&["compare", "golden", "new", "--github"]);
    let json = printed(&["compare", "golden", "new", "--json"]);
    let document: Value = serde_json::from_str(&json).unwrap();
    assert!(document["pictures"].as_array().unwrap().iter().any(|p| p["file"] == name));
    printed(&["accept", "golden", "new", "--dry-run"]);
    printed(&["show", &format!("new/{name}")]);
    printed(&["report", name]);
    let mut compare = place.actviz(&["compare", "golden", "new", "-q", "--github"]);
    compare.env("GITHUB_STEP_SUMMARY", place.path("s.md")).assert().code(1);
    let summary = fs::read_to_string(place.path("s.md")).unwrap();
    assert!(!summary.contains(['\u{202e}', '\u{9b}']), "{summary}");
}
