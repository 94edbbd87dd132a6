//! What pictures show, by the manifests: no pixel tells that an entry is another's.

use super::*;

/// Two images in two folds, with a consensus and a sheet.
fn entries(manifest: &mut Value) {
    manifest["images"] =
        json!([{"path": "fox.png", "sha256": "cccc"}, {"path": "cat.png", "sha256": "dddd"}]);
    manifest["pictures"][2]["image"] = json!(1);
    manifest["pictures"][3]["image"] = json!(1);
    let drawn = |file: &str| json!({"file": file, "colormap": "gray", "low": 0.0, "high": 1.0});
    manifest["consensus"] = json!([{"image": 0, "b": 1, "layer": "relu1",
        "mean": drawn("mean_1.png"), "std": drawn("std_1.png")}]);
    manifest["sheets"] = json!([{"file": "sheet.png", "image": 0}]);
}

fn place() -> Place {
    let place = Place::new();
    for side in ["golden", "new"] {
        for name in ["mean_1.png", "std_1.png", "sheet.png"] {
            place.picture(&format!("{side}/{name}"), |_, _| [10, 20, 30]);
        }
        place.manifest(side, entries);
    }
    place
}

fn swap(manifest: &mut Value, one: &str, other: &str) {
    let was = manifest.pointer(one).unwrap().clone();
    let is = std::mem::replace(manifest.pointer_mut(other).unwrap(), was);
    *manifest.pointer_mut(one).unwrap() = is;
}

#[test]
fn another_entry_for_a_picture_fails_though_no_pixel_differs() {
    let place = place();
    place.compares(&[], 0, &["7 the same"]);
    let each = |manifest: &mut Value, change: fn(&mut Value)| {
        manifest["pictures"].as_array_mut().unwrap().iter_mut().for_each(change);
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    let changes: [(Change, &str); 14] = [
        (
            &|m| swap(m, "/pictures/0/file", "/pictures/1/file"),
            "layer 1 was relu1, is relu2 in fold 1: 1 picture, the first is 1_1.png",
        ),
        (
            &|m| swap(m, "/pictures/0/file", "/pictures/2/file"),
            "2 pictures show another fold, the first is 1_1.png: 1 -> 2",
        ),
        (
            &|m| each(m, |p| p["fold"] = json!(3 - p["fold"].as_u64().unwrap())),
            "4 pictures show another fold, the first is 1_1.png: 1 -> 2",
        ),
        (
            &|m| each(m, |p| p["image"] = json!(1 - p["image"].as_u64().unwrap())),
            "4 pictures show another image, the first is 1_1.png: fox.png -> cat.png",
        ),
        (&|m| m["pictures"][2]["image"] = json!(7), "cat.png -> none of the manifest's"),
        (&|m| m["pictures"][0]["layer"] = json!("gelu"), "layer 1 was relu1, is gelu in fold 1"),
        (&|m| m["pictures"][0]["b"] = json!(2), "another position, the first is 1_1.png: 1 -> 2"),
        (&|m| m["pictures"][0]["view"] = json!("overlay"), "another view"),
        (&|m| m["pictures"][0]["channel"] = json!(3), "another channel, the first is 1_1.png: all"),
        (&|m| m["pictures"][0]["reduce"] = json!("max"), "another reduction"),
        (&|m| m["pictures"][0]["operator"] = json!("gelu"), "another operator"),
        (&|m| m["consensus"][0]["layer"] = json!("gelu"), "layer 1 was relu1, is gelu: 2 pictures"),
        (
            &|m| swap(m, "/consensus/0/mean/file", "/consensus/0/std/file"),
            "2 pictures show another kind, the first is mean_1.png: mean -> std",
        ),
        (&|m| m["sheets"][0]["image"] = json!(1), "another image, the first is sheet.png"),
    ];
    for (change, text) in changes {
        place.manifest("new", |manifest| {
            entries(manifest);
            change(manifest);
        });
        place.compares(&[], 1, &[text]);
        place.compares(&["--allow", "missing,extra,size"], 1, &[text]);
    }
}

#[test]
fn a_file_that_a_manifest_describes_twice_fails() {
    let place = place();
    for side in ["golden", "new"] {
        place.manifest(side, |manifest| {
            entries(manifest);
            let mut again = manifest["pictures"][0].clone();
            again["layer"] = json!("gelu");
            manifest["pictures"].as_array_mut().unwrap().insert(0, again);
        });
        let text = "manifest has 1 entry for a file that it has described before: 1_1";
        place.compares(&[], 1, &[text]);
    }
}

#[test]
fn moved_images_and_another_order_of_entries_are_the_same() {
    let place = place();
    place.manifest("new", |manifest| {
        entries(manifest);
        manifest["images"][0]["path"] = json!("moved/fox.png");
        // Another file at the same path is told of the image.
        manifest["images"][1]["sha256"] = json!("eeee");
        swap(manifest, "/images/0", "/images/1");
        for picture in manifest["pictures"].as_array_mut().unwrap() {
            picture["image"] = json!(1 - picture["image"].as_u64().unwrap());
        }
        manifest["consensus"][0]["image"] = json!(1);
        manifest["sheets"][0]["image"] = json!(1);
        swap(manifest, "/pictures/0", "/pictures/3");
    });
    place.compares(&[], 0, &["cat.png has SHA-256 dddd -> eeee", "7 the same"]);
}

#[test]
fn another_model_is_told() {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |manifest| manifest["model"] = json!("other"));
    place.compares(&[], 0, &["model     model net -> other"]);
}
