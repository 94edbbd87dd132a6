//! What a file's network does, apart from its weights.

use std::collections::HashMap;
use std::io::Read;

use zip::ZipArchive;
use zip::result::ZipError;

use super::directory::open;
use super::pickle;
use crate::digest;
use crate::error::Error;
use crate::model_file::ModelFile;

/// All of a file but its weights' values: files of one program differ in nothing else that
/// matters. The folds of a cross-validation are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(String);

impl Program {
    /// Reads the code of a file, which must have passed [`super::check_size`], and what says
    /// which weight is where; their checksums are compared, and every tensor with its record.
    ///
    /// # Errors
    /// [`Error::NotTorchScript`] if the file is damaged, or a tensor does not lie within its
    /// record.
    pub fn of(file: &ModelFile) -> Result<Program, Error> {
        let unreadable = |error: Unreadable| match error {
            Unreadable::Zip(error) => super::damaged(file.path(), &error.to_string()),
            Unreadable::Entry(name, problem) => {
                super::damaged(file.path(), &format!("its {name} {problem}"))
            }
        };
        let zip = |error| unreadable(Unreadable::Zip(error));
        let mut archive = open(file.reader()).map_err(zip)?;
        let mut sizes = HashMap::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(zip)?;
            let name = entry.name().map_err(zip)?;
            if let Some((_, name)) = name.split_once('/') {
                sizes.insert(name.to_owned(), usize::try_from(entry.size()).unwrap_or(usize::MAX));
            }
        }
        let (mut lines, mut left) = (Vec::new(), MOST_CODE);
        for index in 0..archive.len() {
            lines.extend(line_of(&mut archive, index, &sizes, &mut left).map_err(unreadable)?);
        }
        lines.sort();
        Ok(Program(digest::of_bytes(lines.join("\n").as_bytes())))
    }
}

/// No network has more code, unpacked: 256 MiB.
const MOST_CODE: u64 = 256 << 20;

enum Unreadable {
    Zip(ZipError),
    /// Which, and what is wrong with it.
    Entry(String, String),
}

/// What one entry says of the program; `None` if nothing.
fn line_of(
    archive: &mut ZipArchive<impl Read + std::io::Seek>,
    index: usize,
    sizes: &HashMap<String, usize>,
    left: &mut u64,
) -> Result<Option<String>, Unreadable> {
    let mut entry = archive.by_index(index).map_err(Unreadable::Zip)?;
    let name = entry.name().map_err(Unreadable::Zip)?.into_owned();
    // Each name begins with the archive's own.
    let Some((_, name)) = name.split_once('/') else { return Ok(None) };
    if is_weight(name) || is_constant(name) {
        let values = if is_weight(name) { 0 } else { entry.crc32() };
        return Ok(Some(format!("{name} {} {values:x}", entry.size())));
    }
    let bad = |problem: &str| Unreadable::Entry(name.to_owned(), problem.to_owned());
    // The crate compares the checksum at the end, which is read only if nothing is left out.
    let mut text = Vec::new();
    let read = entry.by_ref().take(*left + 1).read_to_end(&mut text);
    let read = read.map_err(|_| bad("is damaged"))? as u64;
    *left = left.checked_sub(read).ok_or_else(|| bad("is longer than any network's code"))?;
    if let Some(archive) = name.strip_suffix(".pkl").filter(|_| is_read(name)) {
        let size_of = |record: &str| sizes.get(&format!("{archive}/{record}")).copied();
        pickle::check(&text, size_of).map_err(|problem| bad(&problem))?;
    }
    Ok(is_meant(name).then(|| format!("{name} {}", digest::of_bytes(&in_order(&text)))))
}

/// Whether a record holds the values of a weight.
pub fn is_weight(name: &str) -> bool {
    name.starts_with("data/")
}

/// Whether a record holds the values of a tensor that the code names: numbers in Python,
/// where it was traced.
pub fn is_constant(name: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::path::PathBuf;

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

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
        Program::of(&ModelFile::open(&file).expect("open")).expect("whole")
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
        Program::of(&ModelFile::open(&file).expect("open")).expect("whole");
        let mut bytes = std::fs::read(&file).expect("the archive");
        let at = bytes.windows(4).position(|window| window == b"relu").expect("the code");
        bytes[at..at + 4].copy_from_slice(b"tanh");
        std::fs::write(&file, bytes).expect("written");
        let error = Program::of(&ModelFile::open(&file).expect("open")).expect_err("changed");
        assert!(error.to_string().contains("its code/a.py is damaged"), "{error}");
    }
}
