//! Reports never change what is compared, and do not say what was true before.

use std::collections::BTreeMap;

use super::*;

/// Every file below both sides, with its bytes.
fn sides(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![place.path("golden"), place.path("new")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(files.insert(path.clone(), fs::read(path).unwrap())),
            }
        }
    }
    files
}

/// `actviz compare golden new FLAGS` is refused, with a hint, and changes no side.
fn refuses(place: &Place, flags: &[&str]) {
    let before = sides(place);
    let said = place.actviz(&["compare", "golden", "new"]).args(flags).assert().code(2);
    said.stderr(contains(flags[0]).and(contains("hint"))).stdout("");
    assert!(sides(place) == before, "{flags:?}");
}

fn different() -> Place {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |_| {});
    place.picture("new/1_2.png", brighter(90));
    for side in ["golden", "new"] {
        place.picture(&format!("{side}/fox/1_1.png"), |_, _| [1, 2, 3]);
    }
    place.picture("new/fox/1_1.png", |_, _| [9, 9, 9]);
    place
}

#[test]
fn difference_pictures_are_not_written_into_a_side() {
    let place = different();
    for folder in ["golden", "new", "golden/diff", "new/a/b", "gone/../golden", "./new/../golden"] {
        refuses(&place, &["--diff-dir", folder]);
    }
    assert!(!place.path("gone").exists());
    place.compares(&["--diff-dir", "diff"], 1, &[]);
}

#[test]
fn difference_pictures_do_not_land_in_a_side_from_above() {
    let place = Place(tempfile::tempdir().unwrap());
    place.picture("all/a/1_1.png", |_, _| [1, 2, 3]);
    place.picture("new/a/1_1.png", |_, _| [4, 5, 6]);
    // DIR/a/1_1.png is NEW's own.
    let said = place.actviz(&["compare", "all", "new", "--diff-dir", "new"]).assert().code(2);
    said.stderr(contains("--diff-dir"));
    place.picture("deep/all/a/1_1.png", |_, _| [1, 2, 3]);
    place.picture("deep/a/1_1.png", |_, _| [4, 5, 6]);
    let before = fs::read(place.path("deep/a/1_1.png")).unwrap();
    let said = place.actviz(&["compare", "deep/all", "deep/a", "--diff-dir", "deep"]).assert();
    said.code(2).stderr(contains("NEW"));
    assert_eq!(fs::read(place.path("deep/a/1_1.png")).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_reports_into_a_side() {
    use std::os::unix::fs::symlink;
    let place = different();
    symlink(place.path("golden"), place.path("link")).unwrap();
    refuses(&place, &["--diff-dir", "link"]);
    refuses(&place, &["--html", "link/1_1.png"]);
    fs::create_dir(place.path("diff")).unwrap();
    symlink(place.path("new/fox"), place.path("diff/fox")).unwrap();
    refuses(&place, &["--diff-dir", "diff"]);
    // A golden picture that is kept elsewhere.
    fs::rename(place.path("golden/1_1.png"), place.path("store.png")).unwrap();
    symlink(place.path("store.png"), place.path("golden/1_1.png")).unwrap();
    refuses(&place, &["--html", "store.png"]);
}

#[test]
fn reports_are_not_written_over_a_side_s_files() {
    let place = different();
    fs::write(place.path("golden/notes.html"), "mine").unwrap();
    for flag in ["--html", "--junit"] {
        for file in ["golden/1_1.png", "new/manifest.json", "new/9_9.png", "golden/9_9.NPY"] {
            refuses(&place, &[flag, file]);
        }
        refuses(&place, &[flag, "golden/notes.html"]);
    }
    for flags in [["--html", "new/page.html"], ["--junit", "new/junit.xml"]] {
        // The second time over the report of the first.
        place.compares(&flags, 1, &[]);
        place.compares(&flags, 1, &[]);
    }
}

#[test]
fn two_files_are_not_written_over_either() {
    let place = Place::new();
    place.picture("new/2_2.png", brighter(40));
    let before = sides(&place);
    for flags in [
        ["--html", "golden/1_1.png"],
        ["--junit", "new/2_2.png"],
        ["--html", "golden/1_2.png"],
        ["--diff-dir", "golden"],
        ["--diff-dir", "new"],
    ] {
        let files = ["compare", "golden/1_1.png", "new/2_2.png"];
        place.actviz(&files).args(flags).assert().code(2).stderr(contains(flags[0]));
    }
    assert!(sides(&place) == before);
    let flags = ["--diff-dir", "golden/diff", "--html", "golden/page.html"];
    place.actviz(&["compare", "golden/1_1.png", "new/2_2.png"]).args(flags).assert().code(1);
    assert!(place.path("golden/diff/2_2.png").exists());
}

#[test]
fn the_folder_of_another_run_is_no_place_for_difference_pictures() {
    let place = different();
    fs::create_dir(place.path("third")).unwrap();
    fs::copy(place.path("golden/manifest.json"), place.path("third/manifest.json")).unwrap();
    refuses(&place, &["--diff-dir", "third"]);
}

#[test]
fn a_difference_picture_goes_when_its_picture_fails_no_more() {
    let place = different();
    place.compares(&["--diff-dir", "diff"], 1, &[]);
    assert!(place.path("diff/1_2.png").exists() && place.path("diff/fox/1_1.png").exists());
    place.picture("diff/7_7.png", |_, _| [0; 3]);
    place.picture("new/fox/1_1.png", |_, _| [1, 2, 3]);
    place.compares(&["--diff-dir", "diff"], 1, &[]);
    assert!(place.path("diff/1_2.png").exists() && !place.path("diff/fox").exists());
    place.picture("new/1_2.png", |_, _| [10, 20, 30]);
    place.compares(&["--diff-dir", "diff"], 0, &[]);
    let left: Vec<_> =
        fs::read_dir(place.path("diff")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["7_7.png"], "what nobody here wrote stays");
}

#[test]
fn a_list_from_elsewhere_removes_nothing_of_others() {
    let place = different();
    place.compares(&["--diff-dir", "diff"], 1, &[]);
    let list = fs::read_to_string(place.path("diff/.actviz-diff.json")).unwrap();
    let list: BTreeMap<String, String> = serde_json::from_str(&list).unwrap();
    let sha256 = &list["1_2.png"];
    fs::copy(place.path("diff/1_2.png"), place.path("outside.png")).unwrap();
    place.picture("diff/3_3.png", |_, _| [0; 3]);
    fs::remove_file(place.path("diff/1_2.png")).unwrap();
    fs::remove_dir_all(place.path("diff/fox")).unwrap();
    let absolute = place.path("outside.png").to_string_lossy().into_owned();
    let planted = json!({"../outside.png": sha256, absolute: sha256, "3_3.png": sha256});
    fs::write(place.path("diff/.actviz-diff.json"), planted.to_string()).unwrap();
    place.compares(&["--diff-dir", "diff"], 1, &[]);
    assert!(place.path("outside.png").exists() && place.path("diff/3_3.png").exists());
}

/// A device of the place's own that is always full; none where nobody may make one.
#[cfg(target_os = "linux")]
fn full_device(place: &Place) -> Option<PathBuf> {
    let path = place.path("full");
    let made = std::process::Command::new("mknod").arg(&path).args(["c", "1", "7"]).output();
    let is_made = made.is_ok_and(|made| made.status.success());
    if !is_made || fs::OpenOptions::new().write(true).open(&path).is_err() {
        eprintln!("SKIPPED: only root may make a device");
        return None;
    }
    Some(path)
}

#[cfg(target_os = "linux")]
#[test]
fn no_room_for_what_is_printed_means_try_again() {
    let place = different();
    let Some(full) = full_device(&place) else { return };
    for flags in [&["compare", "golden", "new"][..], &["compare", "golden", "new", "--json"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_actviz"));
        command.current_dir(place.path("")).args(flags);
        let open = fs::OpenOptions::new().write(true).open(&full).unwrap();
        let said = command.stdout(open).output().unwrap();
        assert_eq!(said.status.code(), Some(75));
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(text.contains("stdout: no space left") && text.contains("hint"), "{text}");
    }
    let said = place.actviz(&["compare", "golden", "new", "--html", "full"]).assert();
    said.code(75).stderr(contains("write full"));
    assert!(!fs::metadata(&full).unwrap().is_file(), "it stays a device");
}

#[cfg(unix)]
#[test]
fn a_pipe_that_is_read_gets_the_report_and_stays_a_pipe() {
    use std::os::unix::fs::FileTypeExt;
    let place = different();
    for flag in ["--junit", "--html"] {
        let path = place.path(&format!("pipe{flag}"));
        pipe(&path);
        let is_pipe = || fs::symlink_metadata(&path).unwrap().file_type().is_fifo();
        let compare = || place.actviz(&["compare", "golden", "new", flag]).arg(&path).assert();
        compare().code(2).stderr(contains("nobody reads").and(contains("hint")));
        assert!(is_pipe());
        let from = path.clone();
        let reader = std::thread::spawn(move || fs::read_to_string(from).unwrap());
        // The reader has it open soon.
        let said = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let said = place.actviz(&["compare", "golden", "new", flag]).arg(&path).output();
            said.ok().filter(|said| said.status.code() == Some(1))
        });
        assert!(said.is_some() && is_pipe());
        assert!(reader.join().unwrap().contains("actviz compare"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_that_cannot_be_written_is_told_by_its_own_name() {
    let place = different();
    fs::create_dir(place.path("folder")).unwrap();
    for flag in ["--junit", "--html"] {
        let said = place.actviz(&["compare", "golden", "new", flag, "folder"]).assert().code(2);
        said.stderr(contains("folder is a folder").and(contains(".actviz-tmp").not()));
        // A folder that nobody can make a file in.
        let said = place.actviz(&["compare", "golden", "new", flag, "/proc/self/x.html"]).assert();
        said.code(2).stderr(
            contains("hint").and(contains("/proc/self/x.html")).and(contains(".actviz-tmp").not()),
        );
    }
}

#[test]
fn difference_pictures_take_no_other_picture_s_place() {
    let place = different();
    place.picture("diff/1_2.png", |_, _| [7, 7, 7]);
    let mine = fs::read(place.path("diff/1_2.png")).unwrap();
    refuses(&place, &["--diff-dir", "diff"]);
    // Nor where a list says so and the file is another since.
    fs::remove_file(place.path("diff/1_2.png")).unwrap();
    place.compares(&["--diff-dir", "diff"], 1, &[]);
    place.compares(&["--diff-dir", "diff"], 1, &[]);
    fs::write(place.path("diff/1_2.png"), &mine).unwrap();
    refuses(&place, &["--diff-dir", "diff"]);
    assert!(fs::read(place.path("diff/1_2.png")).unwrap() == mine);
}

#[cfg(unix)]
#[test]
fn difference_pictures_do_not_leave_their_folder_by_a_link() {
    let place = different();
    for folder in ["diff", "album"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink(place.path("album"), place.path("diff/fox")).unwrap();
    refuses(&place, &["--diff-dir", "diff"]);
    assert_eq!(fs::read_dir(place.path("album")).unwrap().count(), 0);
}

#[test]
fn a_comparison_that_ends_early_leaves_no_earlier_report() {
    let place = Place::new();
    let flags = ["--junit", "junit.xml", "--html", "page.html"];
    place.compares(&flags, 0, &[]);
    assert!(place.path("junit.xml").exists() && place.path("page.html").exists());
    fs::rename(place.path("new"), place.path("gone")).unwrap();
    place.actviz(&["compare", "golden", "new"]).args(flags).assert().code(2);
    assert!(!place.path("junit.xml").exists() && !place.path("page.html").exists());
}

#[test]
fn reports_take_no_place_of_each_other() {
    let place = different();
    refuses(&place, &["--html", "x", "--junit", "x"]);
    refuses(&place, &["--html", "x", "--junit", "gone/../x"]);
    for file in ["diff/1_2.png", "diff/.actviz-diff.json", "diff"] {
        refuses(&place, &["--html", file, "--diff-dir", "diff"]);
    }
    refuses(&place, &["--junit", "a", "--diff-dir", "a/diff"]);
    assert!(!place.path("x").exists() && !place.path("diff").exists());
    place.compares(&["--html", "diff/page.html", "--diff-dir", "diff"], 1, &[]);
}

#[test]
fn differences_of_transparency_and_of_low_bits_are_seen() {
    let place = Place::new();
    for (side, alpha, low) in [("golden", 255, 1000), ("new", 250, 1001)] {
        let clear = image::RgbaImage::from_pixel(20, 16, image::Rgba([10, 20, 30, alpha]));
        clear.save(place.path(side).join("1_1.png")).unwrap();
        let deep = image::ImageBuffer::from_pixel(20, 16, image::Rgb([low, 0u16, 0]));
        deep.save(place.path(side).join("1_2.png")).unwrap();
    }
    place.compares(&["--diff-dir", "diff", "--hard-max", "0"], 1, &[]);
    let seen = |name: &str| {
        let triple = image::open(place.path("diff").join(name)).unwrap().into_rgb8();
        *triple.get_pixel(56 + 5, 5)
    };
    assert_eq!(seen("1_1.png"), Rgb([50, 50, 50]));
    assert_eq!(seen("1_2.png"), Rgb([10, 0, 0]));
}

#[cfg(target_os = "linux")]
#[test]
fn what_leads_to_an_open_report_is_not_removed() {
    let place = Place::new();
    place.compares(&["--junit", "junit.xml"], 0, &[]);
    let before = fs::read(place.path("junit.xml")).unwrap();
    let open = fs::OpenOptions::new().append(true).open(place.path("junit.xml")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_actviz"));
    command.current_dir(place.path("")).args(["compare", "golden", "new"]);
    let said = command.args(["--junit", "/proc/self/fd/1"]).stdout(open).output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(text.contains("leads to a file") && text.contains("hint"), "{text}");
    assert!(fs::read(place.path("junit.xml")).unwrap() == before);
}

#[test]
fn a_killed_comparison_is_run_again() {
    let place = Place::new();
    place.picture("new/1_1.png", brighter(9));
    place.picture("new/2_2.png", brighter(9));
    let flags = ["--diff-dir", "diff"];
    place.compares(&flags, 1, &[]);
    // What one that is killed leaves: the list, as many pictures as it came to, and half a
    // file. The list is as it was written: before the first picture.
    fs::remove_file(place.path("diff/2_2.png")).unwrap();
    fs::write(place.path("diff/.actviz-tmp-x1"), "half").unwrap();
    place.compares(&flags, 1, &[]);
    assert!(place.path("diff/2_2.png").exists() && !place.path("diff/.actviz-tmp-x1").exists());
    // Without the list nobody knows whose the pictures are.
    fs::remove_file(place.path("diff/.actviz-diff.json")).unwrap();
    refuses(&place, &flags);
}

/// As soon as there is a picture, the list names it.
#[cfg(unix)]
#[test]
fn the_list_of_differences_comes_before_the_pictures() {
    let place = Place::new();
    for number in 3..200 {
        for (side, by) in [("golden", 0), ("new", 9)] {
            place.picture(&format!("{side}/{number}_1.png"), brighter(by));
        }
    }
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_actviz"));
    command.current_dir(place.path("")).args(["compare", "golden", "new", "--diff-dir", "diff"]);
    let mut compare = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let pictures = || {
        let entries = fs::read_dir(place.path("diff")).into_iter().flatten();
        entries.filter(|e| e.as_ref().unwrap().path().extension().is_some()).count()
    };
    while pictures() < 3 && compare.try_wait().unwrap().is_none() {}
    compare.kill().unwrap();
    compare.wait().unwrap();
    assert!(pictures() >= 3);
    place.compares(&["--diff-dir", "diff"], 1, &[]);
    assert_eq!(pictures(), 197 + 1, "all pictures, and the list");
    let left = fs::read_dir(place.path("diff")).unwrap();
    let is_half = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".actviz-tmp-");
    assert!(!left.into_iter().any(|entry| is_half(&entry.unwrap().file_name())));
}

#[test]
fn what_killed_commands_left_beside_their_result_goes() {
    let place = Place::new();
    place.manifest("golden", |manifest| manifest["pictures"] = json!([]));
    let half = |folder: &str| {
        let file = place.path(folder).join(".actviz-tmp-x1");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "half").unwrap();
        file
    };
    let left = half("reports");
    place.compares(&["--allow", "missing", "--junit", "reports/j.xml"], 0, &[]);
    assert!(!left.exists());
    let left = half("golden");
    place.actviz(&["report", "golden"]).assert().code(0);
    assert!(!left.exists());
    // One that is being written is held.
    let left = half("golden");
    let held = fs::File::open(&left).unwrap();
    held.lock().unwrap();
    place.actviz(&["report", "golden"]).assert().code(0);
    assert!(left.exists());
    drop(held);
    // In a folder into which a run is under way nothing is removed.
    fs::write(place.path("golden/.actviz-run"), "").unwrap();
    place.actviz(&["report", "golden"]).assert().code(1);
    assert!(left.exists());
}
