//! Whether a zip archive's directory promises what its bytes can hold.

use std::io::{self, Read, Seek, SeekFrom};

use zip::read::{ArchiveOffset, Config};
use zip::result::ZipResult;
use zip::{CompressionMethod, ZipArchive};

/// What is wrong with a directory.
#[derive(Debug)]
pub enum Problem {
    /// The archive cannot be read.
    Io(io::Error),
    /// It contradicts itself; in words.
    Damaged(String),
    /// It unpacks to this many bytes, which is more than the limit.
    TooLarge(u64),
}

/// The most entries. The largest networks have some thousands, one a weight.
const MOST_ENTRIES: u64 = 100_000;
/// Deflate cannot do better than 1032 to 1; what promises more does not keep it.
const BEST_RATIO: u64 = 1032;
/// The longest tail that can hold the end record: 22 bytes and a comment of 65,535,
/// preceded by the 20 and 56 bytes of zip64's records.
const TAIL: u64 = 22 + 65_535 + 20 + 56;

/// Opens an archive that begins where its file begins, as libtorch wants it. The crate would
/// look for a beginning: from how long the directory is, and not beyond the records of zip64
/// that libtorch writes behind every directory, it may be led to its second entry.
///
/// # Errors
/// What the crate says.
pub fn open<R: Read + Seek>(archive: R) -> ZipResult<ZipArchive<R>> {
    ZipArchive::with_config(Config { archive_offset: ArchiveOffset::Known(0) }, archive)
}

/// Checks the count of entries, their names, and their sizes against the archive's own
/// length and against `limit` bytes in all. Unpacks nothing.
///
/// # Errors
/// What is wrong.
pub fn check(mut archive: impl Read + Seek, limit: u64) -> Result<(), Problem> {
    let length = archive.seek(SeekFrom::End(0)).map_err(Problem::Io)?;
    let promised = entries(&mut archive, length).map_err(Problem::Io)?;
    if promised.is_some_and(|count| count > MOST_ENTRIES) {
        return damaged(format!("the zip archive has more than {MOST_ENTRIES} entries"));
    }
    let unreadable =
        |error| Problem::Damaged(format!("the zip archive's directory is damaged: {error}"));
    let mut archive = open(archive).map_err(unreadable)?;
    // The crate keeps one entry of each name.
    if promised != Some(archive.len() as u64) {
        return damaged("the zip archive names an entry twice, or miscounts them".to_owned());
    }
    let (mut packed, mut unpacked) = (0_u64, 0_u64);
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(unreadable)?;
        let (small, large) = (entry.compressed_size(), entry.size());
        let most = match entry.compression() {
            CompressionMethod::Stored => small,
            _ => small.saturating_mul(BEST_RATIO),
        };
        if large > most || small > length {
            let name = entry.name().unwrap_or_default().into_owned();
            return damaged(format!(
                "its entry {name:?} claims {large} bytes, which its {small} cannot hold"
            ));
        }
        packed = packed.saturating_add(small);
        unpacked = unpacked.saturating_add(large);
    }
    if packed > length {
        return damaged("the entries of the zip archive overlap".to_owned());
    }
    if unpacked > limit { Err(Problem::TooLarge(unpacked)) } else { Ok(()) }
}

fn damaged(problem: String) -> Result<(), Problem> {
    Err(Problem::Damaged(problem))
}

/// How many entries the archive says it has, duplicates included; `None` if it has no
/// end record. APPNOTE.TXT 4.3.14 and 4.3.16 of the zip format: the record at the end of
/// the directory, and its larger twin (zip64) for more than 65,534 entries.
fn entries(archive: &mut (impl Read + Seek), length: u64) -> io::Result<Option<u64>> {
    archive.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    archive.take(TAIL).read_to_end(&mut tail)?;
    archive.seek(SeekFrom::Start(0))?;
    let last = |mark: &[u8; 4]| tail.windows(4).rposition(|bytes| bytes == mark);
    let Some(end) = last(b"PK\x05\x06") else { return Ok(None) };
    let small = tail.get(end + 10..end + 12).map(little_endian);
    if small != Some(0xFFFF) {
        return Ok(small);
    }
    let large = last(b"PK\x06\x06");
    Ok(large.and_then(|at| tail.get(at + 32..at + 40)).map(little_endian))
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// An archive with these entries, each of so many zeros.
    fn archive(entries: &[(&str, usize)], method: CompressionMethod) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, size) in entries {
            writer.start_file(*name, options).expect("an entry");
            writer.write_all(&vec![0; *size]).expect("its bytes");
        }
        writer.finish().expect("an archive").into_inner()
    }

    fn stored(entries: &[(&str, usize)]) -> Vec<u8> {
        archive(entries, CompressionMethod::Stored)
    }

    /// Where the directory's entry for this name says how large it is, unpacked:
    /// APPNOTE.TXT 4.3.12.
    fn claim(bytes: &mut [u8], name: &str, size: u32) {
        let at = bytes
            .windows(name.len())
            .rposition(|window| window == name.as_bytes())
            .expect("the name in the directory")
            - 46;
        assert_eq!(&bytes[at..at + 4], b"PK\x01\x02");
        bytes[at + 24..at + 28].copy_from_slice(&size.to_le_bytes());
    }

    fn words(result: Result<(), Problem>) -> String {
        match result {
            Err(Problem::Damaged(words)) => words,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_sound_archive_passes_and_counts_against_the_limit() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let bytes = archive(&[("a", 500), ("b", 600)], method);
            assert!(check(Cursor::new(&bytes), 1100).is_ok());
            let error = check(Cursor::new(&bytes), 1099);
            assert!(matches!(error, Err(Problem::TooLarge(1100))), "{error:?}");
        }
    }

    /// Puts zip64's records between the directory and its end, as libtorch does for every
    /// archive: APPNOTE.TXT 4.3.14 and 4.3.15.
    fn with_zip64(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len() - 22;
        let field = |at: usize, length: usize| little_endian(&bytes[end + at..end + at + length]);
        let (count, size, offset) = (field(10, 2), field(12, 4), field(16, 4));
        let mut records = b"PK\x06\x06".to_vec();
        records.extend(44_u64.to_le_bytes());
        records.extend([0, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [count, count, size, offset] {
            records.extend(number.to_le_bytes());
        }
        records.extend(b"PK\x06\x07\0\0\0\0");
        records.extend((end as u64).to_le_bytes());
        records.extend(1_u32.to_le_bytes());
        assert_eq!(records.len(), 56 + 20);
        bytes.splice(end..end, records);
        bytes
    }

    #[test]
    fn an_archive_is_read_however_long_its_first_name_is() {
        // With 30 letters, the second entry stands as far behind the first as the records
        // of zip64 are long.
        for letters in 1..64 {
            let first = "n".repeat(letters);
            let bytes = with_zip64(stored(&[(&first, 5), ("b", 5), ("c", 5)]));
            let result = check(Cursor::new(&bytes), u64::MAX);
            assert!(result.is_ok(), "{letters} letters: {}", words(result));
        }
    }

    #[test]
    fn an_entry_that_claims_more_than_its_bytes_hold_is_refused() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let mut bytes = archive(&[("weights", 1000)], method);
            claim(&mut bytes, "weights", 4_000_000_000);
            let words = words(check(Cursor::new(&bytes), u64::MAX));
            assert!(words.contains("\"weights\" claims 4000000000 bytes"), "{words}");
        }
    }

    #[test]
    fn two_entries_of_one_name_are_refused() {
        let mut bytes = stored(&[("twin1", 5), ("twin2", 5)]);
        while let Some(at) = bytes.windows(5).position(|window| window == b"twin2") {
            bytes[at + 4] = b'1';
        }
        let words = words(check(Cursor::new(&bytes), u64::MAX));
        assert!(words.contains("names an entry twice"), "{words}");
    }

    #[test]
    fn a_count_that_the_directory_does_not_keep_is_refused() {
        let mut bytes = stored(&[("a", 5)]);
        let end = bytes.len() - 22;
        for at in [end + 8, end + 10] {
            bytes[at..at + 2].copy_from_slice(&60_000_u16.to_le_bytes());
        }
        assert!(matches!(check(Cursor::new(&bytes), u64::MAX), Err(Problem::Damaged(_))));
    }

    #[test]
    fn what_is_no_archive_at_all_is_refused() {
        for bytes in [&b""[..], b"PK\x05\x06", b"hello"] {
            assert!(matches!(check(Cursor::new(bytes), u64::MAX), Err(Problem::Damaged(_))));
        }
    }
}
