//! Lists of files: one a line, or with a zero byte after each.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;

/// The most entries of a list. One that is longer has no end.
const MOST_ENTRIES: usize = 2_000_000;
/// The longest entry, in bytes; systems allow 4096.
const LONGEST_ENTRY: u64 = 1 << 16;
/// The longest list in UTF-16, in bytes: it is read at once.
const LONGEST_UTF16: u64 = 256 << 20;

/// The paths of a list, one a line, as they stand. Lines end in LF or CRLF; empty ones and
/// those that begin with `# ` are left out. A byte order mark of UTF-8 is no part of the
/// first name; with one of UTF-16, as PowerShell's `>` writes it, the list is read as that.
///
/// # Errors
/// If it cannot be read, or has no end.
pub fn listed(mut list: impl BufRead) -> io::Result<Vec<PathBuf>> {
    let start = list.fill_buf()?;
    match start {
        [0xef, 0xbb, 0xbf, ..] => {
            list.consume(3);
            lines(list)
        }
        [0xff, 0xfe, ..] => lines(utf8(list, u16::from_le_bytes)?.as_bytes()),
        [0xfe, 0xff, ..] => lines(utf8(list, u16::from_be_bytes)?.as_bytes()),
        _ => lines(list),
    }
}

fn lines(list: impl BufRead) -> io::Result<Vec<PathBuf>> {
    let is_name = |line: &[u8]| !line.is_empty() && line != b"#" && !line.starts_with(b"# ");
    let strip = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    entries(list, b'\n', |entry| Some(strip(entry)).filter(|line| is_name(line)))
}

/// The paths of a list with a zero byte after each, as they stand.
///
/// # Errors
/// As [`listed`].
pub fn listed_with_zeros(list: impl BufRead) -> io::Result<Vec<PathBuf>> {
    entries(list, 0, |entry| (!entry.is_empty()).then(|| entry.to_vec()))
}

fn entries(
    mut list: impl BufRead,
    end: u8,
    name: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> io::Result<Vec<PathBuf>> {
    let endless = |what: String| io::Error::other(format!("no list of files: {what}"));
    let mut files = Vec::new();
    let mut entry = Vec::new();
    for _ in 0..=MOST_ENTRIES {
        entry.clear();
        let read = list.by_ref().take(LONGEST_ENTRY).read_until(end, &mut entry)?;
        if read == 0 {
            return Ok(files);
        }
        match entry.pop_if(|last| *last == end) {
            None if read as u64 == LONGEST_ENTRY => {
                return Err(endless(format!("a name of more than {LONGEST_ENTRY} bytes")));
            }
            _ => files.extend(name(&entry).map(path_of)),
        }
    }
    Err(endless(format!("more than {MOST_ENTRIES} names")))
}

/// The text of a list in UTF-16, its byte order mark included.
fn utf8(list: impl Read, unit: fn([u8; 2]) -> u16) -> io::Result<String> {
    let mut bytes = Vec::new();
    list.take(LONGEST_UTF16 + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_UTF16 {
        return Err(io::Error::other(format!("a list of more than {LONGEST_UTF16} bytes")));
    }
    let units = bytes.chunks_exact(2).skip(1).map(|two| unit([two[0], two[1]]));
    char::decode_utf16(units)
        .collect::<Result<String, _>>()
        .map_err(|_| io::Error::other("the list begins as UTF-16, and is none"))
}

/// File names are bytes on Unix; elsewhere a list is read as UTF-8.
#[cfg(unix)]
fn path_of(line: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(line))
}

#[cfg(not(unix))]
fn path_of(line: Vec<u8>) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[u8]) -> Vec<String> {
        let files = listed(list).expect("a list");
        files.iter().map(|file| file.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn byte_order_marks_are_no_part_of_a_name() {
        assert_eq!(names(b"\xef\xbb\xbfx.ppm\r\ny.ppm"), ["x.ppm", "y.ppm"]);
        let utf16 = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}größe.png\r\nb.png\r\n".encode_utf16().flat_map(order).collect()
        };
        for list in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
            assert_eq!(names(&list), ["größe.png", "b.png"]);
        }
    }

    #[test]
    fn comments_and_empty_lines_are_no_names() {
        let list = b"# two pictures\n\na.png\n#\n#1.png\n./# b.png\n";
        assert_eq!(names(list), ["a.png", "#1.png", "./# b.png"]);
    }

    #[test]
    fn a_list_without_end_is_an_error() {
        let zeros = io::BufReader::new(io::repeat(0));
        assert!(listed(zeros).expect_err("no end").to_string().contains("bytes"));
        for line in [b"y\n".as_slice(), b"\n"] {
            let names = io::BufReader::new(Repeated(line));
            assert!(listed(names).expect_err("no end").to_string().contains("names"));
        }
        let names = io::BufReader::new(Repeated(b"y\0"));
        assert!(listed_with_zeros(names).expect_err("no end").to_string().contains("names"));
    }

    struct Repeated(&'static [u8]);

    impl Read for Repeated {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = into.len() / self.0.len() * self.0.len();
            into[..count]
                .chunks_exact_mut(self.0.len())
                .for_each(|part| part.copy_from_slice(self.0));
            Ok(count)
        }
    }
}
