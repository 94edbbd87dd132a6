//! Pictures of every kind, and files that only look like pictures.
//!
//! What they should look like was made by PIL (fixtures/make_odd_pictures.py).
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use actviz::bundle::{Input, ResizeRule};
use actviz::input::{self, Limits};
use ndarray::Array3;

fn odd(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd").join(name)
}

/// An input of this size, so that nothing is resized.
fn input(width: usize, height: usize) -> Input {
    let (mean, std) = (vec![0.0; 3], vec![1.0; 3]);
    Input { channels: 3, width, height, mean, std, resize: ResizeRule::Stretch }
}

/// The largest difference to PIL's picture, in values of 0 to 255.
fn difference(name: &str) -> u8 {
    let expected: Array3<u8> = ndarray_npy::read_npy(odd(&format!("{name}.npy"))).unwrap();
    let (height, width, _) = expected.dim();
    let found = input::prepare(&odd(name), &input(width, height)).unwrap().pixels;
    assert_eq!(found.len(), expected.len(), "{name}");
    found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn pictures_that_lose_nothing_are_read_as_pil_reads_them() {
    for name in [
        "palette.png",
        "palette_clear.png",
        "bilevel.png",
        "animated.gif",
        "animated.webp",
        "interlaced.gif",
        "one_pixel.png",
        "long.png",
        "tall.png",
        "plain.bmp",
    ] {
        assert_eq!(difference(name), 0, "{name}");
    }
}

#[test]
fn what_is_rounded_is_at_most_one_value_off() {
    for name in ["alpha.png", "gray_alpha.png", "deep.png", "deep.tif"] {
        assert!(difference(name) <= 1, "{name}: {}", difference(name));
    }
}

#[test]
fn jpegs_are_turned_upright_and_read_as_pil_reads_them_but_for_rounding() {
    for turn in 1..=8 {
        let name = format!("exif_{turn}.jpg");
        assert!(difference(&name) <= 3, "{name}: {}", difference(&name));
    }
    for name in ["cmyk.jpg", "gray.jpg"] {
        assert!(difference(name) <= 3, "{name}: {}", difference(name));
    }
}

fn refused(file: &Path, limits: Limits) -> String {
    input::prepare_within(file, &input(8, 8), limits).expect_err("no picture").to_string()
}

/// A PNG of a few bytes that claims to be this large: PNG specification, 5.3 and 11.2.2.
fn bomb(folder: &Path, width: u32, height: u32) -> PathBuf {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        let content = [kind, data].concat();
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(&content);
        bytes.extend(crc32(&content).to_be_bytes());
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[size.as_slice(), &[8, 2, 0, 0, 0]].concat());
    chunk(b"IDAT", b"\x78\x9c\x03\x00\x00\x00\x00\x01");
    chunk(b"IEND", b"");
    let file = folder.join("bomb.png");
    fs::write(&file, bytes).unwrap();
    file
}

/// PNG specification, annex D.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    })
}

#[test]
fn a_file_that_claims_billions_of_pixels_is_refused_before_it_is_decoded() {
    let place = tempfile::tempdir().unwrap();
    let words = refused(&bomb(place.path(), 60_000, 60_000), Limits::default());
    assert!(words.contains("60000 x 60000") && words.contains("--max-image-pixels"), "{words}");
}

#[test]
fn a_picture_without_pixels_is_told_as_such_whatever_its_kind() {
    let place = tempfile::tempdir().unwrap();
    let bmp = [b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".as_slice(), &[0; 36]].concat();
    let gif = [b"GIF89a".as_slice(), &[0; 7], b";"].concat();
    for (name, bytes) in [("none.bmp", bmp), ("none.gif", gif)] {
        fs::write(place.path().join(name), bytes).unwrap();
        let words = refused(&place.path().join(name), Limits::default());
        assert!(words.ends_with("the picture has no pixels"), "{words}");
    }
    for (width, height) in [(0, 0), (0, 5), (5, 0)] {
        let words = refused(&bomb(place.path(), width, height), Limits::default());
        assert!(words.ends_with("the picture has no pixels"), "{words}");
    }
}

#[test]
fn the_limits_are_the_user_s() {
    let (width, height) = (24, 16);
    let exactly = Limits { pixels: width * height, ..Limits::default() };
    assert!(input::prepare_within(&odd("plain.bmp"), &input(8, 8), exactly).is_ok());
    let fewer = Limits { pixels: width * height - 1, ..exactly };
    assert!(refused(&odd("plain.bmp"), fewer).contains("--max-image-pixels"));
    let length = fs::metadata(odd("plain.bmp")).unwrap().len();
    let shorter = Limits { bytes: length - 1, ..exactly };
    assert!(refused(&odd("plain.bmp"), shorter).contains("--max-image-size"));
}

/// Cut off after each 1/64: an error or the part that is there, as the format allows;
/// never a panic.
#[test]
fn pictures_that_are_cut_off_are_no_reason_to_panic() {
    let place = tempfile::tempdir().unwrap();
    for name in ["exif_6.jpg", "palette.png", "animated.gif", "animated.webp", "deep.tif"] {
        let whole = fs::read(odd(name)).unwrap();
        let mut refusals = 0;
        for part in 0..64 {
            let file = place.path().join(name);
            fs::write(&file, &whole[..whole.len() * part / 64]).unwrap();
            if let Err(error) = input::prepare(&file, &input(8, 8)) {
                assert!(error.to_string().contains(name), "{error}");
                refusals += 1;
            }
        }
        assert!(refusals > 0, "{name}: nothing was missed");
    }
}

#[test]
fn what_is_no_file_is_not_read() {
    let place = tempfile::tempdir().unwrap();
    assert!(refused(place.path(), Limits::default()).contains("not a file"));
    #[cfg(unix)]
    assert!(refused(Path::new("/dev/zero"), Limits::default()).contains("not a file"));
}

#[test]
fn a_text_with_the_name_of_a_picture_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("x.png");
    fs::File::create(&file).unwrap().write_all(b"hello").unwrap();
    assert!(refused(&file, Limits::default()).contains("not a readable picture"));
}
