//! How far each network of a model is trusted: here, or in a process of its own.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::args::{NETWORK_COMMAND, RunArgs};
use crate::bundle::Model;
use crate::engine::{Device, Precision};
use crate::error::Error;
use crate::isolate::{Isolate, Start};
use crate::limits;
use crate::sandbox::Needs;
use crate::talk::Talk;

/// What a network may take for one image where nobody says otherwise: ten minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is taken from a network at once where the memory of the machine is unknown.
const LONGEST_ANSWER: u64 = 4 << 30;

/// Some networks run in processes of their own.
pub(super) struct Isolation {
    /// The files that run in this process for all that.
    pub vouched: HashSet<PathBuf>,
    program: PathBuf,
    timeout: Duration,
}

impl Isolation {
    /// What the flags ask for; `None`: everything runs in this process.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that contradict each other, [`Error::Io`] if a file
    /// cannot be read.
    pub fn of(args: &RunArgs, models: &[Model], talk: &Talk) -> Result<Option<Isolation>, Error> {
        let (how, timeout) = (args.trust.isolate, args.trust.timeout);
        let limits =
            [("--timeout", timeout.is_some()), ("--max-memory", args.trust.max_memory.is_some())];
        let limit = limits.iter().find(|(_, is_set)| *is_set).map(|(flag, _)| flag);
        if let (Isolate::Never, Some(flag)) = (how, limit) {
            return Err(Error::usage_hint(
                format!("{flag} limits a process of its own, and --isolate never allows none"),
                "leave one of them out",
            ));
        }
        if how == Isolate::Never {
            return Ok(None);
        }
        let mut vouched = HashSet::new();
        if how == Isolate::Auto && limit.is_none() {
            for model in models {
                vouched.extend(model.vouched(|file| {
                    talk.warn(format!(
                        "{}: not the file that model.json describes (its SHA-256 differs)",
                        file.display()
                    ));
                })?);
            }
        }
        let folds = models.iter().flat_map(|model| &model.folds);
        let mut others = folds.filter(|fold| !vouched.contains(&fold.file)).peekable();
        if others.peek().is_none() {
            return Ok(None);
        }
        for fold in others {
            talk.verbose(format!("{}: runs in a process of its own", fold.file.display()));
        }
        let program =
            std::env::current_exe().map_err(Error::io("find", "this program".as_ref()))?;
        let timeout = timeout.map_or(PATIENCE, Duration::from_secs);
        Ok(Some(Isolation { vouched, program, timeout }))
    }

    /// Adds what this process needs for it.
    pub fn add_to(&self, needs: &mut Needs) {
        needs.run.push(self.program.clone());
    }

    /// How to start a process that runs networks on this device.
    pub fn start(&self, args: &RunArgs, device: Device, precision: Precision) -> Start {
        let mut arguments: Vec<OsString> = vec![NETWORK_COMMAND.into()];
        let mut add = |flag: &str, value: String| arguments.extend([flag.into(), value.into()]);
        add("--device", device.to_string());
        add("--precision", precision.to_string());
        if let Some(threads) = args.threads {
            add("--threads", threads.to_string());
        }
        add("--max-model-size", args.trust.max_model_size.to_string());
        if let Some(bytes) = args.trust.max_memory {
            add("--max-memory", bytes.to_string());
        }
        for operator in &args.trust.allow_op {
            add("--allow-op", operator.clone());
        }
        if args.trust.no_sandbox {
            arguments.push("--no-sandbox".into());
        }
        // Whatever comes next is a file, even if it is called --help.
        arguments.push("--".into());
        // Maps lie here a second time, and are drawn: that needs room.
        let longest_answer = limits::memory_of_machine().map_or(LONGEST_ANSWER, |all| all / 4);
        Start { program: self.program.clone(), arguments, timeout: self.timeout, longest_answer }
    }
}
