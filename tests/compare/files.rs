//! Two files, and what the manifests beside them say.

use super::*;

#[test]
fn the_stricter_colour_map_of_both_sides_counts() {
    let place = Place::new();
    let coloured = |side: &str, colormap: &str| {
        place.manifest(side, |manifest| manifest["pictures"][0]["colormap"] = json!(colormap));
    };
    place.picture("new/1_1.png", brighter(3));
    let profile = ["--profile", "cross-cpu"];
    for (golden, new, code) in
        [("turbo", "turbo", 0), ("turbo", "gray", 1), ("gray", "turbo", 1), ("viridis", "gray", 1)]
    {
        coloured("golden", golden);
        coloured("new", new);
        place.compares(&profile, code, &[]);
    }
    fs::remove_file(place.path("golden/manifest.json")).unwrap();
    coloured("new", "gray");
    place.compares(&profile, 1, &["limit 1"]);
}

#[test]
fn two_files_are_compared_by_their_entries() {
    let place = Place::new();
    for side in ["golden", "new"] {
        place.manifest(side, |manifest| {
            manifest["pictures"][0]["colormap"] = json!("gray");
            manifest["pictures"][3]["raw"] = json!("2_2.npy");
        });
        place.raw(&format!("{side}/2_2.npy"), &Array2::zeros((2, 3)));
    }
    place.picture("new/1_1.png", brighter(3));
    let files = |golden: &str, new: &str, flags: &[&str]| {
        place.actviz(&["compare", golden, new]).args(flags).assert()
    };
    let profile = ["--profile", "cross-cpu"];
    files("golden/1_1.png", "new/1_1.png", &profile).code(1).stdout(contains("limit 1"));
    for side in ["golden", "new"] {
        let drawn = |file| json!({"file": file, "colormap": "gray", "low": 0.0, "high": 1.0});
        place.manifest(side, |manifest| {
            manifest["pictures"][0]["file"] = json!("other.png");
            manifest["pictures"][3]["raw"] = json!("2_2.npy");
            manifest["consensus"] = json!([{"image": 0, "b": 1, "layer": "relu1",
                "mean": drawn("1_1.png"), "std": drawn("std_1.png")}]);
        });
    }
    files("golden/1_1.png", "new/1_1.png", &profile).code(1).stdout(contains("limit 1"));
    // The manifest lists no such file.
    fs::copy(place.path("golden/1_1.png"), place.path("golden/mine.png")).unwrap();
    fs::copy(place.path("new/1_1.png"), place.path("new/mine.png")).unwrap();
    files("golden/mine.png", "new/mine.png", &profile).code(0);

    files("golden/2_2.png", "new/2_2.png", &[]).code(0);
    place.raw("new/2_2.npy", &Array2::ones((2, 3)));
    files("golden/2_2.png", "new/2_2.png", &[]).code(1).stdout(contains("6 of 6 raw values"));
    fs::remove_file(place.path("new/2_2.npy")).unwrap();
    files("golden/2_2.png", "new/2_2.png", &[]).code(1).stdout(contains("missing in NEW"));
    // A picture from elsewhere has no raw map, and needs none.
    fs::copy(place.path("new/2_2.png"), place.path("2_2.png")).unwrap();
    files("golden/2_2.png", "2_2.png", &[]).code(0);
    // Other layers and folds are no difference of these two files.
    place.manifest("new", |manifest| manifest["pictures"][1]["layer"] = json!("gelu"));
    files("golden/1_2.png", "new/2_1.png", &[]).code(0);
    files("golden/1_2.png", "new/1_2.png", &[]).code(1).stdout(contains("layer 2 was relu2"));
}

#[test]
fn a_damaged_manifest_beside_one_of_two_files_fails() {
    for side in ["golden", "new"] {
        let place = Place::new();
        let files = ["compare", "golden/1_1.png", "new/1_1.png"];
        for side in ["golden", "new"] {
            place.manifest(side, |_| {});
        }
        place.actviz(&files).assert().code(0);
        fs::write(place.path(side).join("manifest.json"), "{").unwrap();
        let said = place.actviz(&files).assert().code(1);
        said.stdout(contains(format!("manifest  {}:", side.to_uppercase())));
    }
}
