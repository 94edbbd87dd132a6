//! Accepting: everything is checked first, and the manifest stays true to the files.

use super::*;

#[test]
fn accepting_copies_what_differs_and_prunes_only_when_told() {
    let place = Place::new();
    place.manifest("golden", |manifest| {
        let mut seventh = manifest["pictures"][0].clone();
        seventh["file"] = json!("7_7.png");
        manifest["pictures"].as_array_mut().unwrap().push(seventh);
    });
    place.manifest("new", |manifest| manifest["threads"] = json!(8));
    place.picture("new/1_2.png", brighter(9));
    place.picture("golden/7_7.png", |_, _| [0; 3]);
    let accept = |flags: &[&str]| place.actviz(&["accept", "golden", "new"]).args(flags).assert();
    accept(&["--dry-run"]).success().stdout(contains("1 would be accepted"));
    place.compares(&["--allow", "missing"], 1, &[]);
    accept(&[]).success().stdout(contains("accept 1_2.png").and(contains("3 the same already")));
    place.compares(&["--allow", "missing"], 0, &[]);
    assert!(place.path("golden/7_7.png").exists());
    accept(&["--prune"]).success().stdout(contains("remove 7_7.png"));
    place.compares(&[], 0, &["4 the same"]);
    let manifest = fs::read_to_string(place.path("golden/manifest.json")).unwrap();
    assert!(manifest.contains("\"threads\": 8"));
}

#[test]
fn chosen_pictures_are_accepted_alone_with_their_entries() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |manifest| {
        for picture in manifest["pictures"].as_array_mut().unwrap() {
            picture["high"] = json!(3.0);
        }
    });
    place.picture("new/1_2.png", brighter(9));
    place.picture("new/2_2.png", brighter(9));
    place.actviz(&["accept", "golden", "new", "2_2.png"]).assert().success();
    place.compares(&[], 1, &["1_2.png", "1 the same, 1 different, 2 with other values"]);
    let manifest = fs::read_to_string(place.path("golden/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let high: Vec<&Value> =
        manifest["pictures"].as_array().unwrap().iter().map(|picture| &picture["high"]).collect();
    assert_eq!(high, [&json!(1.0), &json!(1.0), &json!(1.0), &json!(3.0)]);
    place.actviz(&["accept", "golden", "new", "9_9.png"]).assert().code(2);
}

#[test]
fn ci_does_not_accept_unless_forced() {
    let place = Place::new();
    place.picture("new/1_2.png", brighter(9));
    let accept = || {
        let mut command = place.actviz(&["accept", "golden", "new"]);
        command.env("CI", "true");
        command
    };
    accept().assert().code(2).stderr(contains("CI is set").and(contains("--force")));
    place.compares(&[], 1, &[]);
    accept().arg("--force").assert().success();
    place.compares(&[], 0, &[]);
}

fn golden_manifest(place: &Place) -> Value {
    serde_json::from_slice(&fs::read(place.path("golden/manifest.json")).unwrap()).unwrap()
}

/// `actviz accept golden new ARGUMENTS` is refused, dry or not, and changes nothing.
fn refuses(place: &Place, arguments: &[&str], texts: &[&str]) {
    let bytes = |name: &str| fs::read(place.path("golden").join(name)).ok();
    let names = ["1_1.png", "1_2.png", "2_1.png", "2_2.png", "1_1.npy", "manifest.json"];
    let before = names.map(bytes);
    for dry in [&["--dry-run"][..], &[]] {
        let mut said =
            place.actviz(&["accept", "golden", "new"]).args(arguments).args(dry).assert().code(2);
        for text in texts {
            said = said.stderr(contains(*text));
        }
        said.stdout("");
        assert!(names.map(bytes) == before, "{arguments:?}");
    }
}

#[test]
fn a_damaged_manifest_is_found_before_anything_is_copied() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.picture("new/1_2.png", brighter(9));
    fs::write(place.path("new/manifest.json"), "{").unwrap();
    refuses(&place, &[], &["manifest.json"]);
    place.manifest("new", |manifest| manifest["pictures"][3]["image"] = json!(7));
    refuses(&place, &[], &["manifest.json", "2_2.png is of an image that it does not list"]);
    place.manifest("new", |_| {});
    place.manifest("golden", |manifest| manifest["schema"] = json!(2));
    refuses(&place, &[], &["manifest.json", "schema 2", "hint"]);
    fs::write(place.path("golden/manifest.json"), "{").unwrap();
    refuses(&place, &[], &["manifest.json", "hint", "remove it"]);
    refuses(&place, &["1_2.png"], &["manifest.json"]);
    fs::remove_file(place.path("golden/manifest.json")).unwrap();
    place.actviz(&["accept", "golden", "new"]).assert().success();
    place.compares(&[], 0, &["4 the same"]);
}

#[test]
fn what_cannot_be_read_is_not_accepted() {
    let place = Place::new();
    place.picture("new/1_2.png", brighter(9));
    fs::write(place.path("new/2_1.png"), "").unwrap();
    let whole = fs::read(place.path("new/1_2.png")).unwrap();
    fs::write(place.path("new/2_2.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(place.path("new/1_1.npy"), "no array").unwrap();
    let texts = ["2_1.png (it is empty)", "2_2.png (no readable PNG", "1_1.npy ("];
    refuses(&place, &[], &texts);
    refuses(&place, &["2_1.png"], &["2_1.png"]);
    place.actviz(&["accept", "golden", "new", "1_2.png"]).assert().success();
}

#[cfg(unix)]
#[test]
fn a_linked_folder_in_golden_is_not_followed() {
    let place = Place::new();
    place.picture("outside/1_1.png", |_, _| [1, 2, 3]);
    place.picture("new/fox/1_1.png", |_, _| [4, 5, 6]);
    std::os::unix::fs::symlink(place.path("outside"), place.path("golden/fox")).unwrap();
    let before = fs::read(place.path("outside/1_1.png")).unwrap();
    place.picture("new/1_2.png", brighter(9));
    refuses(&place, &[], &["fox", "symbolic link"]);
    assert_eq!(fs::read(place.path("outside/1_1.png")).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let place = Place::new();
    fs::remove_file(place.path("new/1_1.png")).unwrap();
    pipe(&place.path("new/1_1.png"));
    refuses(&place, &[], &["1_1.png", "pipe"]);
}

#[test]
fn images_keep_their_pictures_when_manifests_are_joined() {
    let place = Place::new();
    place.manifest("golden", |manifest| {
        manifest["images"] = json!([{"path": "cat.png", "sha256": "1"},
                                    {"path": "fox.png", "sha256": "2"}]);
        manifest["pictures"][3]["image"] = json!(1);
    });
    place.manifest("new", |manifest| {
        manifest["images"] = json!([{"path": "fox.png", "sha256": "3"},
                                    {"path": "cat.png", "sha256": "1"},
                                    {"path": "dog.png", "sha256": "4"}]);
        for (index, image) in [1, 2, 1, 0].into_iter().enumerate() {
            manifest["pictures"][index]["image"] = json!(image);
        }
    });
    for name in ["new/1_2.png", "new/2_1.png", "new/2_2.png"] {
        place.picture(name, brighter(9));
    }
    let images = || -> Vec<(String, String)> {
        let manifest = golden_manifest(&place);
        let pictures = manifest["pictures"].as_array().unwrap().iter();
        let of = |picture: &Value| {
            let image = &manifest["images"][picture["image"].as_u64().unwrap() as usize];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&picture["file"]), format!("{} {}", text(&image["path"]), text(&image["sha256"])))
        };
        let mut images: Vec<_> = pictures.map(of).collect();
        images.sort();
        images
    };
    let named = |expected: [(&str, &str); 4]| expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
    place.actviz(&["accept", "golden", "new", "1_2.png", "2_1.png"]).assert().success();
    assert_eq!(
        images(),
        named([
            ("1_1.png", "cat.png 1"),
            ("1_2.png", "dog.png 4"),
            ("2_1.png", "cat.png 1"),
            ("2_2.png", "fox.png 2")
        ])
    );
    place.actviz(&["accept", "golden", "new", "2_2.png"]).assert().success();
    assert_eq!(images()[3], ("2_2.png".to_owned(), "fox.png 3".to_owned()));
    let manifest = golden_manifest(&place);
    let listed: Vec<&Value> =
        manifest["images"].as_array().unwrap().iter().map(|image| &image["sha256"]).collect();
    assert_eq!(listed, ["1", "4", "3"], "the fox of before has no picture any more");
}

#[test]
fn a_picture_that_stays_keeps_its_image_and_fold_when_all_others_are_accepted() {
    let place = Place::new();
    place.manifest("golden", |manifest| {
        manifest["images"] = json!([{"path": "old.png", "sha256": "1"}]);
        manifest["folds"][1]["sha256"] = json!("old");
    });
    place.manifest("new", |manifest| {
        manifest["images"] = json!([{"path": "fox.png", "sha256": "2"}]);
        manifest["folds"].as_array_mut().unwrap().pop();
        manifest["pictures"].as_array_mut().unwrap().truncate(2);
    });
    for name in ["new/2_1.png", "new/2_2.png"] {
        fs::remove_file(place.path(name)).unwrap();
    }
    place.actviz(&["accept", "golden", "new"]).assert().success();
    let manifest = golden_manifest(&place);
    let image = manifest["pictures"].as_array().unwrap().iter().find(|p| p["file"] == "2_2.png");
    let image = image.unwrap()["image"].as_u64().unwrap() as usize;
    assert_eq!(manifest["images"][image]["path"], "old.png");
    assert_eq!(manifest["folds"][1]["sha256"], "old");
    place.actviz(&["accept", "golden", "new", "--prune"]).assert().success();
    assert_eq!(golden_manifest(&place)["pictures"].as_array().unwrap().len(), 2);
}

#[test]
fn a_fold_s_file_is_taken_over_with_the_last_of_its_pictures() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |manifest| manifest["folds"][1]["sha256"] = json!("dddd"));
    place.picture("new/2_1.png", brighter(9));
    place.picture("new/2_2.png", brighter(9));
    place.actviz(&["accept", "golden", "new", "2_1.png"]).assert().success();
    assert_eq!(golden_manifest(&place)["folds"][1]["sha256"], "bbbb");
    place.actviz(&["accept", "golden", "new", "2_1.png", "2_2.png"]).assert().success();
    assert_eq!(golden_manifest(&place)["folds"][1]["sha256"], "dddd");
}

/// A sheet, and the mean and standard deviation of layer 1, whose high end is `high`.
fn with_consensus(place: &Place, side: &str, high: f32) {
    let drawn = |file: &str| json!({"file": file, "colormap": "viridis", "low": 0.0, "high": high});
    place.manifest(side, |manifest| {
        manifest["sheets"] = json!([{"file": "sheet.png", "image": 0, "sha256": high.to_string()}]);
        manifest["consensus"] = json!([{"image": 0, "b": 1, "layer": "relu1",
            "mean": drawn("mean_1.png"), "std": drawn("std_1.png")}]);
    });
    for name in ["sheet.png", "mean_1.png", "std_1.png"] {
        place.picture(&format!("{side}/{name}"), |_, _| [high as u8; 3]);
    }
}

#[test]
fn sheets_and_consensus_are_accepted_with_their_entries() {
    let place = Place::new();
    with_consensus(&place, "golden", 1.0);
    with_consensus(&place, "new", 2.0);
    let highs = || {
        let manifest = golden_manifest(&place);
        let consensus = &manifest["consensus"][0];
        [&consensus["mean"]["high"], &consensus["std"]["high"], &manifest["sheets"][0]["sha256"]]
            .map(|value| value.to_string().trim_matches('"').to_owned())
    };
    place.actviz(&["accept", "golden", "new", "sheet.png"]).assert().success();
    assert_eq!(highs(), ["1.0", "1.0", "2"]);
    place.actviz(&["accept", "golden", "new", "std_1.png"]).assert().success();
    assert_eq!(highs(), ["1.0", "2.0", "2"]);
    place.actviz(&["accept", "golden", "new"]).assert().success();
    assert_eq!(highs(), ["2.0", "2.0", "2"]);
    place.compares(&[], 0, &["7 the same"]);
}

#[test]
fn pruned_pictures_leave_no_entry_whoever_has_a_manifest() {
    let place = Place::new();
    with_consensus(&place, "golden", 1.0);
    fs::remove_file(place.path("new/2_2.png")).unwrap();
    place.picture("new/1_1.png", brighter(9));
    place.actviz(&["accept", "golden", "new", "--prune"]).assert().success();
    let manifest = golden_manifest(&place);
    let left: Vec<&Value> =
        manifest["pictures"].as_array().unwrap().iter().map(|picture| &picture["file"]).collect();
    // Nobody says what the new 1_1.png shows.
    assert_eq!(left, ["1_2.png", "2_1.png"]);
    assert!(manifest.get("sheets").is_none() && manifest.get("consensus").is_none());
}

#[test]
fn a_side_that_lies_in_the_other_is_refused() {
    let place = Place::new();
    place.picture("golden/new/1_1.png", brighter(9));
    for (golden, new) in [
        ("golden", "golden/new"),
        ("golden/new", "golden"),
        ("golden", "golden"),
        ("golden/inside/none", "golden"),
        ("golden", "new/../golden/new"),
    ] {
        let said = place.actviz(&["accept", golden, new, "--prune"]).assert().code(2).stdout("");
        said.stderr(contains("folder").and(contains("hint")));
    }
    assert!(place.path("golden/new/1_1.png").exists() && place.path("golden/1_1.png").exists());
    assert!(!place.path("golden/inside").exists());
}

#[test]
fn what_is_no_folder_is_refused_with_a_way_out() {
    let place = Place::new();
    let said = place.actviz(&["accept", "golden", "new/1_1.png"]).assert().code(2);
    said.stderr(contains("is not a folder").and(contains("hint")));
}

#[test]
fn only_what_a_run_wrote_is_pruned() {
    for has_manifest in [true, false] {
        let place = Place::new();
        let others = ["golden/.git/x/1_1.png", "golden/family.png", "golden/sub/data.npy"];
        others.iter().for_each(|name| place.picture(&name.replace(".npy", ".png"), |_, _| [0; 3]));
        fs::rename(place.path("golden/sub/data.png"), place.path("golden/sub/data.npy")).unwrap();
        place.picture("golden/fox/deep/7_7.png", |_, _| [0; 3]);
        if has_manifest {
            place.manifest("golden", |manifest| {
                manifest["pictures"][3]["file"] = json!("fox/deep/7_7.png");
            });
        }
        let accept = |flags: &[&str]| {
            let said = place.actviz(&["accept", "golden", "new", "--prune"]).args(flags).assert();
            said.success().stdout(contains("1 would be removed").or(contains("1 removed")));
        };
        accept(&["--dry-run"]);
        accept(&[]);
        assert!(others.iter().all(|name| place.path(name).exists()), "{has_manifest}");
        assert!(!place.path("golden/fox").exists(), "folders that became empty go");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_text_is_found_before_anything_is_copied() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let folder = place.path("golden").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&folder).unwrap();
    fs::copy(place.path("golden/1_1.png"), folder.join("7_7.png")).unwrap();
    place.picture("new/1_2.png", brighter(9));
    refuses(&place, &["--prune"], &["7_7.png", "UTF-8"]);
}

#[test]
fn what_a_killed_acceptance_left_goes_with_the_next() {
    let place = Place::new();
    place.picture("golden/fox/1_1.png", |_, _| [1; 3]);
    let left = ["golden/.actviz-tmp-a1", "golden/fox/.actviz-tmp-b2"].map(|name| place.path(name));
    left.iter().for_each(|file| fs::write(file, "half").unwrap());
    place.actviz(&["accept", "golden", "new", "--dry-run"]).assert().success();
    assert!(left.iter().all(|file| file.exists()));
    place.actviz(&["accept", "golden", "new"]).assert().success();
    assert!(!left.iter().any(|file| file.exists()));
}

#[test]
fn when_every_picture_was_accepted_by_name_the_options_are_new_s() {
    let place = Place::new();
    for (side, colormap) in [("golden", "auto"), ("new", "turbo")] {
        place.manifest(side, |manifest| {
            manifest["options"]["colormap"] = json!(colormap);
            for picture in manifest["pictures"].as_array_mut().unwrap() {
                picture["sha256"] = json!(format!("{side} {}", picture["file"]));
            }
        });
    }
    let names = ["1_1.png", "1_2.png", "2_1.png", "2_2.png"];
    names.iter().for_each(|name| place.picture(&format!("new/{name}"), brighter(9)));
    let colormap = || golden_manifest(&place)["options"]["colormap"].clone();
    let accept = |names: &[&str]| place.actviz(&["accept", "golden", "new"]).args(names).assert();
    accept(&names[..3]).success();
    assert_eq!(colormap(), "auto", "2_2.png is still of before");
    accept(&names[3..]).success();
    assert_eq!(colormap(), "turbo");
    place.actviz(&["compare", "golden", "new"]).assert().success().stdout(contains("option").not());
}

/// Writes a picture of ours that carries this text.
fn carrying(place: &Place, name: &str, pixel: u8, text: &str) {
    let picture = actviz::picture::Rgb::filled(20, 16, [pixel, 20, 30]);
    let bytes = actviz::picture::png::encode(&picture, text).unwrap();
    fs::write(place.path(name), bytes).unwrap();
}

#[test]
fn only_what_differs_is_accepted_whatever_else_the_files_carry() {
    let place = Place::new();
    let names = ["1_1.png", "1_2.png", "2_1.png", "2_2.png"];
    for (side, text) in [("golden", "/home/a/fox.png"), ("new", "/home/b/fox.png")] {
        for (number, name) in names.iter().enumerate() {
            let changed = side == "new" && number == 2;
            let file = format!("{side}/{name}");
            carrying(&place, &file, if changed { 99 } else { 10 }, text);
        }
        let hash =
            |name: &str| actviz::digest::of_bytes(&fs::read(place.path(side).join(name)).unwrap());
        place.manifest(side, |manifest| {
            for picture in manifest["pictures"].as_array_mut().unwrap() {
                picture["sha256"] = json!(hash(picture["file"].as_str().unwrap()));
            }
            if side == "new" {
                // The same pixels of other values.
                manifest["pictures"][3]["high"] = json!(7.0);
                manifest["threads"] = json!(8);
            }
        });
    }
    place.compares(&[], 1, &["2 the same, 1 different, 1 with other values"]);
    let said = place.actviz(&["accept", "golden", "new"]).assert().success();
    let text =
        "accept 2_1.png\naccept 2_2.png\nchange manifest.json\n2 accepted, 0 removed, 2 the same";
    said.stdout(contains(text));
    place.compares(&[], 0, &["4 the same"]);
    let manifest = golden_manifest(&place);
    for picture in manifest["pictures"].as_array().unwrap() {
        let file = place.path("golden").join(picture["file"].as_str().unwrap());
        assert_eq!(picture["sha256"], actviz::digest::of_bytes(&fs::read(file).unwrap()));
    }
    assert_eq!(manifest["threads"], 8);
    let again = place.actviz(&["accept", "golden", "new"]).assert().success();
    again.stdout(contains("0 accepted, 0 removed, 4 the same").and(contains("change").not()));
}
