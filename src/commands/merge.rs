//! `actviz merge`: the shards of a run become one.

use std::io::Write;

use super::{EXIT_DONE, EXIT_PARTLY, print_json};
use crate::args::MergeArgs;
use crate::merge;
use crate::talk::Talk;

/// Merges the parts in a folder and says what is in it.
///
/// # Errors
/// Whatever keeps the shards from being one run.
pub fn run(args: &MergeArgs, talk: &Talk, out: &mut dyn Write) -> anyhow::Result<u8> {
    let manifest = merge::merge(&args.out)?;
    talk.note(format!(
        "{} pictures of {} images in {} (manifest.json says what each one shows)",
        manifest.picture_count(),
        manifest.images.len(),
        args.out.display()
    ));
    for failed in &manifest.failed {
        talk.warn(format!("not drawn: {}", failed.image.as_ref().unwrap_or(&failed.problem)));
    }
    if args.json {
        print_json(out, &manifest)?;
    }
    Ok(if manifest.failed.is_empty() { EXIT_DONE } else { EXIT_PARTLY })
}
