//! What the containers of pictures say of themselves: how many frames they have, where they
//! end, and what kind a file is that no decoder knows.

use super::Problem;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Frames of a GIF, PNG or WebP: 1 for a picture that does not move, and for what is none.
pub(super) fn frames(bytes: &[u8]) -> usize {
    let frames = if bytes.starts_with(b"GIF8") {
        gif_frames(bytes).unwrap_or(1)
    } else if bytes.starts_with(PNG) {
        png_frames(bytes).unwrap_or(1)
    } else if is_webp(bytes) {
        riff_chunks(bytes).filter(|kind| *kind == b"ANMF").count()
    } else {
        1
    };
    frames.max(1)
}

fn is_webp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")
}

/// GIF89a, section 12 and on: blocks of a known kind, their data in pieces of a known length.
fn gif_frames(bytes: &[u8]) -> Option<usize> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    let mut frames = 0;
    loop {
        match *bytes.get(at)? {
            b',' => {
                frames += 1;
                at += 11 + table(*bytes.get(at + 9)?);
            }
            b'!' => at += 2,
            _ => return Some(frames),
        }
        loop {
            let Some(length) = bytes.get(at) else { return Some(frames) };
            at += 1 + usize::from(*length);
            if *length == 0 {
                break;
            }
        }
    }
}

/// The number of frames that stands before the first pixels (PNG, third edition, 11.3.6.1).
fn png_frames(bytes: &[u8]) -> Option<usize> {
    let mut at = PNG.len();
    loop {
        let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
        match bytes.get(at + 4..at + 8)? {
            b"acTL" => {
                let frames = bytes.get(at + 8..at + 12)?.try_into().ok()?;
                return usize::try_from(u32::from_be_bytes(frames)).ok();
            }
            b"IDAT" => return None,
            _ => at = at.checked_add(length)?.checked_add(12)?,
        }
    }
}

fn riff_chunks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 12;
    std::iter::from_fn(move || {
        let head = bytes.get(at..at + 8)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        at += 8 + length.next_multiple_of(2);
        Some(&head[..4])
    })
}

/// Whether a file ends before it says that it does, where its decoder may not mind.
///
/// # Errors
/// If so.
pub(super) fn check(bytes: &[u8]) -> Result<(), Problem> {
    let is_cut_off = if is_webp(bytes) {
        let claimed = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        (bytes.len() as u64) < u64::from(claimed) + 8
    } else if bytes.starts_with(PNG) {
        !bytes.windows(4).rev().take(1 << 16).any(|kind| kind == b"IEND")
            && !bytes.windows(4).any(|kind| kind == b"IEND")
    } else {
        false
    };
    match is_cut_off {
        true => Err(Problem::new("the picture is cut off: its end is missing")),
        false => Ok(()),
    }
}

/// What is wrong with a file that no decoder could read.
pub(super) fn problem(bytes: &[u8], error: &image::ImageError) -> Problem {
    let convert = |kind: &str, hint: &str| {
        Problem::with_hint(format!("{kind}, which actviz does not read"), hint)
    };
    // ISO/IEC 14496-12: the brand of a file stands in its first box.
    if bytes.get(4..8) == Some(b"ftyp") {
        return match bytes.get(8..12) {
            Some(b"avif" | b"avis") => {
                convert("an AVIF picture", "convert it: magick picture.avif picture.png")
            }
            Some(b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" | b"heim" | b"heis") => {
                convert("a HEIC picture", "convert it: magick picture.heic picture.png")
            }
            _ => convert("a film or another file of its kind", "give single frames as PNG"),
        };
    }
    if bytes.get(128..132) == Some(b"DICM") {
        return convert(
            "a DICOM file",
            "with Python: numpy.save('image.npy', pydicom.dcmread('image.dcm').pixel_array), \
             scaled as the network was trained; --channels 1 if it is grey",
        );
    }
    let known: [(&[u8], &str); 8] = [
        (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"8BPS", "a Photoshop file"),
        (b"%PDF", "a PDF"),
        (b"v/1\x01", "an OpenEXR picture"),
        (b"SIMPLE  =", "a FITS file"),
    ];
    if let Some((_, kind)) = known.iter().find(|(start, _)| bytes.starts_with(start)) {
        return convert(kind, "save it as PNG, or its values as a NumPy file (.npy)");
    }
    if bytes.starts_with(b"version https://git-lfs.github.com/") {
        return Problem::with_hint(
            "a Git LFS pointer, not the picture itself",
            "git lfs pull fetches it",
        );
    }
    Problem::new(format!("not a readable picture: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_without_being_decoded() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd");
        let frames = |name: &str| frames(&std::fs::read(folder.join(name)).expect("a file"));
        let counts = ["animated.gif", "animated.webp", "interlaced.gif", "palette.png"].map(frames);
        assert_eq!(counts, [2, 2, 1, 1]);
        assert_eq!([super::frames(b""), super::frames(b"GIF89a"), super::frames(PNG)], [1, 1, 1]);
    }
}
