//! Everything that can go wrong, in words for the person at the shell.
//!
//! An error says what failed and on which file; [`Error::hint`] says what to do
//! about it; [`Error::detail`] keeps what the runtime said, for `-v`.

mod hints;

use std::path::{Path, PathBuf};

/// What can go wrong in this library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Flags that contradict each other or name what does not exist.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to type instead.
        hint: Option<String>,
    },

    /// A file that should be a TorchScript network is something else.
    #[error("{}: {problem}", file.display())]
    NotTorchScript {
        /// The file.
        file: PathBuf,
        /// What it is instead.
        problem: String,
        /// How to make a TorchScript file of it.
        hint: String,
    },

    /// The runtime could not load a network.
    #[error("{}: the network cannot be loaded: {message}", file.display())]
    Load {
        /// The file.
        file: PathBuf,
        /// The runtime's own first line.
        message: String,
        /// All that the runtime said.
        detail: String,
    },

    /// A network's code uses what is not known to be harmless.
    #[error(
        "{}: the network is refused, none of its code was run: it uses {}",
        file.display(),
        list_uses(uses)
    )]
    Refused {
        /// The file.
        file: PathBuf,
        /// The operators, each with its place in the file.
        uses: Vec<(String, String)>,
    },

    /// The runtime could not run a network.
    #[error("{}: the network failed on an input of {input}: {message}", file.display())]
    Run {
        /// The file.
        file: PathBuf,
        /// The input's shape in words, e.g. `3x224x224`.
        input: String,
        /// The runtime's own first line.
        message: String,
        /// All that the runtime said.
        detail: String,
    },

    /// The process of a network ended while it was needed.
    #[error("{}: the network crashed: {how}", file.display())]
    Crashed {
        /// The file.
        file: PathBuf,
        /// How the process ended.
        how: String,
        /// Its last words.
        detail: String,
    },

    /// A network took too long.
    #[error("{}: the network did not answer within {seconds} seconds", file.display())]
    TimedOut {
        /// The file.
        file: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },

    /// The network wants channels that a picture does not give.
    #[error(
        "{}: the network takes {wanted} channels; {}",
        file.display(),
        given.map_or("pictures give 1 or 3".to_owned(), |given| format!("model.json says {given}"))
    )]
    Channels {
        /// The file.
        file: PathBuf,
        /// Channels of its first convolution.
        wanted: usize,
        /// Channels that the bundle promises.
        given: Option<usize>,
    },

    /// The network calls no activation function.
    #[error("{}: the network has no activation layer", file.display())]
    NoActivations {
        /// The file.
        file: PathBuf,
    },

    /// The layers of two folds are not the same.
    #[error("folds {first} and {second} differ at activation layer {index}: {difference}")]
    FoldsDiffer {
        /// A fold.
        first: usize,
        /// The fold that differs from it.
        second: usize,
        /// The first layer that differs, from 1.
        index: usize,
        /// Both sides, in words.
        difference: String,
    },

    /// A picture that cannot be read.
    #[error("{}: {problem}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },

    /// A file that gives no image to run a network on.
    #[error("{}: {problem}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },

    /// The asked device is not there.
    #[error("device {device} cannot be used: {problem}")]
    Device {
        /// As the user named it.
        device: String,
        /// Why not.
        problem: String,
        /// What to install or type.
        hint: String,
    },

    /// The device has no memory left.
    #[error("{}: out of memory on {device}", file.display())]
    OutOfMemory {
        /// The network's file.
        file: PathBuf,
        /// The device.
        device: String,
        /// All that the runtime said.
        detail: String,
    },

    /// A JSON file that does not hold what it should.
    #[error("{}: {problem}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// The parser's words, with line and column.
        problem: String,
    },

    /// A file or folder that cannot be read or written.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was tried, e.g. `read`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer. Not called `source`: it is part of the text already.
        cause: std::io::Error,
    },
}

/// The exit code of a mistake: wrong usage, or nothing could be done.
pub const EXIT_NOTHING_DONE: u8 = 2;
/// The exit code of what may work later: disk full, out of memory (`EX_TEMPFAIL`).
pub const EXIT_TRY_AGAIN: u8 = 75;

impl Error {
    /// A usage error without a hint.
    pub fn usage(what: impl Into<String>) -> Error {
        Error::Usage { what: what.into(), hint: None }
    }

    /// A usage error with a hint.
    pub fn usage_hint(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Usage { what: what.into(), hint: Some(hint.into()) }
    }

    /// An [`Error::Io`], to be used with `map_err`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |cause| Error::Io { doing, path, cause }
    }

    /// What the user can do about it, in one or two lines.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Usage { hint, .. } | Error::Image { hint, .. } => hint.clone(),
            Error::NotTorchScript { hint, .. } | Error::Device { hint, .. } => Some(hint.clone()),
            Error::Load { message, detail, .. } => Some(hints::of_load(message, detail)),
            Error::Refused { uses, .. } => Some(hints::of_refusal(uses)),
            Error::Run { message, input, .. } => Some(hints::of_run(message, input)),
            Error::Crashed { .. } => Some(
                "the file is damaged, or made to do harm; nothing else was touched. -v prints \
                 the last words of its process"
                    .to_owned(),
            ),
            Error::TimedOut { .. } => {
                Some("--timeout SECONDS waits longer for each image".to_owned())
            }
            Error::NoActivations { .. } => Some(
                "activations are relu, gelu, silu and the like; docs/layers.md lists them all"
                    .to_owned(),
            ),
            Error::FoldsDiffer { .. } => Some(
                "folds of one cross-validation share one architecture; look at each with \
                 `actviz layers --model FILE.pt`"
                    .to_owned(),
            ),
            Error::OutOfMemory { device, .. } => Some(match device.as_str() {
                "cpu" => "try a smaller --input-size, or more with --max-memory".to_owned(),
                _ => "try a smaller --input-size, or --device cpu".to_owned(),
            }),
            Error::Io { cause, .. } if cause.kind() == std::io::ErrorKind::FileTooLarge => {
                Some("files may not be larger here: see ulimit -f".to_owned())
            }
            Error::Io { cause, .. } if is_disk_full(cause) => {
                Some("the disk is full: make room and run the same command again".to_owned())
            }
            Error::Channels { given: Some(_), .. } => {
                Some("model.json and the network are not of one model; export it again".to_owned())
            }
            Error::Channels { given: None, .. } => Some(
                "only networks that look at grey or RGB pictures can be drawn from pictures"
                    .to_owned(),
            ),
            Error::Json { .. } => Some(
                "copy it again from where it is whole, or make it anew: models/README.md has \
                 model.json, and `actviz render` writes manifests"
                    .to_owned(),
            ),
            Error::Picture { .. } | Error::Io { .. } => None,
        }
    }

    /// All that the runtime said, for `-v`.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Error::Load { detail, .. }
            | Error::Run { detail, .. }
            | Error::Crashed { detail, .. }
            | Error::OutOfMemory { detail, .. } => Some(detail),
            _ => None,
        }
    }

    /// Whether it speaks of one network, so that other folds may still work.
    pub fn is_of_one_fold(&self) -> bool {
        matches!(
            self,
            Error::Load { .. }
                | Error::Refused { .. }
                | Error::Run { .. }
                | Error::Crashed { .. }
                | Error::TimedOut { .. }
                | Error::OutOfMemory { .. }
                | Error::NotTorchScript { .. }
                | Error::NoActivations { .. }
                | Error::FoldsDiffer { .. }
                | Error::Channels { .. }
        )
    }

    /// The exit code that this error deserves.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::OutOfMemory { .. } => EXIT_TRY_AGAIN,
            Error::Io { cause, .. } if is_disk_full(cause) => EXIT_TRY_AGAIN,
            _ => EXIT_NOTHING_DONE,
        }
    }
}

/// `aten::save (code/__torch__.py:12) and ...`
fn list_uses(uses: &[(String, String)]) -> String {
    let each: Vec<String> = uses.iter().map(|(name, place)| format!("{name} ({place})")).collect();
    each.join(" and ")
}

/// Whether there is no room for what was to be written.
pub fn is_disk_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
