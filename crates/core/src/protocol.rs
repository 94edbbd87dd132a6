//! What `actviz` and its engine's process say to each other, over one Unix socket.
//!
//! A message is 16 bytes (four letters, the length of the header as u32, the count of
//! numbers as u64), the header in JSON, and the numbers in f32; all in the order of this
//! machine's bytes, since both sides run on it. The file of a network travels with the
//! message as an open descriptor, so that the engine needs no right to open anything.
//!
//! The first question is [`Request::Hello`] with [`VERSION`]. Neither side believes the
//! other: lengths are bounded, and memory is taken only for what has arrived.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ndarray::Array3;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Outcome};
use crate::engine::{
    DeviceChoice, InputShape, LayerId, OperatorUse, Output, Precision, Probe, Runtime, Taps,
};
use crate::error::Error;
use crate::graph::Graph;
use crate::layers::Layer;

/// The version of these messages. Both sides are built together and have the same.
pub const VERSION: u32 = 1;

/// How an engine is to be set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The device that networks run on.
    pub device: DeviceChoice,
    /// How many threads one operator may use; `None`: one a core.
    pub threads: Option<usize>,
    /// In which numbers networks compute.
    pub precision: Precision,
    /// Operators that are let through although they are not known to be harmless.
    pub allowed: Vec<String>,
    /// The most bytes that a network may unpack to.
    pub most_unpacked: u64,
    /// The most bytes of memory that the process may take, on the processor.
    pub most_memory: Option<u64>,
    /// Whether the process gives up all rights that it does not need.
    pub sandbox: bool,
}

/// A network that was opened, by a number that the asking side gives.
pub type NetworkId = u64;

/// What the engine is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The first message: set the engine up.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// How.
        settings: Settings,
    },
    /// What does the code of the file use that comes with this message?
    Audit {
        /// What the file is called in messages.
        name: PathBuf,
    },
    /// Open the file that comes with this message.
    Open {
        /// The network's number from now on.
        network: NetworkId,
        /// What the file is called in messages.
        name: PathBuf,
        /// Which operators are layers.
        taps: Taps,
    },
    /// Try this, to see whether the sandbox lets it through. The file that comes with this
    /// message, and its folder, are there for it.
    Attempt {
        /// Where the file is.
        name: PathBuf,
        /// What.
        attempt: Attempt,
    },
    /// Close the network. There is no answer.
    Close {
        /// Which.
        network: NetworkId,
    },
    /// Which layers does an input of this size run?
    Layers {
        /// Of which network.
        network: NetworkId,
        /// The size.
        input: InputShape,
    },
    /// Run a batch. The numbers are its images.
    Run {
        /// Through which network.
        network: NetworkId,
        /// Images, channels, height, width.
        shape: [usize; 4],
        /// See [`crate::engine::Batch::fill`].
        fill: usize,
        /// What is asked of which layer.
        probes: Vec<(LayerId, Probe)>,
    },
}

/// What the engine says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The engine is set up.
    Ready(Runtime),
    /// What the file's code uses.
    Audited(Vec<OperatorUse>),
    /// What came of the attempt.
    Attempted(Outcome),
    /// The network is open.
    Opened {
        /// See [`crate::engine::Network::input_channels`].
        input_channels: Option<usize>,
        /// See [`crate::engine::Network::graph`].
        graph: Option<Graph>,
    },
    /// The layers.
    Layers(Vec<Layer>),
    /// The numbers are the outputs, of these shapes: by image, then probe.
    Outputs(Vec<Option<[usize; 3]>>),
    /// It failed.
    Failed(Failure),
}

/// The errors of an engine, without the file that they are about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Failure {
    /// [`Error::NotTorchScript`].
    NotTorchScript {
        /// What it is instead.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// [`Error::Load`].
    Load {
        /// In a line.
        message: String,
        /// All of it.
        detail: String,
    },
    /// [`Error::Refused`].
    Refused {
        /// Operators with their places.
        uses: Vec<(String, String)>,
    },
    /// [`Error::Run`].
    Run {
        /// The input's shape.
        input: String,
        /// In a line.
        message: String,
        /// All of it.
        detail: String,
    },
    /// [`Error::NoActivations`].
    NoActivations,
    /// [`Error::OutOfMemory`].
    OutOfMemory {
        /// Where.
        device: String,
        /// All that was said.
        detail: String,
    },
    /// [`Error::Device`].
    Device {
        /// Which.
        device: String,
        /// Why not.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// Any other, in words.
    Other {
        /// What.
        what: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// A message as it arrived.
#[derive(Debug)]
pub struct Message<H> {
    /// The header.
    pub header: H,
    /// The numbers behind it.
    pub numbers: Vec<f32>,
    /// The file that came with it.
    pub file: Option<OwnedFd>,
}

/// What a message begins with.
const MARK: [u8; 4] = *b"AVZ1";
/// No header is longer: 64 MiB.
const LONGEST_HEADER: u32 = 64 << 20;
/// How many numbers are made room for at once.
const NUMBERS_AT_ONCE: usize = 1 << 20;

/// The 16 bytes before each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    header: u32,
    numbers: u64,
}

impl Prefix {
    const LENGTH: usize = 16;

    fn to_bytes(self) -> [u8; Prefix::LENGTH] {
        let mut bytes = [0; Prefix::LENGTH];
        bytes[..4].copy_from_slice(&MARK);
        bytes[4..8].copy_from_slice(&self.header.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.numbers.to_ne_bytes());
        bytes
    }

    /// Of a message with at most so many bytes of numbers.
    fn read(bytes: [u8; Prefix::LENGTH], most: u64) -> io::Result<Prefix> {
        let [mark @ .., a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let prefix = Prefix {
            header: u32::from_ne_bytes([a, b, c, d]),
            numbers: u64::from_ne_bytes([e, f, g, h, i, j, k, l]),
        };
        let fits = prefix.numbers.checked_mul(4).is_some_and(|bytes| bytes <= most);
        match mark == MARK && prefix.header <= LONGEST_HEADER && fits {
            true => Ok(prefix),
            false => Err(io::Error::other("a message that is too long, or none at all")),
        }
    }
}

/// Sends one message: the numbers are those of all parts, one after the other.
///
/// # Errors
/// Those of the socket.
pub fn send(
    to: &mut (impl Write + AsSocket),
    header: &impl Serialize,
    numbers: &[&[f32]],
    file: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let count: usize = numbers.iter().map(|part| part.len()).sum();
    let length = u32::try_from(header.len()).ok().filter(|length| *length <= LONGEST_HEADER);
    let length = length.ok_or_else(|| io::Error::other("a header that is too long"))?;
    let prefix = Prefix { header: length, numbers: count as u64 }.to_bytes();
    let sent = match file {
        Some(file) => send_with(to.socket(), &prefix, file)?,
        None => 0,
    };
    to.write_all(&prefix[sent..])?;
    to.write_all(&header)?;
    for part in numbers {
        to.write_all(bytemuck::cast_slice(part))?;
    }
    to.flush()
}

/// What has a socket below it, over which descriptors travel.
pub trait AsSocket {
    /// The socket.
    fn socket(&self) -> BorrowedFd<'_>;
}

impl AsSocket for UnixStream {
    fn socket(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self)
    }
}

fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?)
}

/// The next message, of at most so many bytes of numbers; `None` if the other side has
/// closed the socket.
///
/// # Errors
/// Those of the socket, and of messages that are none.
pub fn receive<H: DeserializeOwned>(
    from: &mut (impl Read + AsSocket),
    most: u64,
) -> io::Result<Option<Message<H>>> {
    let mut prefix = [0; Prefix::LENGTH];
    let Some((filled, file)) = receive_with(from, &mut prefix)? else { return Ok(None) };
    from.read_exact(&mut prefix[filled..])?;
    let (header, numbers) = receive_rest(from, prefix, most)?;
    Ok(Some(Message { header, numbers, file }))
}

/// The first bytes of a message, and the descriptor that comes with them.
fn receive_with(
    from: &mut (impl Read + AsSocket),
    bytes: &mut [u8],
) -> io::Result<Option<(usize, Option<OwnedFd>)>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(bytes)];
        match recvmsg(from.socket(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(found) if found.bytes == 0 => return Ok(None),
            Ok(found) => {
                let files = control.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut files) => files.next(),
                    _ => None,
                });
                return Ok(Some((found.bytes, files)));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// All of a message but its prefix.
fn receive_rest<H: DeserializeOwned>(
    from: &mut impl Read,
    prefix: [u8; Prefix::LENGTH],
    most: u64,
) -> io::Result<(H, Vec<f32>)> {
    let prefix = Prefix::read(prefix, most)?;
    let mut header = Vec::new();
    from.take(prefix.header.into()).read_to_end(&mut header)?;
    if header.len() != prefix.header as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let header = serde_json::from_slice(&header)?;
    let count = usize::try_from(prefix.numbers).map_err(io::Error::other)?;
    let mut numbers: Vec<f32> = Vec::new();
    while numbers.len() < count {
        let filled = numbers.len();
        numbers.resize(count.min(filled + NUMBERS_AT_ONCE), 0.0);
        from.read_exact(bytemuck::cast_slice_mut(&mut numbers[filled..]))?;
    }
    Ok((header, numbers))
}

/// A message in memory, for fuzzing: what [`receive`] makes of these bytes.
///
/// # Errors
/// As [`receive`].
pub fn read<H: DeserializeOwned>(mut bytes: &[u8], most: u64) -> io::Result<(H, Vec<f32>)> {
    let mut prefix = [0; Prefix::LENGTH];
    bytes.read_exact(&mut prefix)?;
    receive_rest(&mut bytes, prefix, most)
}

/// Outputs as they are sent: their shapes. The numbers are theirs, in the same order.
pub fn shapes(outputs: &[Vec<Output>]) -> Vec<Option<[usize; 3]>> {
    let shape = |output: &Output| output.as_ref().map(|array| array.dim().into());
    outputs.iter().flatten().map(shape).collect()
}

/// Outputs as they were before they were sent: so many to an image. `None` if the numbers
/// are not exactly those of the shapes.
pub fn outputs(
    shapes: &[Option<[usize; 3]>],
    mut numbers: &[f32],
    images: usize,
    probes: usize,
) -> Option<Vec<Vec<Output>>> {
    if images.checked_mul(probes) != Some(shapes.len()) {
        return None;
    }
    let mut all = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let Some(shape) = shape else {
            all.push(None);
            continue;
        };
        let count = shape.iter().try_fold(1_usize, |count, side| count.checked_mul(*side))?;
        let (own, rest) = numbers.split_at_checked(count)?;
        all.push(Some(Array3::from_shape_vec(*shape, own.to_vec()).ok()?));
        numbers = rest;
    }
    let mut all = all.into_iter();
    let outputs = (0..images).map(|_| all.by_ref().take(probes).collect()).collect();
    numbers.is_empty().then_some(outputs)
}

impl Failure {
    /// Leaves out the file, which the other side knows.
    pub fn of(error: Error) -> Failure {
        match error {
            Error::NotTorchScript { problem, hint, .. } => {
                Failure::NotTorchScript { problem, hint }
            }
            Error::Load { message, detail, .. } => Failure::Load { message, detail },
            Error::Refused { uses, .. } => Failure::Refused { uses },
            Error::Run { input, message, detail, .. } => Failure::Run { input, message, detail },
            Error::NoActivations { .. } => Failure::NoActivations,
            Error::OutOfMemory { device, detail, .. } => Failure::OutOfMemory { device, detail },
            Error::Device { device, problem, hint } => Failure::Device { device, problem, hint },
            other => Failure::Other { what: other.to_string(), hint: other.hint() },
        }
    }

    /// The error that it was, about this file.
    pub fn about(self, file: &Path) -> Error {
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
            Failure::Device { device, problem, hint } => Error::Device { device, problem, hint },
            Failure::Other { what, hint } => Error::Usage { what, hint },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::thread;

    use super::*;
    use crate::engine::Reduce;

    fn request() -> Request {
        let probes = vec![("relu".to_owned(), Probe::Reduced(Reduce::Mean))];
        Request::Run { network: 3, shape: [1, 1, 2, 2], fill: 1, probes }
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let (mut one, mut other) = UnixStream::pair().expect("sockets");
        let numbers = [0.5, f32::MIN_POSITIVE, -1.0 / 3.0, f32::INFINITY];
        send(&mut one, &request(), &[&numbers[..1], &numbers[1..]], None).expect("sent");
        drop(one);
        let message = receive::<Request>(&mut other, 16).expect("read").expect("one");
        assert_eq!((message.header, message.numbers), (request(), numbers.to_vec()));
        assert!(message.file.is_none());
        assert!(receive::<Request>(&mut other, 16).expect("the end").is_none());
    }

    #[test]
    fn a_file_travels_with_its_message() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("net.pt");
        std::fs::write(&path, b"weights").expect("a file");
        let (mut one, mut other) = UnixStream::pair().expect("sockets");
        let file = File::open(&path).expect("open");
        send(&mut one, &request(), &[], Some(file.as_fd())).expect("sent");
        let message = receive::<Request>(&mut other, 16).expect("read").expect("one");
        let mut text = String::new();
        File::from(message.file.expect("a file")).read_to_string(&mut text).expect("read");
        assert_eq!(text, "weights");
    }

    #[test]
    fn more_numbers_than_fit_into_a_socket_arrive_too() {
        let (mut one, mut other) = UnixStream::pair().expect("sockets");
        let numbers: Vec<f32> = (0..3 * NUMBERS_AT_ONCE + 7).map(|n| n as f32).collect();
        let sent = numbers.clone();
        let sending = thread::spawn(move || send(&mut one, &(), &[&sent], None));
        let message = receive::<()>(&mut other, u64::MAX).expect("read").expect("one");
        assert!(message.numbers == numbers);
        sending.join().expect("no panic").expect("sent");
    }

    #[test]
    fn a_message_that_claims_more_than_comes_is_an_error_and_takes_no_memory() {
        for (header, numbers) in [(4_u32, u64::MAX / 8), (4, u64::MAX), (u32::MAX, 0), (900, 0)] {
            let mut bytes = Prefix { header, numbers }.to_bytes().to_vec();
            bytes.extend(b"null");
            assert!(read::<()>(&bytes, u64::MAX).is_err(), "{header} {numbers}");
        }
    }

    #[test]
    fn more_numbers_than_are_waited_for_are_not_read() {
        let mut bytes = Prefix { header: 4, numbers: 2 }.to_bytes().to_vec();
        bytes.extend(b"null");
        bytes.extend([0; 8]);
        assert!(read::<()>(&bytes, 8).is_ok());
        assert!(read::<()>(&bytes, 7).is_err());
        bytes[0] = b'X';
        assert!(read::<()>(&bytes, 8).is_err());
    }

    #[test]
    fn outputs_are_cut_as_their_shapes_say_and_not_otherwise() {
        let numbers = [1.0, 2.0, 3.0];
        let shapes = [Some([1, 1, 2]), None, Some([1, 1, 1]), None];
        let found = super::outputs(&shapes, &numbers, 2, 2).expect("outputs");
        assert_eq!(super::shapes(&found), shapes);
        assert_eq!(found[1][0].as_ref().map(|array| array[[0, 0, 0]]), Some(3.0));
        assert!(super::outputs(&shapes, &numbers[..2], 2, 2).is_none());
        assert!(super::outputs(&shapes, &[0.0; 4], 2, 2).is_none());
        assert!(super::outputs(&shapes, &numbers, 3, 2).is_none());
        assert!(super::outputs(&[Some([usize::MAX, 2, 2])], &numbers, 1, 1).is_none());
    }

    #[test]
    fn errors_keep_their_words_across_the_socket() {
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
