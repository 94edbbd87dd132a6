//! Names of strangers: they give no orders to a terminal or a CI, and stay exact for machines.

use super::*;

const FILE: &str = "::error::a\n::add-mask::\u{1b}]0;t\u{7}.png";
const SHOWN: &str = "\\u{3a}:error::a\\n::add-mask::\\u{1b}]0;t\\u{7}.png";
const LAYER: &str = "relu\n::warning::\u{9b}31m";

/// No line that CI obeys but our own, and nothing that a terminal obeys.
fn assert_plain(said: &[u8]) {
    let said = String::from_utf8(said.to_vec()).unwrap();
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
    let is_order = |line: &&str| line.trim_start().starts_with("::");
    let own = "::error title=actviz compare::";
    assert!(said.lines().filter(is_order).all(|line| line.starts_with(own)), "{said}");
}

fn place() -> Place {
    let place = Place::new();
    place.picture("new/1_1.png", brighter(9));
    place.picture(&format!("golden/{FILE}"), |_, _| [1, 2, 3]);
    place.picture("new/fox\n::notice::/9_9.png", |_, _| [1, 2, 3]);
    for side in ["golden", "new"] {
        place.manifest(side, |manifest| {
            manifest["pictures"][0]["layer"] = json!(LAYER);
            manifest["device"] = json!(format!("{side}\n::error::"));
        });
    }
    place
}

#[test]
fn a_comparison_prints_every_name_on_one_line() {
    let place = place();
    for flags in [&[][..], &["--github"]] {
        let said = place.actviz(&["compare", "golden", "new"]).args(flags).assert().code(1);
        assert_plain(&said.get_output().stdout);
        said.stdout(contains(SHOWN).and(contains("golden\\n::error:: -> new\\n::error::")));
    }
    let said = place.actviz(&["compare", "golden", "new", "--github"]).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("::\\u{3a}:error::a%0A\\u{3a}:add-mask::\\u{1b}]0;t"), "{said}");
    let json = place.actviz(&["compare", "golden", "new", "--json"]).output().unwrap().stdout;
    let document: Value = serde_json::from_slice(&json).unwrap();
    let pictures = document["pictures"].as_array().unwrap();
    assert!(pictures.iter().any(|picture| picture["file"] == FILE));
    assert!(pictures.iter().any(|picture| picture["layer"] == LAYER));
}

#[test]
fn an_acceptance_prints_every_name_on_one_line() {
    let place = place();
    // Only what a manifest lists is pruned.
    place.manifest("golden", |manifest| manifest["pictures"][3]["file"] = json!(FILE));
    let said = place.actviz(&["accept", "golden", "new", "--prune"]).assert().success();
    assert_plain(&said.get_output().stdout);
    said.stdout(contains("accept fox\\n::notice::/9_9.png").and(contains("remove \\u{3a}:error")));
}

#[test]
fn what_a_picture_says_of_itself_is_printed_on_one_line_each() {
    let place = Place::new();
    let about = json!({"::a\n::b": "x", "layer": LAYER, "folds": ["a\n::error::b"]});
    let picture = actviz::picture::Rgb::filled(2, 2, [1, 2, 3]);
    let bytes = actviz::picture::png::encode(&picture, &about.to_string()).unwrap();
    fs::write(place.path(FILE.trim_start_matches(':')), &bytes).unwrap();
    fs::write(place.path("::x\n.png"), &bytes).unwrap();
    let files = ["show", FILE.trim_start_matches(':'), "::x\n.png"];
    let said = place.actviz(&files).assert().success();
    assert_plain(&said.get_output().stdout);
    said.stdout(contains("layer          relu\\n::warning::\\u{9b}31m"));
}
