//! The weights in a TorchScript file, unpacked on all cores.
//!
//! libtorch unpacks one record after the other, which takes longer than all else that it
//! does to load a network.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use libdeflater::Decompressor;
use rayon::prelude::*;
use zip::CompressionMethod;

use super::directory::open;
use super::pickle;
use crate::digest;
use crate::error::Error;

/// Where the records of a file are, by their names within the archive ("data/0").
pub struct Records {
    file: PathBuf,
    entries: HashMap<String, Entry>,
}

/// All of a file but its weights' values: files of one program differ in nothing else that
/// matters. The folds of a cross-validation are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(String);

struct Entry {
    start: u64,
    packed: usize,
    unpacked: usize,
    method: CompressionMethod,
    crc32: u32,
}

impl Records {
    /// Reads the directory of `file`, which must have passed [`super::check_size`].
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::NotTorchScript`].
    pub fn of(file: &Path) -> Result<Records, Error> {
        let handle = File::open(file).map_err(Error::io("read", file))?;
        let damaged = |error: zip::result::ZipError| damaged(file, &error.to_string());
        let mut archive = open(handle).map_err(damaged)?;
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
        Ok(Records { file: file.to_owned(), entries })
    }

    /// Compares the checksums of all but the weights: of the code, and of what says which
    /// weight is where. What that says is compared with the records.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotTorchScript`] if one is damaged, or a tensor does not lie within
    /// its record.
    pub fn check_code(&self) -> Result<Program, Error> {
        let (tensors, code): (Vec<_>, Vec<_>) =
            self.entries.iter().partition(|(name, _)| is_weight(name) || is_constant(name));
        let mut places: Vec<(&str, Vec<u8>)> =
            code.iter().map(|(name, entry)| (name.as_str(), vec![0; entry.unpacked])).collect();
        self.unpack(
            places.iter_mut().map(|(name, place)| (*name, place.as_mut_slice())).collect(),
        )?;
        for (name, bytes) in &places {
            if let Some(archive) = name.strip_suffix(".pkl").filter(|_| is_read(name)) {
                let size_of = |record: &str| {
                    self.entries.get(&format!("{archive}/{record}")).map(|entry| entry.unpacked)
                };
                pickle::check(bytes, size_of)
                    .map_err(|problem| damaged(&self.file, &format!("its {name} {problem}")))?;
            }
        }
        let tensors = tensors.into_iter().map(|(name, entry)| {
            let values = if is_weight(name) { 0 } else { entry.crc32 };
            format!("{name} {} {values:x}", entry.unpacked)
        });
        let code = places.iter().filter(|(name, _)| is_meant(name));
        let code = code.map(|(name, text)| format!("{name} {}", digest::of_bytes(&in_order(text))));
        let mut lines: Vec<String> = tensors.chain(code).collect();
        lines.sort();
        Ok(Program(digest::of_bytes(lines.join("\n").as_bytes())))
    }

    /// Unpacks the named records, each into its place, and compares their checksums.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotTorchScript`] if a record is not there, does not fill its
    /// place, or is damaged.
    pub fn unpack(&self, mut wanted: Vec<(&str, &mut [u8])>) -> Result<(), Error> {
        // The largest first, or one of them would be left for the end.
        wanted.sort_by_key(|(_, place)| std::cmp::Reverse(place.len()));
        wanted.into_par_iter().with_max_len(1).try_for_each_init(
            || (File::open(&self.file), Decompressor::new()),
            |(handle, decompressor), (name, place)| {
                let handle = handle.as_mut().map_err(|error| {
                    Error::io("read", &self.file)(io::Error::new(error.kind(), error.to_string()))
                })?;
                self.unpack_one(name, place, handle, decompressor)
            },
        )
    }

    fn unpack_one(
        &self,
        name: &str,
        place: &mut [u8],
        handle: &mut File,
        decompressor: &mut Decompressor,
    ) -> Result<(), Error> {
        let bad = |what: &str| damaged(&self.file, &format!("its {name} {what}"));
        let unreadable = |error: io::Error| Error::io("read", &self.file)(error);
        let entry = self.entries.get(name).ok_or_else(|| bad("is not there"))?;
        if entry.unpacked != place.len() {
            return Err(bad("has another size than its directory says"));
        }
        handle.seek(SeekFrom::Start(entry.start)).map_err(unreadable)?;
        match entry.method {
            CompressionMethod::Stored => handle.read_exact(place).map_err(unreadable)?,
            CompressionMethod::Deflated => {
                let mut packed = vec![0; entry.packed];
                handle.read_exact(&mut packed).map_err(unreadable)?;
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

fn is_weight(name: &str) -> bool {
    name.starts_with("data/")
}

/// Tensors that the code names: numbers in Python, where it was traced.
fn is_constant(name: &str) -> bool {
    name.starts_with("constants/")
}

/// Whether a record is a pickle from which tensors are made.
fn is_read(name: &str) -> bool {
    matches!(name, "data.pkl" | "constants.pkl")
}

/// Whether a record says what the network does. The others say where the code came from, and
/// when it was saved.
fn is_meant(name: &str) -> bool {
    !name.ends_with(".debug_pkl") && !name.starts_with(".data/")
}

/// Code with the constants of each class sorted: Python gives them in another order in every
/// process that saves the network.
fn in_order(code: &[u8]) -> Vec<u8> {
    let is_constant = |line: &[u8]| line.starts_with(b"  ") && holds(line, b" : Final[");
    let mut lines: Vec<&[u8]> = code.split(|byte| *byte == b'\n').collect();
    for run in lines.chunk_by_mut(|a, b| is_constant(a) && is_constant(b)) {
        run.sort_unstable();
    }
    lines.join(&b'\n')
}

fn holds(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

fn damaged(file: &Path, problem: &str) -> Error {
    Error::NotTorchScript {
        file: file.to_owned(),
        problem: problem.to_owned(),
        hint: "copy or download it again, and compare its SHA-256 with the original".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
        Records::of(file)?.unpack(vec![(name, &mut place)])?;
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

    /// An archive of these records.
    fn archive_of(records: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("net.pt");
        let mut writer = ZipWriter::new(File::create(&file).expect("a file"));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, text) in records {
            writer.start_file(format!("net/{name}"), options).expect("an entry");
            writer.write_all(text.as_bytes()).expect("its bytes");
        }
        writer.finish().expect("an archive");
        (place, file)
    }

    fn program(records: &[(&str, &str)]) -> Program {
        let (_place, file) = archive_of(records);
        Records::of(&file).expect("records").check_code().expect("whole")
    }

    const CODE: &str = "class A(Module):\n  w : Tensor\n  a : Final[int] = 1\n  b : Final[int] = 2\n\
                        \n  def forward(self):\n    return 1\n";

    #[test]
    fn folds_are_one_program_whatever_their_weights_and_the_order_of_their_constants() {
        let swapped = CODE.replace(
            "  a : Final[int] = 1\n  b : Final[int] = 2",
            "  b : Final[int] = 2\n  a : Final[int] = 1",
        );
        let one =
            program(&[("code/a.py", CODE), ("data/0", "12"), (".data/serialization_id", "1")]);
        let other =
            program(&[("data/0", "34"), ("code/a.py", &swapped), (".data/serialization_id", "2")]);
        assert_eq!(one, other);
    }

    #[test]
    fn other_code_constants_or_sizes_are_another_program() {
        let base =
            [("code/a.py", CODE), ("data/0", "12"), ("constants/0", "5"), ("data.pkl", "N.")];
        let one = program(&base);
        let other_value = CODE.replace("b : Final[int] = 2", "b : Final[int] = 3");
        let moved =
            CODE.replace("  w : Tensor\n  a", "  a").replace("= 2\n", "= 2\n  w : Tensor\n");
        for (place, record) in [
            (0, ("code/a.py", other_value.as_str())),
            (0, ("code/a.py", moved.as_str())),
            (0, ("code/b.py", CODE)),
            (1, ("data/0", "123")),
            (1, ("data/1", "12")),
            (2, ("constants/0", "6")),
            (3, ("data.pkl", "].")),
        ] {
            let mut changed = base;
            changed[place] = record;
            assert_ne!(program(&changed), one, "{record:?}");
        }
    }

    #[test]
    fn a_changed_letter_of_the_code_is_found() {
        let (_place, file) = archive_of(&[("code/a.py", "relu")]);
        Records::of(&file).expect("records").check_code().expect("whole");
        let mut bytes = std::fs::read(&file).expect("the archive");
        let at = bytes.windows(4).position(|window| window == b"relu").expect("the code");
        bytes[at..at + 4].copy_from_slice(b"tanh");
        std::fs::write(&file, bytes).expect("written");
        let error = Records::of(&file).expect("records").check_code().expect_err("changed");
        assert!(error.to_string().contains("its code/a.py is damaged"), "{error}");
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
