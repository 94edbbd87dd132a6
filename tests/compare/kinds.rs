//! Files of other kinds than `actviz render` writes.

use super::*;

#[cfg(unix)]
#[test]
fn what_is_no_file_is_unreadable_at_once() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    for name in ["golden/1_1.png", "new/1_1.png", "new/2_1.png"] {
        fs::remove_file(place.path(name)).unwrap();
    }
    pipe(&place.path("golden/1_1.png"));
    pipe(&place.path("new/1_1.png"));
    pipe(&place.path("new/2_2.npy"));
    place.raw("golden/2_2.npy", &Array2::zeros((2, 3)));
    let _socket = std::os::unix::net::UnixListener::bind(place.path("new/2_1.png")).unwrap();
    fs::rename(place.path("new/1_2.png"), place.path("kept.png")).unwrap();
    symlink(place.path("kept.png"), place.path("new/1_2.png")).unwrap();
    let mut compare = place.actviz(&["compare", "golden", "new"]);
    compare.args(["--html", "page.html", "--diff-dir", "diff"]);
    let said = compare.assert().code(1);
    let texts = "the file in GOLDEN cannot be read: it is a pipe";
    said.stdout(contains(texts).and(contains("1 the same, 1 different, 2 unreadable")));
    pipe(&place.path("new/manifest.json"));
    let mut compare = place.actviz(&["compare", "golden", "new"]);
    let said = compare.assert().code(1);
    said.stdout(contains("manifest  NEW: cannot read"));
    fs::remove_file(place.path("new/manifest.json")).unwrap();
    let file = ["compare", "golden/1_1.png", "new/1_2.png"];
    place.actviz(&file).assert().code(1);
}

#[cfg(unix)]
#[test]
fn a_summary_is_not_written_into_a_pipe_that_nobody_reads() {
    let place = Place::new();
    pipe(&place.path("summary"));
    let mut compare = place.actviz(&["compare", "golden", "new", "--github"]);
    let said = compare.env("GITHUB_STEP_SUMMARY", place.path("summary")).assert().code(2);
    said.stderr(contains("it is a pipe: a summary is added to a regular file"));
}

#[test]
fn pictures_in_capital_letters_are_pictures() {
    let place = Place::new();
    for side in ["golden", "new"] {
        let from = place.path(side).join("1_1.png");
        fs::rename(from, place.path(side).join("1_1.PNG")).unwrap();
        place.raw(&format!("{side}/1_1.npy"), &Array2::zeros((2, 3)));
    }
    place.compares(&[], 0, &["4 pictures, 4 the same"]);
    // Its raw map is the one of its name.
    place.raw("new/1_1.npy", &Array2::ones((2, 3)));
    place.compares(&[], 1, &["1_1.PNG", "6 of 6 raw values"]);
    fs::remove_file(place.path("new/1_1.PNG")).unwrap();
    place.compares(&[], 1, &["1_1.PNG", "it is missing in NEW"]);
    place.picture("p.png", brighter(9));
    fs::rename(place.path("p.png"), place.path("new/1_1.PNG")).unwrap();
    place.actviz(&["accept", "golden", "new"]).assert().success();
    place.compares(&[], 0, &["4 the same"]);
}

/// A `.npy` file of this type and shape.
fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy_of(&format!("'{kind}'"), shape, data)
}

/// The same, with its type as Python writes it.
fn npy_of(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let words = format!("{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (words.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], words.as_bytes(), data].concat()
}

#[test]
fn raw_maps_of_integers_are_compared_and_other_types_are_named() {
    let place = Place::new();
    let write = |side: &str, bytes: &[u8]| {
        fs::write(place.path(side).join("1_1.npy"), bytes).unwrap();
    };
    for (kind, one, other) in [
        ("<i4", &[1, 0, 0, 0][..], &[2, 0, 0, 0][..]),
        (">u2", &[0, 1], &[0, 2]),
        ("<i8", &[1, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 0]),
        ("|u1", &[1], &[2]),
        ("|b1", &[0], &[1]),
        (">f4", &[0x3f, 0x80, 0, 0], &[0x40, 0, 0, 0]),
        ("<f8", &1.0f64.to_le_bytes(), &2.0f64.to_le_bytes()),
    ] {
        write("golden", &npy(kind, "(1,)", one));
        write("new", &npy(kind, "(1,)", one));
        place.compares(&[], 0, &["4 the same"]);
        write("new", &npy(kind, "(1,)", other));
        place.compares(&[], 1, &["1 of 1 raw value", "1.000e0"]);
    }
    write("golden", &npy("<u8", "(1,)", &u64::MAX.to_le_bytes()));
    place.compares(&[], 1, &["its type is <u8, and it holds integers beyond 2^53"]);
    for kind in ["<f2", "<c8", "|S4"] {
        write("golden", &npy(kind, "()", &[0; 32][..size(kind)]));
        place.compares(&[], 1, &["raw map in GOLDEN cannot be read", kind]);
    }
}

fn size(kind: &str) -> usize {
    kind[2..].parse().unwrap()
}

#[test]
fn a_raw_map_that_claims_more_than_it_holds_is_unreadable() {
    let place = Place::new();
    let claims = npy("<f4", "(1000000, 1000000, 10)", &[0; 16]);
    for side in ["golden", "new"] {
        fs::write(place.path(side).join("1_1.npy"), &claims).unwrap();
    }
    place.compares(&[], 1, &["raw map in GOLDEN cannot be read: its shape is"]);
}

#[test]
fn a_difference_without_a_size_is_told_without_one() {
    let place = Place::new();
    let values = Array2::from_elem((2, 3), 1.0f32);
    place.raw("golden/1_1.npy", &values);
    let mut nan = values.clone();
    nan[[0, 1]] = f32::NAN;
    place.raw("new/1_1.npy", &nan);
    for _ in 0..2 {
        let said = place.actviz(&["compare", "golden", "new"]).assert().code(1);
        said.stdout(contains("fold 1 begins").and(contains("e0").not()));
        place.raw("new/1_1.npy", &Array2::ones((3, 3)));
    }
    place.raw("new/1_1.npy", &nan);
    place.compares(&[], 1, &["1 of 6 raw values is NaN or infinite on one side"]);
}

#[test]
fn differences_beyond_all_numbers_are_numbers_in_json() {
    let place = Place::new();
    for (golden, new) in [(1.7e308, -1.7e308), (5e-324, 1e300)] {
        for (side, value) in [("golden", golden), ("new", new)] {
            let value: f64 = value;
            let file = place.path(side).join("1_1.npy");
            fs::write(file, npy("<f8", "(1,)", &value.to_le_bytes())).unwrap();
        }
        let json = place.actviz(&["compare", "golden", "new", "--json"]).output().unwrap().stdout;
        let document: Value = serde_json::from_slice(&json).unwrap();
        for field in ["largest", "relative"] {
            assert!(document["pictures"][0]["raw"][field].is_f64(), "{document}");
        }
        assert!(document["divergence"][0]["growth"][0]["raw"].is_f64(), "{document}");
    }
    let (golden, new) = (1.7e308f64.to_le_bytes(), (-1.7e308f64).to_le_bytes());
    fs::write(place.path("golden/1_1.npy"), npy("<f8", "(1,)", &golden)).unwrap();
    fs::write(place.path("new/1_1.npy"), npy("<f8", "(1,)", &new)).unwrap();
    place.compares(&[], 1, &["the largest difference is 1.798e308 or more"]);
}

#[test]
fn raw_maps_of_types_that_are_no_numbers_are_named_by_their_type() {
    let place = Place::new();
    for (kind, name) in [
        ("'<U5'", "<U5"),
        ("'<M8[ns]'", "<M8[ns]"),
        ("'|O'", "|O"),
        ("'|V7'", "|V7"),
        ("[('a', '<f4'), ('b', '|S3', (2,))]", "[('a', '<f4'), ('b', '|S3', (2,))]"),
    ] {
        for side in ["golden", "new"] {
            let bytes = npy_of(kind, "(2,)", &[0; 40]);
            fs::write(place.path(side).join("1_1.npy"), bytes).unwrap();
        }
        place.compares(&[], 1, &[&format!("cannot be read: its type is {name}: floats of")]);
    }
}

#[test]
fn the_page_s_filter_names_the_layers() {
    let place = Place::new();
    for side in ["golden", "new"] {
        place.manifest(side, |manifest| manifest["pictures"][1]["layer"] = json!("a<b>"));
    }
    place.picture("new/1_1.png", brighter(9));
    place.picture("new/1_2.png", brighter(9));
    place.compares(&["--html", "page.html"], 1, &[]);
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    for option in
        ["<option value=\"1\">1 relu1</option>", "<option value=\"2\">2 a&lt;b&gt;</option>"]
    {
        assert!(page.contains(option), "{option}");
    }
}

/// A PNG that claims so many white pixels, each row packed to nearly nothing.
fn claiming(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![0xff; side.div_ceil(8) as usize * side as usize]).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn a_picture_that_claims_too_many_pixels_is_unreadable_everywhere() {
    let place = Place::new();
    let bomb = claiming(15_000);
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let text = "15000 x 15000 pixels, more than the limit of 200000000";
    for side in ["golden", "new"] {
        fs::write(place.path(side).join("1_1.png"), &bomb).unwrap();
        place.compares(&["--html", "p.html", "--diff-dir", "diff"], 1, &["unreadable", text]);
    }
    fs::write(place.path("golden/1_1.png"), "other").unwrap();
    let accept = place.actviz(&["accept", "golden", "new"]).assert().code(2);
    accept.stderr(contains("1_1.png").and(contains(text)));
    place.manifest("new", |_| {});
    place.actviz(&["report", "new"]).assert().code(1).stderr(contains("1 picture damaged"));
}

#[test]
fn a_text_that_unpacks_to_too_much_is_not_shown() {
    let place = Place::new();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder.set_color(png::ColorType::Grayscale);
    let mut text = png::text_metadata::ITXtChunk::new("actviz", " ".repeat(300 << 20));
    text.compressed = true;
    let mut writer = encoder.write_header().unwrap();
    writer.write_text_chunk(&text).unwrap();
    writer.write_image_data(&[0]).unwrap();
    writer.finish().unwrap();
    fs::write(place.path("bomb.png"), bytes).unwrap();
    let said = place.actviz(&["show", "bomb.png"]).assert().code(2);
    said.stderr(contains("bomb.png: its text has more than 4 MiB"));
}
