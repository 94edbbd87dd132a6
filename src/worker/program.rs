//! Where the engine's program is.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// The engine's program.
const NAME: &str = "actviz-torch";
/// Names it, wherever it is.
const VARIABLE: &str = "ACTVIZ_ENGINE";
/// Where `make install` puts it, seen from the folder of `actviz`.
const INSTALLED: &str = "../lib/actviz";

/// Finds the engine: `$ACTVIZ_ENGINE`, beside this program, or where `make install` puts it.
///
/// # Errors
/// [`Error::Usage`] if it is nowhere.
pub fn find() -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        return match named.is_file() {
            true => Ok(named),
            false => Err(Error::usage_hint(
                format!("{VARIABLE}={}: there is no such file", named.display()),
                format!("let it name the program {NAME}, or unset it"),
            )),
        };
    }
    let here = std::env::current_exe().map_err(Error::io("find", "this program".as_ref()))?;
    let here = here.canonicalize().unwrap_or(here);
    let folder = here.parent().unwrap_or(Path::new("."));
    // Cargo puts tests and examples one folder below programs.
    let places = [folder.to_owned(), folder.join(INSTALLED), folder.join("..")];
    places.into_iter().map(|place| place.join(NAME)).find(|file| file.is_file()).ok_or_else(|| {
        Error::usage_hint(
            format!("{NAME}, which runs the networks, is not beside {}", here.display()),
            format!("cargo build --release makes both programs; {VARIABLE} names one elsewhere"),
        )
    })
}
