//! The directory of a zip archive: what is let through keeps to the limit, and has as
//! many entries as it says.
#![no_main]

use std::io::Cursor;

use actviz::archive;
use libfuzzer_sys::fuzz_target;
use zip::ZipArchive;

const LIMIT: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if archive::check_directory(Cursor::new(bytes), LIMIT).is_ok() {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("it was read before");
        let sizes = (0..archive.len())
            .map(|index| archive.by_index_raw(index).expect("an entry").size())
            .collect::<Vec<_>>();
        assert!(sizes.iter().sum::<u64>() <= LIMIT);
    }
});
