//! A network that runs in another process, seen from here.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ndarray::{Array2, Array3, Array4, Axis};

use super::Start;
use super::protocol::{self, Answer, Request};
use crate::engine::{InputShape, Network, Take, Use};
use crate::error::Error;
use crate::layers::Layer;

/// A network in a process of its own. That process is started again if it has died.
pub struct Remote {
    start: Start,
    file: PathBuf,
    /// Whether all operators are layers.
    operators: bool,
    input_channels: Option<usize>,
    structure: String,
    /// How many images a batch is filled up to.
    fill: usize,
    process: Option<Process>,
}

impl Remote {
    /// Starts the process and has it load the network, with all operators as layers
    /// ([`crate::engine::Engine::open_operators`]) or activations alone.
    ///
    /// # Errors
    /// Those of an engine; [`Error::Crashed`] and [`Error::TimedOut`].
    pub fn open(start: Start, file: &Path, operators: bool) -> Result<Remote, Error> {
        let mut remote = Remote::new(start, file, operators);
        remote.load()?;
        Ok(remote)
    }

    /// What the network's code uses, looked at in a process of its own.
    ///
    /// # Errors
    /// As [`Remote::open`].
    pub fn audit(start: Start, file: &Path) -> Result<Vec<Use>, Error> {
        let mut remote = Remote::new(start, file, false);
        remote.process = Some(Process::start(&remote.start, file)?);
        match remote.ask(Request::Audit, Vec::new(), 1)? {
            (Answer::Audited(uses), _) => Ok(uses),
            _ => Err(remote.nonsense()),
        }
    }

    fn new(start: Start, file: &Path, operators: bool) -> Remote {
        let (file, structure) = (file.to_owned(), String::new());
        Remote { start, file, operators, input_channels: None, structure, fill: 1, process: None }
    }

    fn load(&mut self) -> Result<(), Error> {
        self.process = Some(Process::start(&self.start, &self.file)?);
        match self.ask(Request::Open { operators: self.operators }, Vec::new(), 1)? {
            (Answer::Opened { input_channels, structure }, _) => {
                (self.input_channels, self.structure) = (input_channels, structure);
                Ok(())
            }
            _ => Err(self.nonsense()),
        }
    }

    fn ask(
        &mut self,
        request: Request,
        numbers: Vec<f32>,
        images: usize,
    ) -> Result<(Answer, Vec<f32>), Error> {
        if self.process.is_none() {
            self.load()?;
        }
        let Some(process) = self.process.take() else { return Err(self.nonsense()) };
        let limit = self.start.timeout.saturating_mul(u32::try_from(images).unwrap_or(u32::MAX));
        // Where it cannot be sent, the answer says why.
        let _ = process.requests.send((request, numbers));
        match process.answers.recv_timeout(limit) {
            Ok(Ok(Some((Answer::Failed(failure), _)))) => {
                self.process = Some(process);
                Err(failure.about(&self.file))
            }
            Ok(Ok(Some(answer))) => {
                self.process = Some(process);
                Ok(answer)
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::TimedOut { file: self.file.clone(), seconds: limit.as_secs() })
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Other => {
                let how = format!("its process gives {error}");
                Err(Error::Crashed { file: self.file.clone(), how, detail: String::new() })
            }
            Ok(Ok(None) | Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                let (how, detail) = process.end();
                Err(Error::Crashed { file: self.file.clone(), how, detail })
            }
        }
    }

    /// An answer to another question: that process is not to be asked again.
    fn nonsense(&mut self) -> Error {
        self.process = None;
        let how = "its process gives answers that make no sense".to_owned();
        Error::Crashed { file: self.file.clone(), how, detail: String::new() }
    }
}

impl Network for Remote {
    fn input_channels(&self) -> Option<usize> {
        self.input_channels
    }

    fn layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error> {
        match self.ask(Request::Layers(input), Vec::new(), 1)? {
            (Answer::Layers(layers), _) => Ok(layers),
            _ => Err(self.nonsense()),
        }
    }

    fn structure(&self) -> String {
        self.structure.clone()
    }

    fn gradients(
        &mut self,
        image: &Array3<f32>,
        wanted: &[String],
        places: &[(f64, f64)],
    ) -> Result<Vec<Vec<Array2<f32>>>, Error> {
        let request = Request::Gradients {
            shape: image.dim().into(),
            wanted: wanted.to_vec(),
            places: places.to_vec(),
        };
        let runs = (wanted.len() * places.len()).max(1);
        match self.ask(request, image.iter().copied().collect(), runs)? {
            (Answer::Gradients(shapes), numbers) if shapes.len() == wanted.len() => {
                gradients(&shapes, &numbers).ok_or_else(|| self.nonsense())
            }
            _ => Err(self.nonsense()),
        }
    }

    fn fill_batches(&mut self, images: usize) {
        self.fill = images;
    }

    fn run(
        &mut self,
        batch: &Array4<f32>,
        wanted: &[String],
        take: Take,
    ) -> Result<Vec<Vec<Array3<f32>>>, Error> {
        let images = batch.dim().0;
        let (shape, wanted_names) = (batch.dim().into(), wanted.to_vec());
        let request = Request::Run { shape, fill: self.fill, wanted: wanted_names, take };
        let patience = images.max(self.fill);
        let maps = match self.ask(request, batch.iter().copied().collect(), patience)? {
            (Answer::Maps(shapes), numbers) if shapes.len() == images * wanted.len() => {
                arrays(&shapes, &numbers)
            }
            _ => None,
        };
        let Some(maps) = maps else { return Err(self.nonsense()) };
        let mut maps = maps.into_iter();
        Ok((0..images).map(|_| maps.by_ref().take(wanted.len()).collect()).collect())
    }
}

/// The numbers as arrays of these shapes, if there are exactly as many.
fn arrays(shapes: &[[usize; 3]], mut numbers: &[f32]) -> Option<Vec<Array3<f32>>> {
    let mut arrays = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let count = shape.iter().try_fold(1_usize, |count, side| count.checked_mul(*side))?;
        let (own, rest) = numbers.split_at_checked(count)?;
        arrays.push(Array3::from_shape_vec(*shape, own.to_vec()).ok()?);
        numbers = rest;
    }
    numbers.is_empty().then_some(arrays)
}

/// [`arrays`] of rows and columns alone, in lists of these lengths.
fn gradients(shapes: &[Vec<[usize; 2]>], numbers: &[f32]) -> Option<Vec<Vec<Array2<f32>>>> {
    let flat: Vec<[usize; 3]> =
        shapes.iter().flatten().map(|[height, width]| [1, *height, *width]).collect();
    let mut maps = arrays(&flat, numbers)?.into_iter().map(|map| map.remove_axis(Axis(0)));
    Some(shapes.iter().map(|shapes| maps.by_ref().take(shapes.len()).collect()).collect())
}

/// What tells OpenMP how threads wait for each other.
const WAITING: [&str; 2] = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"];
/// How often they look before they sleep. Of itself GNU's OpenMP looks 300,000 times: where
/// other programs want the cores, too, that takes them away for milliseconds at a time
/// (docs/performance.md).
const SPINS: &str = "10000";

/// How many milliseconds a process that has closed its pipe has to end.
const FAREWELL: u32 = 2000;

type Received = io::Result<Option<(Answer, Vec<f32>)>>;

/// A running process. Dropping it kills it.
struct Process {
    child: Child,
    requests: Sender<(Request, Vec<f32>)>,
    answers: Receiver<Received>,
    /// The end of what it has written to stderr.
    words: Option<JoinHandle<String>>,
}

impl Process {
    fn start(start: &Start, file: &Path) -> Result<Process, Error> {
        let failed = |error| Error::io("start", &start.program)(error);
        let mut command = Command::new(&start.program);
        command
            .args(&start.arguments)
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C in a terminal goes to a whole group of processes: this one answers until
        // the other one has ended in order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        if WAITING.iter().all(|variable| std::env::var_os(variable).is_none()) {
            command.env(WAITING[0], SPINS);
        }
        let mut child = command.spawn().map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(mut stdout), Some(stderr)) = pipes else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let (requests, asked) = mpsc::channel::<(Request, Vec<f32>)>();
        let (answer, answers) = mpsc::channel();
        let longest = start.longest_answer;
        // A process that hangs must not hang this one: so another thread talks with it,
        // and ends when the pipes do.
        thread::spawn(move || {
            for (request, numbers) in asked {
                let answered = protocol::send(&mut stdin, &request, numbers.into_iter())
                    .and_then(|()| protocol::receive(&mut stdout, longest));
                if answer.send(answered).is_err() {
                    break;
                }
            }
        });
        let words = Some(thread::spawn(move || last_words(stderr)));
        Ok(Process { child, requests, answers, words })
    }

    /// How it ended, and its last words.
    fn end(mut self) -> (String, String) {
        // It has closed its pipe, so it ends about now.
        let status = (0..FAREWELL).find_map(|_| {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_none() {
                thread::sleep(Duration::from_millis(1));
            }
            ended
        });
        let how = status.map_or("its process stopped answering".to_owned(), how_it_ended);
        let _ = self.child.kill();
        let words = self.words.take().and_then(|words| words.join().ok()).unwrap_or_default();
        (how, words)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last 8 KiB of what comes.
fn last_words(mut from: impl Read) -> String {
    const MOST: usize = 8 << 10;
    let mut last = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        last.extend_from_slice(&piece[..count]);
        let surplus = last.len().saturating_sub(MOST);
        last.drain(..surplus);
    }
    String::from_utf8_lossy(&last).into_owned()
}

fn how_it_ended(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("its process died of {}", signal_name(signal));
    }
    format!("its process ended by itself ({status})")
}

/// POSIX's names where the numbers are the same on all systems, Linux's for the rest.
#[cfg(unix)]
fn signal_name(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL (an instruction that this processor does not know)",
        6 => "SIGABRT (libtorch gave up)",
        7 => "SIGBUS (memory that is not there)",
        8 => "SIGFPE (a division by zero)",
        9 => "SIGKILL (ended from outside, perhaps for lack of memory)",
        11 => "SIGSEGV (memory that is not its own)",
        15 => "SIGTERM (ended from outside)",
        24 => "SIGXCPU (out of processor time)",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}
