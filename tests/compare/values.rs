//! Values that change behind equal pixels, by what both manifests tell of them.

use super::*;

fn place() -> Place {
    let place = Place::new();
    place.manifest("golden", |_| {});
    place.manifest("new", |_| {});
    place
}

/// NEW's manifest with fields of its second picture (fold 1, layer 2) changed.
fn change(place: &Place, fields: &[(&str, f64)]) {
    place.manifest("new", |manifest| {
        for (field, value) in fields {
            manifest["pictures"][1][*field] = json!(value);
        }
    });
}

#[test]
fn a_thousandfold_value_fails_though_no_pixel_differs() {
    let place = place();
    change(&place, &[("high", 1000.0), ("mean", 500.0), ("std", 100.0)]);
    let text = "values changed: high 1 -> 1000, mean 0.5 -> 500, std 0.1 -> 100";
    for profile in ["exact", "cross-cpu", "gpu"] {
        place.compares(&["--profile", profile], 1, &["1_2.png", "range", text]);
    }
    place.compares(&["--max-abs", "9", "--max-diff-ratio", "1"], 1, &[text]);
    place.compares(&[], 1, &["3 the same, 1 with other values"]);
    place.compares(
        &["--allow", "range"],
        0,
        &["same: 4 pictures, 3 the same, 1 with other values"],
    );
    let said = place.actviz(&["compare", "golden", "new", "-q", "--github"]).assert().code(1);
    said.stdout(format!("::error title=actviz compare::1_2.png (range): {text}\n"));
}

#[test]
fn each_value_counts_by_itself() {
    for (field, value) in [
        ("low", -1.0),
        ("high", 2.0),
        ("mean", 0.6),
        ("std", 0.2),
        ("zeros", 0.3),
        ("non_finite", 1.0),
    ] {
        let place = place();
        place.manifest("new", |manifest| {
            let value = if field == "non_finite" { json!(1) } else { json!(value) };
            manifest["pictures"][1][field] = value;
        });
        place.compares(&["--profile", "cross-cpu"], 1, &[&format!("values changed: {field} ")]);
    }
}

#[test]
fn every_report_shows_other_values_as_a_kind_of_its_own() {
    let place = place();
    change(&place, &[("high", 1000.0)]);
    place.compares(&["--junit", "j.xml", "--html", "p.html"], 1, &[]);
    let junit = fs::read_to_string(place.path("j.xml")).unwrap();
    assert!(junit.contains("type=\"range\"") && junit.contains("values changed: high"), "{junit}");
    let page = fs::read_to_string(place.path("p.html")).unwrap();
    assert!(page.contains("values changed: high 1 -&gt; 1000") && page.contains(">range<"));
    let json = place.actviz(&["compare", "golden", "new", "--json"]).output().unwrap().stdout;
    let document: Value = serde_json::from_slice(&json).unwrap();
    let picture = &document["pictures"][1];
    assert_eq!((&picture["outcome"], &picture["fails"]), (&json!("range"), &json!(true)));
    assert_eq!(picture["values"], json!([{"what": "high", "golden": 1.0, "new": 1000.0}]));
    assert!(document["pictures"][0].get("values").is_none());
    let mut compare = place.actviz(&["compare", "golden", "new", "--github"]);
    compare.env("GITHUB_STEP_SUMMARY", place.path("s.md")).assert().code(1);
    let summary = fs::read_to_string(place.path("s.md")).unwrap();
    assert!(summary.contains("| 1\\_2.png | relu2 | range | values changed"), "{summary}");
}

#[test]
fn values_may_differ_by_as_much_as_the_tolerances() {
    let place = place();
    for (fields, flags, code) in [
        (&[("high", 1.00001)][..], &[][..], 1),
        (&[("high", 1.00001)], &["--profile", "cross-cpu"], 0),
        (&[("high", 1.001)], &["--profile", "cross-cpu"], 1),
        (&[("high", 1.001)], &["--rtol", "0.01"], 0),
        (&[("low", 0.001)], &["--rtol", "0.01"], 1),
        (&[("low", 0.001)], &["--atol", "0.01"], 0),
        // Of values around zero, their size counts and not that of their mean.
        (&[("mean", 0.5001)], &["--profile", "gpu"], 0),
        // As many zeros may change as pixels may.
        (&[("zeros", 0.005)], &["--profile", "cross-cpu"], 0),
        (&[("zeros", 0.02)], &["--profile", "cross-cpu"], 1),
        // Limits of pixels alone let values move within one of the 256 colours.
        (&[("mean", 0.503)], &["--max-abs", "4"], 0),
        (&[("mean", 0.505)], &["--max-abs", "4"], 1),
    ] {
        change(&place, fields);
        let said = place.actviz(&["compare", "golden", "new"]).args(flags).assert();
        let said = said.get_output();
        assert_eq!(said.status.code(), Some(code), "{fields:?} {flags:?}");
    }
}

#[test]
fn a_gain_is_found_at_the_layer_that_has_it() {
    let place = place();
    change(&place, &[]);
    // Layer 1 of fold 2 has other values in the same colours, and layer 2 other pixels.
    place.manifest("new", |manifest| {
        for (field, value) in [("high", 1.05), ("mean", 0.525), ("std", 0.105)] {
            manifest["pictures"][2][field] = json!(value);
        }
    });
    place.picture("new/2_2.png", brighter(9));
    place.compares(&[], 1, &["fold 2 begins to differ at layer 1 (relu1): RMSE 0.00, 0.29"]);
}

#[test]
fn a_scale_that_folds_share_blames_no_other_fold() {
    let place = Place::new();
    let shared = |manifest: &mut Value| manifest["options"]["scale"] = json!("folds");
    place.manifest("golden", shared);
    place.manifest("new", |manifest| {
        shared(manifest);
        for picture in [0, 2] {
            manifest["pictures"][picture]["high"] = json!(3.0);
        }
        manifest["pictures"][2]["mean"] = json!(1.5);
    });
    place.picture("new/1_1.png", brighter(90));
    place.picture("new/2_1.png", brighter(90));
    let said = place.actviz(&["compare", "golden", "new"]).assert().code(1);
    said.stdout(
        contains("fold 2 begins to differ at layer 1").and(contains("fold 1 begins").not()),
    );
}

#[test]
fn what_is_forgiven_of_a_picture_does_not_forgive_its_values() {
    let place = place();
    place.sized("new/1_2.png", 8, 8, |_, _| [0; 3]);
    place.compares(&["--allow", "size"], 0, &[]);
    change(&place, &[("high", 1000.0)]);
    place.compares(&["--allow", "size"], 1, &["values changed"]);
    place.compares(&["--allow", "size,range"], 0, &[]);
    place.picture("new/1_2.png", brighter(9));
    place.compares(&["--allow", "range"], 1, &["1 different"]);
}

#[test]
fn pictures_of_other_kinds_are_named() {
    let place = Place::new();
    for (side, name) in [("golden", "a.jpg"), ("new", "a.jpg"), ("golden", "sub/gone.webp")] {
        let file = place.path(side).join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("picture of {side}")).unwrap();
    }
    for name in ["report.html", "insights.json", ".DS_Store", "manifest.1-of-2.json"] {
        fs::write(place.path("new").join(name), "x").unwrap();
    }
    let text = "files     2 files not compared, for only pictures (.png) and raw maps (.npy) are: \
                a.jpg, sub/gone.webp\n";
    place.compares(&[], 0, &[text]);
    let json = place.actviz(&["compare", "golden", "new", "--json"]).output().unwrap().stdout;
    let document: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(document["not_compared"], json!(["a.jpg", "sub/gone.webp"]));
    for side in ["golden", "new"] {
        for name in ["1_1.png", "1_2.png", "2_1.png", "2_2.png"] {
            fs::remove_file(place.path(side).join(name)).unwrap();
        }
    }
    let said = place.actviz(&["compare", "golden", "new"]).assert().code(2);
    said.stderr(contains("no picture in common, but 2 files of other kinds, e.g. a.jpg"));
}

#[test]
fn an_interrupted_run_is_told() {
    let place = place();
    place.manifest("new", |manifest| manifest["interrupted"] = json!(true));
    place.compares(&[], 0, &["manifest  NEW is of an interrupted run"]);
}
