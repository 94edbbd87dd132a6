//! What is said over the pipes: a header in JSON, then numbers.
//!
//! A message is the header's length (u32) and the count of numbers (u64), the header,
//! and the numbers (f32); all little-endian. Neither side believes the other: lengths
//! are bounded, and memory is taken only for what has arrived.

use std::io::{self, Read, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engine::{InputShape, Take, Use};
use crate::error::Error;
use crate::layers::Layer;

/// What the network is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Audit,
    /// Whether all operators are layers, see [`crate::engine::Engine::open_operators`].
    Open {
        operators: bool,
    },
    Layers(InputShape),
    /// The numbers are the image, of this shape.
    Gradients {
        shape: [usize; 3],
        wanted: Vec<String>,
        places: Vec<(f64, f64)>,
    },
    /// The numbers are the batch, of this shape, to be filled up to so many images.
    Run {
        shape: [usize; 4],
        fill: usize,
        wanted: Vec<String>,
        take: Take,
    },
}

/// What its process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Audited(Vec<Use>),
    Opened {
        input_channels: Option<usize>,
        structure: String,
    },
    Layers(Vec<Layer>),
    /// The numbers are the maps, of these shapes: by image, then layer.
    Maps(Vec<[usize; 3]>),
    /// The numbers are the maps, of these shapes: by layer, then place.
    Gradients(Vec<Vec<[usize; 2]>>),
    Failed(Failure),
}

/// The errors of an engine, without the file that they are about.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    NotTorchScript { problem: String, hint: String },
    Load { message: String, detail: String },
    Refused { uses: Vec<(String, String)> },
    Run { input: String, message: String, detail: String },
    NoActivations,
    OutOfMemory { device: String, detail: String },
    Other { what: String, hint: Option<String> },
}

/// No header is longer: 64 MiB.
const LONGEST_HEADER: u32 = 64 << 20;

/// Sends one message.
pub(super) fn send(
    to: &mut impl Write,
    header: &impl Serialize,
    numbers: impl ExactSizeIterator<Item = f32>,
) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(12 + header.len() + 4 * numbers.len());
    message.extend(length.to_le_bytes());
    message.extend((numbers.len() as u64).to_le_bytes());
    message.extend(header);
    numbers.for_each(|number| message.extend(number.to_le_bytes()));
    to.write_all(&message)?;
    to.flush()
}

/// The next message, of at most so many bytes of numbers; `None` if the other side has
/// closed the pipe.
pub(super) fn receive<H: DeserializeOwned>(
    from: &mut impl Read,
    most: u64,
) -> io::Result<Option<(H, Vec<f32>)>> {
    let mut start = [0; 12];
    match from.read_exact(&mut start) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [a, b, c, d, count @ ..] = start;
    let length = u32::from_le_bytes([a, b, c, d]);
    let bytes = u64::from_le_bytes(count).checked_mul(4).filter(|bytes| *bytes <= most);
    let (true, Some(bytes)) = (length <= LONGEST_HEADER, bytes) else {
        return Err(io::Error::other("an answer that is too long"));
    };
    let header = serde_json::from_slice(&exactly(from, length.into())?)?;
    let numbers = exactly(from, bytes)?;
    let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    Ok(Some((header, numbers.as_chunks::<4>().0.iter().map(number).collect())))
}

fn exactly(from: &mut impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(count).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == count {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Failure {
    /// Leaves out the file, which the other side knows.
    pub(super) fn of(error: Error) -> Failure {
        match error {
            Error::NotTorchScript { problem, hint, .. } => {
                Failure::NotTorchScript { problem, hint }
            }
            Error::Load { message, detail, .. } => Failure::Load { message, detail },
            Error::Refused { uses, .. } => Failure::Refused { uses },
            Error::Run { input, message, detail, .. } => Failure::Run { input, message, detail },
            Error::NoActivations { .. } => Failure::NoActivations,
            Error::OutOfMemory { device, detail, .. } => Failure::OutOfMemory { device, detail },
            other => Failure::Other { what: other.to_string(), hint: other.hint() },
        }
    }

    /// The error that it was, about this file.
    pub(super) fn about(self, file: &Path) -> Error {
        let file = file.to_owned();
        match self {
            Failure::NotTorchScript { problem, hint } => {
                Error::NotTorchScript { file, problem, hint }
            }
            Failure::Load { message, detail } => Error::Load { file, message, detail },
            Failure::Refused { uses } => Error::Refused { file, uses },
            Failure::Run { input, message, detail } => Error::Run { file, input, message, detail },
            Failure::NoActivations => Error::NoActivations { file },
            Failure::OutOfMemory { device, detail } => Error::OutOfMemory { file, device, detail },
            Failure::Other { what, hint } => Error::Usage { what, hint },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let numbers = [0.5, f32::MIN_POSITIVE, -1.0 / 3.0, f32::INFINITY];
        let mut pipe = Vec::new();
        let request = Request::Run {
            shape: [1, 1, 2, 2],
            fill: 1,
            wanted: vec!["relu".to_owned()],
            take: Take::Channels,
        };
        send(&mut pipe, &request, numbers.into_iter()).expect("sent");
        let mut pipe = pipe.as_slice();
        let (header, found): (Request, _) = receive(&mut pipe, 16).expect("read").expect("one");
        assert_eq!(format!("{header:?}"), format!("{request:?}"));
        assert_eq!(found, numbers);
        assert!(receive::<Request>(&mut pipe, 16).expect("the end").is_none());
    }

    #[test]
    fn a_message_that_claims_more_than_comes_is_an_error_and_takes_no_memory() {
        for (length, count) in [(4_u32, u64::MAX / 8), (4, u64::MAX), (u32::MAX, 0), (900, 0)] {
            let mut pipe = length.to_le_bytes().to_vec();
            pipe.extend(count.to_le_bytes());
            pipe.extend(b"null");
            assert!(receive::<()>(&mut pipe.as_slice(), u64::MAX).is_err(), "{length} {count}");
        }
    }

    #[test]
    fn more_numbers_than_are_waited_for_are_not_read() {
        let mut pipe = Vec::new();
        send(&mut pipe, &(), [1.0, 2.0].into_iter()).expect("sent");
        assert!(receive::<()>(&mut pipe.as_slice(), 8).is_ok());
        assert!(receive::<()>(&mut pipe.as_slice(), 7).is_err());
    }

    #[test]
    fn errors_keep_their_words_across_the_pipe() {
        let file = Path::new("net.pt");
        let error = Error::Refused {
            file: file.to_owned(),
            uses: vec![("aten::save".to_owned(), "code/x.py:3".to_owned())],
        };
        let (text, hint) = (error.to_string(), error.hint());
        let again = Failure::of(error).about(file);
        assert_eq!((again.to_string(), again.hint()), (text, hint));
    }
}
