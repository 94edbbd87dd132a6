//! `actviz merge`: the shards of a run become one.

use std::io::Write;

use super::{EXIT_DONE, EXIT_PARTLY, print_json};
use crate::args::MergeArgs;
use crate::merge::{self, Merged};
use crate::terminal::{Reporter, count};

/// Merges the parts in a folder and says what is in it.
///
/// # Errors
/// Whatever keeps the shards from being one run.
pub fn run(args: &MergeArgs, reporter: &Reporter, out: &mut dyn Write) -> anyhow::Result<u8> {
    let Merged { manifest, was_whole } = merge::merge(&args.out)?;
    if was_whole {
        reporter.note("nothing to merge: the run is whole");
    }
    reporter.note(format!(
        "{} of {} in {} (manifest.json says what each one shows)",
        count(manifest.picture_count(), "picture"),
        count(manifest.images.len(), "image"),
        args.out.display()
    ));
    for failed in &manifest.failed {
        reporter.warn(format!("not drawn: {}", failed.image.as_ref().unwrap_or(&failed.problem)));
    }
    if args.json {
        print_json(out, &manifest)?;
    }
    Ok(if manifest.failed.is_empty() { EXIT_DONE } else { EXIT_PARTLY })
}
