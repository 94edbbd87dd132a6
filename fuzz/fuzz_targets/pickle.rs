//! The pickle that says where a network's tensors lie, in an archive that is sound otherwise.
#![no_main]

use std::fs::File;
use std::io::{Cursor, Write};
use std::path::Path;

use actviz_core::archive::Program;
use actviz_core::model_file::ModelFile;
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fuzz_target!(|pickle: &[u8]| {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [
        ("net/code/__torch__.py", &b"class Net(Module):\n"[..]),
        ("net/data/0", &[0; 64]),
        ("net/constants.pkl", b"\x80\x02)."),
        ("net/data.pkl", pickle),
    ] {
        zip.start_file(name, options).expect("room");
        zip.write_all(bytes).expect("room");
    }
    let bytes = zip.finish().expect("an archive").into_inner();
    let memory = memfd_create("net.pt", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(&bytes).expect("room");
    let file = ModelFile::from_descriptor(Path::new("net.pt"), file.into()).expect("a file");
    let _ = Program::of(&file);
});
