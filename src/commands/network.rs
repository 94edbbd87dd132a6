//! `actviz run-network`: the process of one network that nobody vouches for. It is
//! started by [`crate::isolate`], not by people.

use std::io::{stdin, stdout};

use super::{EXIT_DONE, engine_here, shut_in};
use crate::args::NetworkArgs;
use crate::engine::{Device, Engine};
use crate::isolate;
use crate::limits;
use crate::sandbox::Needs;
use crate::talk::Talk;

/// Shuts itself in more tightly than the process that started it, and answers that one.
///
/// # Errors
/// If the sandbox or the limit cannot be had, or the pipes break.
pub fn run(args: &NetworkArgs, talk: &Talk) -> anyhow::Result<u8> {
    limits::end_with_parent()?;
    let needs = Needs { read: vec![args.file.clone()], ..Needs::default() };
    let _made = shut_in(&args.run.trust, needs, talk)?;
    let engine = engine_here(&args.run)?.computing_in(args.precision);
    // CUDA reserves far more addresses than it uses.
    if engine.device() == Device::Cpu
        && let Some(bytes) = args.run.trust.max_memory.or_else(limits::memory_of_machine)
    {
        limits::limit_memory(bytes)?;
    }
    isolate::serve(&engine, &args.file, stdin().lock(), stdout().lock())?;
    Ok(EXIT_DONE)
}
