//! A network's file as it is: what passes the check of its directory gives a program, or words.
#![no_main]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use actviz_core::archive::{self, Program};
use actviz_core::model_file::ModelFile;
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

const LIMIT: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let memory = memfd_create("net.pt", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(bytes).expect("room");
    let file = ModelFile::from_descriptor(Path::new("net.pt"), file.into()).expect("a file");
    if archive::check_size(&file, LIMIT).is_ok()
        && let Ok(program) = Program::of(&file)
    {
        assert_eq!(Program::of(&file).ok(), Some(program), "the same file is the same program");
    }
});
