//! `actviz accept`: what differs is right.

use std::io::Write;

use super::EXIT_DONE;
use crate::accept;
use crate::args::AcceptArgs;
use crate::error::Error;
use crate::manifest;
use crate::terminal::line;

/// Set by every CI that is widely used.
const CI: &str = "CI";

/// Copies the accepted pictures, and prints what it did.
///
/// # Errors
/// [`Error::Usage`] in CI without `--force`; those of [`accept`].
pub fn run(args: &AcceptArgs, out: &mut dyn Write) -> anyhow::Result<u8> {
    let in_ci = std::env::var_os(CI).is_some_and(|value| !value.is_empty() && value != "false");
    if in_ci && !args.force && !args.dry_run {
        return Err(Error::usage_hint(
            "CI is set: a machine does not accept changes",
            "look at the pictures and run this yourself; --force does it all the same",
        )
        .into());
    }
    let acceptance = accept::plan(&args.golden, &args.new, &args.pictures, args.prune)?;
    if !args.dry_run {
        accept::carry_out(&args.golden, &args.new, &acceptance)?;
    }
    for name in &acceptance.copied {
        writeln!(out, "accept {}", line(name))?;
    }
    for name in &acceptance.pruned {
        writeln!(out, "remove {}", line(name))?;
    }
    if acceptance.manifest.is_some() {
        writeln!(out, "change {}", manifest::FILE_NAME)?;
    }
    let tense = if args.dry_run { "would be " } else { "" };
    writeln!(
        out,
        "{} {tense}accepted, {} {tense}removed, {} the same already",
        acceptance.copied.len(),
        acceptance.pruned.len(),
        acceptance.same
    )?;
    Ok(EXIT_DONE)
}
