//! The weights in a TorchScript file, unpacked on all cores.
//!
//! libtorch unpacks one record after the other, which takes longer than all else that it
//! does to load a network.

use std::collections::HashMap;

use actviz_core::archive::{damaged, open};
use actviz_core::error::Error;
use actviz_core::model_file::ModelFile;
use libdeflater::Decompressor;
use rayon::prelude::*;
use zip::CompressionMethod;

/// Where the records of a file are, by their names within the archive ("data/0").
pub struct Records {
    file: ModelFile,
    entries: HashMap<String, Entry>,
}

struct Entry {
    start: u64,
    packed: usize,
    unpacked: usize,
    method: CompressionMethod,
    crc32: u32,
}

impl Records {
    /// Reads the directory of `file`, which must have passed
    /// [`actviz_core::archive::check_size`].
    ///
    /// # Errors
    /// [`Error::NotTorchScript`] if it is damaged.
    pub fn of(file: &ModelFile) -> Result<Records, Error> {
        let damaged = |error: zip::result::ZipError| damaged(file.path(), &error.to_string());
        let mut archive = open(file.reader()).map_err(damaged)?;
        let mut entries = HashMap::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(damaged)?;
            let name = entry.name().map_err(damaged)?.into_owned();
            // Each name begins with the archive's own.
            let Some((_, name)) = name.split_once('/') else { continue };
            let Some(start) = entry.data_start() else { continue };
            let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            entries.insert(
                name.to_owned(),
                Entry {
                    start,
                    packed: size(entry.compressed_size()),
                    unpacked: size(entry.size()),
                    method: entry.compression(),
                    crc32: entry.crc32(),
                },
            );
        }
        Ok(Records { file: file.clone(), entries })
    }

    /// Unpacks the named records, each into its place, and compares their checksums.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotTorchScript`] if a record is not there, does not fill its
    /// place, or is damaged.
    pub fn unpack(&self, mut wanted: Vec<(&str, &mut [u8])>) -> Result<(), Error> {
        // The largest first, or one of them would be left for the end.
        wanted.sort_by_key(|(_, place)| std::cmp::Reverse(place.len()));
        wanted
            .into_par_iter()
            .with_max_len(1)
            .try_for_each_init(Decompressor::new, |decompressor, (name, place)| {
                self.unpack_one(name, place, decompressor)
            })
    }

    fn unpack_one(
        &self,
        name: &str,
        place: &mut [u8],
        decompressor: &mut Decompressor,
    ) -> Result<(), Error> {
        let bad = |what: &str| damaged(self.file.path(), &format!("its {name} {what}"));
        let entry = self.entries.get(name).ok_or_else(|| bad("is not there"))?;
        if entry.unpacked != place.len() {
            return Err(bad("has another size than its directory says"));
        }
        match entry.method {
            CompressionMethod::Stored => self.file.read_exact_at(place, entry.start)?,
            CompressionMethod::Deflated => {
                let mut packed = vec![0; entry.packed];
                self.file.read_exact_at(&mut packed, entry.start)?;
                let filled = decompressor.deflate_decompress(&packed, place);
                if filled.ok() != Some(place.len()) {
                    return Err(bad("cannot be unpacked"));
                }
            }
            other => return Err(bad(&format!("is packed as {other}, which is not known here"))),
        }
        if crc32fast::hash(place) == entry.crc32 { Ok(()) } else { Err(bad("is damaged")) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const WEIGHTS: [u8; 400] = [7; 400];

    /// An archive of one record in a folder of its own.
    fn archive(method: CompressionMethod) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("net.pt");
        let mut writer = ZipWriter::new(File::create(&file).expect("a file"));
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file("net/data/0", options).expect("an entry");
        writer.write_all(&WEIGHTS).expect("its bytes");
        writer.finish().expect("an archive");
        (place, file)
    }

    fn unpack(file: &Path, name: &str, size: usize) -> Result<Vec<u8>, Error> {
        let mut place = vec![0; size];
        Records::of(&ModelFile::open(file)?)?.unpack(vec![(name, &mut place)])?;
        Ok(place)
    }

    fn problem(file: &Path, name: &str, size: usize) -> String {
        unpack(file, name, size).expect_err("no such record").to_string()
    }

    #[test]
    fn stored_and_deflated_records_come_out_whole() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let (_place, file) = archive(method);
            assert_eq!(unpack(&file, "data/0", 400).expect("unpacked"), WEIGHTS);
        }
    }

    #[test]
    fn a_record_that_is_not_there_or_of_another_size_is_an_error() {
        let (_place, file) = archive(CompressionMethod::Stored);
        assert!(problem(&file, "data/1", 400).contains("data/1 is not there"));
        assert!(problem(&file, "data/0", 399).contains("another size"));
    }

    #[test]
    fn a_changed_byte_is_found() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let (_place, file) = archive(method);
            let mut bytes = std::fs::read(&file).expect("the archive");
            let start = 30 + "net/data/0".len();
            bytes[start + 2] ^= 1;
            std::fs::write(&file, bytes).expect("written");
            let problem = problem(&file, "data/0", 400);
            assert!(problem.contains("damaged") || problem.contains("unpacked"), "{problem}");
        }
    }
}
