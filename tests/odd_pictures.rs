//! Pictures of every kind, and files that only look like pictures.
//!
//! What they should look like was made by PIL (fixtures/make_odd_pictures.py).
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use actviz::Error;
use actviz::bundle::{Input, ResizeRule};
use actviz::input::{self, AxisOrder, Content, DecodeLimits, Prepared, Reading};
use ndarray::Array3;

fn odd(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd").join(name)
}

/// An input of this size, so that nothing is resized.
fn input(width: usize, height: usize) -> Input {
    let (mean, std) = (vec![0.0; 3], vec![1.0; 3]);
    Input { channels: 3, width, height, mean, std, resize: ResizeRule::Stretch }
}

fn prepare(file: &Path, input: &Input) -> Result<Prepared, Error> {
    input::prepare(file, None, input, &Reading::default())
}

fn prepare_within(file: &Path, input: &Input, limits: DecodeLimits) -> Result<Prepared, Error> {
    input::prepare(file, None, input, &Reading { limits, ..Reading::default() })
}

/// The largest difference to PIL's picture, in values of 0 to 255.
fn difference(name: &str) -> u8 {
    let expected: Array3<u8> = ndarray_npy::read_npy(odd(&format!("{name}.npy"))).unwrap();
    let (height, width, _) = expected.dim();
    let found = match prepare(&odd(name), &input(width, height)).unwrap().content {
        Content::Rgb(pixels) => pixels,
        Content::Values(_) => Vec::new(),
    };
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
        "rgb.ppm",
        "gray.pgm",
        "bilevel.pbm",
        "palette.tif",
        "bilevel.tif",
        "lzw.tif",
        "big.tif",
        "four_bits.tif",
        "planar.tif",
        "exif_prefix.webp",
    ] {
        assert_eq!(difference(name), 0, "{name}");
    }
}

#[test]
fn what_is_rounded_is_at_most_one_value_off() {
    for name in
        ["alpha.png", "gray_alpha.png", "gray_alpha.tif", "deep.png", "deep.tif", "cmyk.tif"]
    {
        assert!(difference(name) <= 1, "{name}: {}", difference(name));
    }
}

#[test]
fn jpegs_are_turned_upright_and_read_as_pil_reads_them_but_for_rounding() {
    for turn in 1..=8 {
        let name = format!("exif_{turn}.jpg");
        assert!(difference(&name) <= 3, "{name}: {}", difference(&name));
    }
    for name in ["cmyk.jpg", "gray.jpg", "jpeg.tif"] {
        assert!(difference(name) <= 3, "{name}: {}", difference(name));
    }
}

fn refused(file: &Path, limits: DecodeLimits) -> String {
    prepare_within(file, &input(8, 8), limits).expect_err("no picture").to_string()
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
    let words = refused(&bomb(place.path(), 60_000, 60_000), DecodeLimits::default());
    assert!(words.contains("60000 x 60000") && words.contains("--max-image-pixels"), "{words}");
}

#[test]
fn a_picture_without_pixels_is_told_as_such_whatever_its_kind() {
    let place = tempfile::tempdir().unwrap();
    let bmp = [b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".as_slice(), &[0; 36]].concat();
    let gif = [b"GIF89a".as_slice(), &[0; 7], b";"].concat();
    for (name, bytes) in [("none.bmp", bmp), ("none.gif", gif)] {
        fs::write(place.path().join(name), bytes).unwrap();
        let words = refused(&place.path().join(name), DecodeLimits::default());
        assert!(words.ends_with("the picture has no pixels"), "{words}");
    }
    for (width, height) in [(0, 0), (0, 5), (5, 0)] {
        let words = refused(&bomb(place.path(), width, height), DecodeLimits::default());
        assert!(words.ends_with("the picture has no pixels"), "{words}");
    }
}

#[test]
fn the_limits_are_the_user_s() {
    let (width, height) = (24, 16);
    let exactly = DecodeLimits { pixels: width * height, ..DecodeLimits::default() };
    assert!(prepare_within(&odd("plain.bmp"), &input(8, 8), exactly).is_ok());
    let fewer = DecodeLimits { pixels: width * height - 1, ..exactly };
    assert!(refused(&odd("plain.bmp"), fewer).contains("--max-image-pixels"));
    let length = fs::metadata(odd("plain.bmp")).unwrap().len();
    let shorter = DecodeLimits { bytes: length - 1, ..exactly };
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
            if let Err(error) = prepare(&file, &input(8, 8)) {
                assert!(error.to_string().contains(name), "{error}");
                refusals += 1;
            }
        }
        assert!(refusals > 0, "{name}: nothing was missed");
    }
}

/// Each file, spoilt or cut off anywhere, gives what it gave before or an error: nothing is
/// made up.
#[test]
fn what_is_missing_is_not_made_up() {
    let place = tempfile::tempdir().unwrap();
    for name in ["plain.bmp", "rgb.ppm", "palette.tif", "animated.webp", "interlaced.gif"] {
        let whole = fs::read(odd(name)).unwrap();
        let file = place.path().join(name);
        let content = prepare(&odd(name), &input(24, 16)).unwrap().content;
        for length in 1..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            if let Ok(found) = prepare(&file, &input(24, 16)) {
                assert_eq!(found.content, content, "{name}: cut off after {length}");
            }
        }
    }
    for name in ["palette.png", "alpha.png"] {
        let whole = fs::read(odd(name)).unwrap();
        let file = place.path().join(name);
        let content = prepare(&odd(name), &input(24, 16)).unwrap().content;
        for at in 8..whole.len() {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 0x55;
            fs::write(&file, &spoilt).unwrap();
            if let Ok(found) = prepare(&file, &input(24, 16)) {
                assert_eq!(found.content, content, "{name}: spoilt at {at}");
            }
        }
    }
}

#[test]
fn a_jpeg_with_damaged_data_is_an_error_and_not_half_grey() {
    let words = refused(&odd("damaged.jpg"), DecodeLimits::default());
    assert!(words.contains("damaged"), "{words}");
    // The same in a TIFF: an end in the middle of the data.
    let place = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(odd("jpeg_tall.tif")).unwrap();
    let scan = bytes.windows(2).position(|two| two == [0xff, 0xda]).unwrap();
    bytes[scan + 40..scan + 42].copy_from_slice(&[0xff, 0xd9]);
    let file = place.path().join("jpeg.tif");
    fs::write(&file, bytes).unwrap();
    let words = refused(&file, DecodeLimits::default());
    assert!(words.contains("damaged"), "{words}");
}

#[test]
fn a_kind_that_is_not_read_is_named_with_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let lab = prepare(&odd("lab.tif"), &input(24, 16)).expect_err("no RGB");
    assert!(lab.to_string().contains("CIE L*a*b*"), "{lab}");
    assert!(lab.hint().unwrap().contains("PNG"));
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM");
    let kinds: [(&[u8], &str, &str); 4] = [
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF", "magick"),
        (b"\0\0\0\x20ftypheic\0\0\0\0", "HEIC", "magick"),
        (&dicom, "DICOM", "pydicom"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
    ];
    for (bytes, kind, hint) in kinds {
        let file = place.path().join("x");
        fs::write(&file, bytes).unwrap();
        let error = prepare(&file, &input(8, 8)).expect_err("not read");
        assert!(error.to_string().contains(kind), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error}");
    }
}

/// The bands of make_odd_pictures.py: channels, height, width.
fn bands() -> Vec<f32> {
    (0..4 * 3 * 5).map(|value| value as f32 / 7.0 - 3.0).collect()
}

fn of_channels(channels: usize, width: usize, height: usize) -> Input {
    let (mean, std) = (vec![0.0; channels], vec![1.0; channels]);
    Input { channels, width, height, mean, std, resize: ResizeRule::Stretch }
}

fn values(name: &str, input: &Input, reading: &Reading) -> Vec<f32> {
    match input::prepare(&odd(name), None, input, reading).unwrap().content {
        Content::Values(values) => values,
        Content::Rgb(_) => Vec::new(),
    }
}

#[test]
fn arrays_are_fed_to_the_network_as_they_are() {
    let input = of_channels(4, 5, 3);
    for name in ["bands_chw.npy", "bands_hwc_f64.npy", "bands.npz"] {
        assert_eq!(values(name, &input, &Reading::default()), bands(), "{name}");
    }
    let rounded = values("bands_f16.npy", &input, &Reading::default());
    assert!(rounded.iter().zip(bands()).all(|(a, b)| (a - b).abs() < 3e-3));
    let reading = Reading { mean: vec![1.0], std: vec![1.0, 2.0, 4.0, 8.0], ..Reading::default() };
    let found = values("bands_chw.npy", &input, &reading);
    assert_eq!(found[..15], bands().iter().map(|v| v - 1.0).collect::<Vec<_>>()[..15]);
    assert_eq!(found[59], (bands()[59] - 1.0) / 8.0);
}

#[test]
fn where_the_channels_stand_is_asked_if_it_cannot_be_told() {
    let input = of_channels(4, 4, 3);
    let error = prepare(&odd("square.npy"), &input).expect_err("two ways");
    assert!(error.hint().unwrap().contains("--layout"), "{error}");
    let read = |layout, input: &Input| {
        values("square.npy", input, &Reading { layout: Some(layout), ..Reading::default() })
    };
    let first = read(AxisOrder::Chw, &input);
    assert_eq!((first[1], first[12]), (1.0, 12.0));
    let last = read(AxisOrder::Hwc, &of_channels(4, 3, 4));
    assert_eq!((last[1], last[12]), (4.0, 1.0));
}

#[test]
fn tiffs_of_other_values_and_of_several_pages_are_channels() {
    assert_eq!(values("float.tif", &of_channels(1, 5, 3), &Reading::default()), bands()[..15]);
    let found = values("pages.tif", &of_channels(4, 5, 3), &Reading::default());
    let expected = bands().into_iter().map(|value| (value * 700.0 + 3000.0).trunc());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1.0), "{found:?}");
}

#[test]
fn channels_that_the_network_does_not_take_are_an_error_with_a_hint() {
    for (name, channels) in [("plain.bmp", 2), ("bands_chw.npy", 3), ("float.tif", 3)] {
        let error = prepare(&odd(name), &of_channels(channels, 5, 3)).expect_err(name);
        assert!(error.to_string().contains("the network takes"), "{error}");
        assert!(error.hint().unwrap().contains("--channels"), "{error}");
    }
    let rgba = prepare(&odd("alpha.png"), &of_channels(4, 24, 16)).unwrap();
    assert!(matches!(rgba.content, Content::Values(values) if values.len() == 4 * 24 * 16));
}

#[test]
fn frames_and_pages_are_images_of_their_own() {
    let frame = |name: &str, frame| {
        input::prepare(&odd(name), Some(frame), &input(24, 16), &Reading::default())
    };
    for name in ["animated.gif", "animated.webp"] {
        let first = prepare(&odd(name), &input(24, 16)).unwrap();
        assert_eq!(first.frames, 2, "{name}");
        assert_eq!(frame(name, 1).unwrap().content, first.content, "{name}");
        // The second one is black.
        let second = frame(name, 2).unwrap().content.to_bytes();
        assert!(second.iter().all(|value| *value == 0), "{name}");
        let error = frame(name, 3).expect_err("two frames");
        assert!(error.to_string().contains("has 2"), "{error}");
    }
    assert_eq!(input::count_frames(&odd("pages.tif"), DecodeLimits::default()), 4);
    assert_ne!(frame("pages.tif", 1).unwrap().content, frame("pages.tif", 4).unwrap().content);
}

#[cfg(unix)]
#[test]
fn a_pipe_that_nobody_writes_to_is_not_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("pipe.png");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert!(refused(&pipe, DecodeLimits::default()).contains("not a file"));
    assert!(actviz::digest::of_file(&pipe).is_err());
}

#[test]
fn what_is_no_file_is_not_read() {
    let place = tempfile::tempdir().unwrap();
    assert!(refused(place.path(), DecodeLimits::default()).contains("not a file"));
    #[cfg(unix)]
    assert!(refused(Path::new("/dev/zero"), DecodeLimits::default()).contains("not a file"));
}

#[test]
fn a_text_with_the_name_of_a_picture_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("x.png");
    fs::File::create(&file).unwrap().write_all(b"hello").unwrap();
    assert!(refused(&file, DecodeLimits::default()).contains("not a readable picture"));
}
