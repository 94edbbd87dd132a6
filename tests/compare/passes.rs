//! What must not pass: whatever is there on one side alone, or is not told any more.

use super::*;

fn outcome(place: &Place, flags: &[&str], file: &str) -> (bool, String) {
    let json = place.actviz(&["compare", "golden", "new", "--json"]).args(flags).output().unwrap();
    let document: Value = serde_json::from_slice(&json.stdout).unwrap();
    let pictures = document["pictures"].as_array().unwrap();
    let picture = pictures.iter().find(|picture| picture["file"] == file).unwrap();
    (document["same"].as_bool().unwrap(), picture["outcome"].as_str().unwrap().to_owned())
}

#[test]
fn a_raw_map_on_one_side_alone_is_missing_or_extra() {
    let place = Place::new();
    place.raw("golden/1_1.npy", &Array2::zeros((2, 3)));
    place.compares(&[], 1, &["its raw map 1_1.npy is missing in NEW", "1 missing"]);
    place.compares(&["--allow", "extra"], 1, &[]);
    place.compares(&["--allow", "missing"], 0, &[]);
    place.raw("new/2_1.npy", &Array2::zeros((2, 3)));
    place.compares(&["--allow", "missing"], 1, &["its raw map 2_1.npy is not in GOLDEN"]);
    place.compares(&["--allow", "missing,extra"], 0, &["1 missing", "1 extra"]);
    assert_eq!(outcome(&place, &[], "2_1.png"), (false, "extra".to_owned()));
}

#[test]
fn a_raw_map_that_a_manifest_promises_and_nobody_has_is_missing() {
    let place = Place::new();
    for side in ["golden", "new"] {
        place.manifest(side, |manifest| manifest["pictures"][0]["raw"] = json!("maps/1_1.npy"));
    }
    place.compares(&[], 1, &["its raw map maps/1_1.npy is on neither side"]);
    assert_eq!(outcome(&place, &[], "1_1.png"), (false, "missing".to_owned()));
    place.compares(&["--allow", "missing"], 0, &[]);
}

/// Overlays of which only the manifests know what their raw maps are called.
fn overlays() -> Place {
    let place = Place::new();
    for side in ["golden", "new"] {
        let folder = place.path(side);
        fs::rename(folder.join("1_1.png"), folder.join("1_1.overlay.png")).unwrap();
        place.raw(&format!("{side}/1_1.npy"), &Array2::zeros((2, 3)));
        place.manifest(side, |manifest| {
            manifest["pictures"][0]["file"] = json!("1_1.overlay.png");
            manifest["pictures"][0]["raw"] = json!("1_1.npy");
        });
    }
    place
}

#[test]
fn a_raw_map_is_found_by_the_manifest_of_the_other_side() {
    for side in ["golden", "new"] {
        let place = overlays();
        fs::remove_file(place.path(side).join("manifest.json")).unwrap();
        place.compares(&["--allow", "missing"], 0, &["4 the same"]);
        place.raw("new/1_1.npy", &Array2::ones((2, 3)));
        place.compares(&["--allow", "missing"], 1, &["1_1.overlay.png", "6 of 6 raw values"]);
    }
    let place = overlays();
    place.raw("new/1_1.npy", &Array2::ones((2, 3)));
    place.manifest("new", |m| m["pictures"][0]["file"] = json!("1_1.overlay.png"));
    place.compares(&["--allow", "missing"], 1, &["1_1.overlay.png", "6 of 6 raw values"]);
}

#[test]
fn a_raw_map_that_a_manifest_disowns_is_compared_by_itself() {
    for name in ["orig.npy", "gone.npy"] {
        let place = overlays();
        place.raw("new/orig.npy", &Array2::zeros((2, 3)));
        place.manifest("new", |manifest| {
            manifest["pictures"][0]["file"] = json!("1_1.overlay.png");
            manifest["pictures"][0]["raw"] = json!(name);
        });
        place.compares(&["--allow", "missing,extra"], 0, &[]);
        place.raw("new/1_1.npy", &Array2::ones((2, 3)));
        place.compares(&["--allow", "missing,extra"], 1, &["1_1.npy", "6 of 6 raw values"]);
    }
}

#[test]
fn a_raw_map_is_compared_though_its_picture_is_missing() {
    let place = overlays();
    fs::remove_file(place.path("new/1_1.overlay.png")).unwrap();
    place.compares(&["--allow", "missing"], 0, &["1 missing"]);
    place.raw("new/1_1.npy", &Array2::ones((2, 3)));
    place.compares(&["--allow", "missing"], 1, &["1_1.npy", "6 of 6 raw values"]);
    fs::remove_file(place.path("new/1_1.npy")).unwrap();
    place.compares(&["--allow", "missing"], 0, &["4 pictures, 3 the same, 1 missing"]);
}

#[test]
fn pixels_that_differ_are_no_less_different_for_a_missing_raw_map() {
    let place = Place::new();
    place.raw("golden/1_1.npy", &Array2::zeros((2, 3)));
    place.picture("new/1_1.png", brighter(9));
    place.compares(&["--allow", "missing"], 1, &["1 of 320 pixels differs"]);
}

#[test]
fn a_forgiven_picture_does_not_forgive_its_raw_map() {
    let place = Place::new();
    place.sized("new/1_1.png", 8, 8, |_, _| [0; 3]);
    place.raw("golden/1_1.npy", &Array2::zeros((2, 3)));
    place.raw("new/1_1.npy", &Array2::ones((2, 3)));
    place.compares(&["--allow", "size"], 1, &["6 of 6 raw values"]);
    fs::remove_file(place.path("new/1_1.npy")).unwrap();
    place.compares(&["--allow", "size"], 1, &["missing in NEW"]);
}

#[test]
fn a_raw_map_without_a_picture_is_compared_too() {
    let place = Place::new();
    place.raw("golden/9_9.npy", &Array2::zeros((2, 3)));
    place.compares(&[], 1, &["9_9.npy", "it is missing in NEW"]);
    place.raw("new/9_9.npy", &Array2::ones((2, 3)));
    place.compares(&[], 1, &["9_9.npy", "6 of 6 raw values"]);
    place.raw("new/9_9.npy", &Array2::zeros((2, 3)));
    place.compares(&[], 0, &["5 the same"]);
}

#[test]
fn pictures_that_were_read_count_as_compared_though_all_raw_maps_are_missing() {
    let place = Place::new();
    for name in ["1_1.npy", "1_2.npy", "2_1.npy", "2_2.npy"] {
        place.raw(&format!("golden/{name}"), &Array2::zeros((2, 3)));
    }
    place.compares(&["--allow", "missing"], 0, &["4 missing"]);
    for name in ["1_1.png", "1_2.png", "2_1.png", "2_2.png"] {
        place.sized(&format!("new/{name}"), 8, 8, |_, _| [0; 3]);
    }
    let all = ["compare", "golden", "new", "--allow", "missing,size"];
    place.actviz(&all).assert().code(2).stderr(contains("nothing could be compared"));
}

#[test]
fn a_manifest_that_is_gone_fails_unless_allowed() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.compares(&[], 1, &["NEW has no manifest.json"]);
    place.compares(&["--allow", "missing"], 0, &["NEW has no manifest.json"]);
    fs::rename(place.path("golden/manifest.json"), place.path("new/manifest.json")).unwrap();
    place.compares(&[], 0, &["GOLDEN has no manifest.json"]);
}

#[test]
fn a_manifest_that_is_silent_about_its_pictures_fails_unless_allowed() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |manifest| manifest["pictures"] = json!([]));
    place.compares(&[], 1, &["says nothing of 4 pictures that are there, the first is 1_1.png"]);
    place.compares(&["--allow", "missing"], 0, &[]);
    place.manifest("new", |manifest| drop(manifest["pictures"].as_array_mut().unwrap().remove(2)));
    place.compares(&[], 1, &["says nothing of 1 picture that is there, the first is 2_1.png"]);
}

#[test]
fn folds_and_images_that_are_gone_are_told() {
    let place = Place::new();
    place.manifest("golden", |manifest| {
        manifest["images"] = json!([{"path": "cat.png", "sha256": "1"},
                                    {"path": "fox.png", "sha256": "cccc"},
                                    {"path": "old/dog.png", "sha256": "4"}]);
        manifest["pictures"].as_array_mut().unwrap().iter_mut().for_each(|p| p["image"] = json!(1));
    });
    place.manifest("new", |manifest| {
        manifest["images"] = json!([{"path": "fox.png", "sha256": "dddd"},
                                    {"path": "new/dog.png", "sha256": "4"}]);
        manifest["folds"].as_array_mut().unwrap().remove(0);
    });
    let texts = [
        "fold 1 (a.pt) is not in NEW",
        "1 of 3 images is not in NEW, the first is cat.png",
        // By its path, wherever it stands in the list.
        "fox.png has SHA-256 cccc -> dddd",
    ];
    place.compares(&[], 0, &texts);
}

/// A PNG of 2 x 2 pixels with right checksums: a filter that there is not, or colours from a
/// palette that there is not.
fn broken_png(colour: u8, filter: u8) -> Vec<u8> {
    let chunk = |kind: &[u8], content: &[u8]| {
        let checked = [kind, content].concat();
        let sum = crc32fast::hash(&checked).to_be_bytes();
        [&(content.len() as u32).to_be_bytes()[..], &checked, &sum].concat()
    };
    let header = chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 2, 8, colour, 0, 0, 0]);
    let data = chunk(b"IDAT", &fdeflate::compress_to_vec(&[filter, 1, 1, 0, 1, 1]));
    [b"\x89PNG\r\n\x1a\n", &header[..], &data, &chunk(b"IEND", b"")].concat()
}

#[test]
fn equal_files_that_no_decoder_reads_are_unreadable() {
    let place = Place::new();
    for (colour, filter) in [(0, 7), (3, 0)] {
        for side in ["golden", "new"] {
            fs::write(place.path(side).join("1_1.png"), broken_png(colour, filter)).unwrap();
        }
        assert_eq!(outcome(&place, &[], "1_1.png"), (false, "unreadable".to_owned()));
    }
}
