//! The worker's process: how it is started, asked, and how it ends.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actviz_core::archive::{self, Program};
use actviz_core::attempt::{Attempt, Outcome};
use actviz_core::engine::{OperatorUse, Runtime, Taps};
use actviz_core::model_file::ModelFile;
use actviz_core::protocol::{self, Answer, AsSocket, Message, NetworkId, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::WorkerConfig;
use crate::error::Error;

/// What the worker may know of the environment; everything else stays here. The first ones
/// say how threads wait for each other, how many there are, and which instructions are used;
/// the last ones which GPUs.
const INHERITED: [&str; 14] = [
    "GOMP_SPINCOUNT",
    "OMP_WAIT_POLICY",
    "GOMP_CPU_AFFINITY",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ALLOC_CONF",
];
/// How often the threads of OpenMP look before they sleep. Of itself GNU's OpenMP looks
/// 300,000 times: where other programs want the cores, too, that takes them away for
/// milliseconds at a time (docs/performance.md).
const SPINS: (&str, &str) = ("GOMP_SPINCOUNT", "10000");

/// The least time for loading libtorch, from a slow disk.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer is still waited for that nobody wants any more.
const GRACE: Duration = Duration::from_secs(1);
/// How long a process that has closed its socket has to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// The worker of an engine, shared by its networks.
pub(super) struct Shared {
    pub config: WorkerConfig,
    slot: Mutex<Slot>,
}

/// The worker that is there now.
#[derive(Default)]
struct Slot {
    worker: Option<Worker>,
    /// How many workers there were: a network that was opened in an earlier one is gone.
    generation: u64,
    /// The program of the networks that it has opened.
    program: Option<Program>,
    networks: NetworkId,
}

/// A network that is open in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    generation: u64,
    pub network: NetworkId,
}

/// What the asking side says of a request besides the request itself.
pub(super) struct Asked<'a> {
    pub request: Request,
    pub numbers: &'a [f32],
    /// How many images' time it may take.
    pub images: usize,
}

impl Shared {
    pub fn start(config: WorkerConfig) -> Result<Shared, Error> {
        let worker = Worker::start(&config)?;
        let slot = Slot { worker: Some(worker), generation: 1, ..Slot::default() };
        Ok(Shared { config, slot: Mutex::new(slot) })
    }

    /// Waits for the first worker.
    pub fn runtime(&self) -> Result<Runtime, Error> {
        self.lock().ready(&self.config)
    }

    /// Opens a network, and says where it is and what the worker answers.
    pub fn open(&self, file: &ModelFile, taps: Taps) -> Result<(Place, Answer), Error> {
        archive::check_size(file, self.config.settings.most_unpacked)?;
        let program = Program::of(file)?;
        let slot = &mut *self.lock();
        if slot.program.as_ref().is_some_and(|other| *other != program) {
            slot.end();
        }
        slot.networks += 1;
        let network = slot.networks;
        let request = Request::Open { network, name: file.path().to_owned(), taps };
        let asked = Asked { request, numbers: &[], images: 1 };
        match slot.ask(&self.config, asked, file, Some(file)) {
            Ok((answer, _)) => {
                // The worker knows of the file only what it was when it came.
                file.check_unchanged()?;
                slot.program = Some(program);
                Ok((Place { generation: slot.generation, network }, answer))
            }
            Err(error) => {
                // Nobody knows what a file did that could not be loaded.
                slot.end();
                Err(error)
            }
        }
    }

    /// What the code of a file uses.
    pub fn audit(&self, file: &ModelFile) -> Result<Vec<OperatorUse>, Error> {
        archive::check_size(file, self.config.settings.most_unpacked)?;
        let slot = &mut *self.lock();
        let request = Request::Audit { name: file.path().to_owned() };
        let asked = Asked { request, numbers: &[], images: 1 };
        let answer = slot.ask(&self.config, asked, file, Some(file));
        if answer.is_err() {
            slot.end();
        }
        match answer? {
            (Answer::Audited(uses), _) => Ok(uses),
            _ => Err(nonsense(file)),
        }
    }

    /// Has the worker try something. If it ends for that, the next question starts another.
    pub fn attempt(&self, attempt: Attempt, file: &ModelFile) -> Result<Outcome, Error> {
        let slot = &mut *self.lock();
        let request = Request::Attempt { name: file.path().to_owned(), attempt };
        let asked = Asked { request, numbers: &[], images: 1 };
        match slot.ask(&self.config, asked, file, Some(file)) {
            Ok((Answer::Attempted(outcome), _)) => Ok(outcome),
            Ok(_) => Err(nonsense(file)),
            Err(Error::Crashed { how, .. }) => Ok(Outcome::Ended(how)),
            Err(error) => Err(error),
        }
    }

    /// Asks about a network. `None` if it is gone: its worker has ended.
    pub fn ask(
        &self,
        place: Place,
        asked: Asked<'_>,
        file: &ModelFile,
    ) -> Option<Result<(Answer, Vec<f32>), Error>> {
        let slot = &mut *self.lock();
        (slot.worker.is_some() && slot.generation == place.generation)
            .then(|| slot.ask(&self.config, asked, file, None))
    }

    /// Gives a network up.
    pub fn close(&self, place: Place) {
        let slot = &mut *self.lock();
        if slot.generation == place.generation
            && let Some(worker) = &slot.worker
        {
            // Where it cannot be sent, the worker is gone, and so is the network.
            let _ = worker.send(&Request::Close { network: place.network }, &self.config);
        }
    }

    /// After an answer to another question, that worker is not to be asked again.
    pub fn distrust(&self, file: &ModelFile) -> Error {
        self.lock().end();
        nonsense(file)
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nonsense(file: &ModelFile) -> Error {
    let how = "its process gives answers that make no sense".to_owned();
    Error::Crashed { file: file.path().to_owned(), how, detail: String::new() }
}

impl Slot {
    fn end(&mut self) {
        self.worker = None;
        self.program = None;
        self.generation += 1;
    }

    fn ready(&mut self, config: &WorkerConfig) -> Result<Runtime, Error> {
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(config)?,
        };
        let runtime = worker.ready(config)?;
        self.worker = Some(worker);
        Ok(runtime)
    }

    fn ask(
        &mut self,
        config: &WorkerConfig,
        asked: Asked<'_>,
        about: &ModelFile,
        file: Option<&ModelFile>,
    ) -> Result<(Answer, Vec<f32>), Error> {
        self.ready(config)?;
        let Some(worker) = self.worker.take() else { return Err(nonsense(about)) };
        let images = u32::try_from(asked.images.max(1)).unwrap_or(u32::MAX);
        let limit = config.timeout.saturating_mul(images);
        let mut patient = Patient::new(&worker.socket, limit, config);
        let file = file.map(AsFd::as_fd);
        let sent = protocol::send(&mut patient, &asked.request, &[asked.numbers], file);
        let answered = sent.and_then(|()| patient.answer());
        let gave_up = patient.gave_up.get();
        let path = about.path().to_owned();
        match (answered, gave_up) {
            (Ok(Some(Message { header: Answer::Failed(failure), .. })), _) => {
                self.worker = Some(worker);
                Err(failure.about(about.path()))
            }
            (Ok(Some(Message { header, numbers, .. })), _) => {
                self.worker = Some(worker);
                Ok((header, numbers))
            }
            (Err(_), Some(GaveUp::TimedOut)) => {
                self.end();
                Err(Error::TimedOut { file: path, seconds: limit.as_secs() })
            }
            (Err(_), Some(GaveUp::Cancelled)) => {
                self.end();
                let how = "it was ended, since the run was interrupted".to_owned();
                Err(Error::Crashed { file: path, how, detail: String::new() })
            }
            (Err(error), None) if error.kind() == io::ErrorKind::Other => {
                self.end();
                let how = format!("its process gives {error}");
                Err(Error::Crashed { file: path, how, detail: String::new() })
            }
            (Ok(None) | Err(_), _) => {
                self.end();
                let (how, detail) = worker.farewell();
                Err(Error::Crashed { file: path, how, detail })
            }
        }
    }
}

/// A running process. Dropping it kills it.
struct Worker {
    child: Child,
    socket: UnixStream,
    /// What it said of itself, once it is set up.
    runtime: Option<Runtime>,
    /// The end of what it has written to stderr.
    words: Option<JoinHandle<String>>,
}

impl Worker {
    fn start(config: &WorkerConfig) -> Result<Worker, Error> {
        let failed = |error| Error::io("start", &config.program)(error);
        let (socket, theirs) = UnixStream::pair().map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let mut command = Command::new(&config.program);
        command
            .env_clear()
            .envs(environment(config))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal goes to a whole group of processes: this one answers until
            // the run has ended in order.
            .process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        // Dropping the command closes the worker's end of the socket here.
        drop(command);
        let stderr = child.stderr.take();
        let words = stderr.map(|stderr| thread::spawn(move || last_words(stderr)));
        let worker = Worker { child, socket, runtime: None, words };
        let settings = config.settings.clone();
        let hello = Request::Hello { version: protocol::VERSION, settings };
        // If it is gone already, waiting for it says why.
        let _ = worker.send(&hello, config);
        Ok(worker)
    }

    fn send(&self, request: &Request, config: &WorkerConfig) -> io::Result<()> {
        let mut patient = Patient::new(&self.socket, config.timeout, config);
        protocol::send(&mut patient, request, &[], None)
    }

    /// Waits until it is set up.
    fn ready(&mut self, config: &WorkerConfig) -> Result<Runtime, Error> {
        if let Some(runtime) = &self.runtime {
            return Ok(runtime.clone());
        }
        let limit = config.timeout.max(FIRST_PATIENCE);
        let mut patient = Patient::new(&self.socket, limit, config);
        let broken = |how: String, words: &str| {
            let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            let what = match last {
                "" => format!("{} cannot be set up: {how}", config.program.display()),
                last => format!("{} cannot be set up: {last}", config.program.display()),
            };
            Error::usage_hint(what, "`actviz doctor` says which libtorch is used, and why")
        };
        match patient.answer() {
            Ok(Some(Message { header: Answer::Ready(runtime), .. })) => {
                self.runtime = Some(runtime.clone());
                Ok(runtime)
            }
            Ok(Some(Message { header: Answer::Failed(failure), .. })) => {
                Err(failure.about(&config.program))
            }
            Ok(Some(_)) => Err(broken("it gives answers that make no sense".to_owned(), "")),
            Err(_) if patient.gave_up.get() == Some(GaveUp::Cancelled) => {
                Err(broken("the run was interrupted".to_owned(), ""))
            }
            Err(_) if patient.gave_up.get() == Some(GaveUp::TimedOut) => {
                Err(broken(format!("it says nothing for {} seconds", limit.as_secs()), ""))
            }
            Ok(None) | Err(_) => {
                let (how, words) = self.last();
                Err(broken(how, &words))
            }
        }
    }

    /// How it ended, and its last words.
    fn farewell(mut self) -> (String, String) {
        self.last()
    }

    fn last(&mut self) -> (String, String) {
        // It has closed its socket, so it ends about now.
        let until = Instant::now() + FAREWELL;
        let status = loop {
            match self.child.try_wait().ok().flatten() {
                None if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
                status => break status,
            }
        };
        let how = status.map_or("its process stopped answering".to_owned(), how_it_ended);
        let _ = self.child.kill();
        let words = self.words.take().and_then(|words| words.join().ok()).unwrap_or_default();
        (how, words)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The variables of the worker: it is told what it needs, and nothing else.
fn environment(config: &WorkerConfig) -> Vec<(String, std::ffi::OsString)> {
    let mut variables: Vec<(String, std::ffi::OsString)> = INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)))
        .collect();
    let waits = [INHERITED[0], INHERITED[1]];
    if !variables.iter().any(|(name, _)| waits.contains(&name.as_str())) {
        variables.push((SPINS.0.to_owned(), SPINS.1.into()));
    }
    for (name, value) in &config.environment {
        variables.retain(|(other, _)| other != name);
        variables.push(((*name).to_owned(), value.into()));
    }
    let loader = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    // What the user has the loader search comes after: drivers of GPUs may lie there.
    let own = std::env::var_os(loader).unwrap_or_default();
    let own = std::env::split_paths(&own).filter(|folder| folder.is_absolute());
    let folders = std::iter::once(config.libtorch.folder.clone()).chain(own);
    let path = std::env::join_paths(folders);
    variables
        .push((loader.to_owned(), path.unwrap_or_else(|_| config.libtorch.folder.clone().into())));
    variables
}

/// Why an answer is not waited for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GaveUp {
    TimedOut,
    Cancelled,
}

/// A socket that is waited for no longer than it should be.
struct Patient<'a> {
    socket: &'a UnixStream,
    until: Instant,
    config: &'a WorkerConfig,
    cancelled: Cell<Option<Instant>>,
    gave_up: Cell<Option<GaveUp>>,
}

impl<'a> Patient<'a> {
    fn new(socket: &'a UnixStream, limit: Duration, config: &'a WorkerConfig) -> Patient<'a> {
        // A limit of centuries is none.
        let now = Instant::now();
        let until = now.checked_add(limit).unwrap_or(now + Duration::from_secs(1 << 30));
        let (cancelled, gave_up) = (Cell::new(None), Cell::new(None));
        Patient { socket, until, config, cancelled, gave_up }
    }

    fn answer(&mut self) -> io::Result<Option<Message<Answer>>> {
        self.wait(PollFlags::IN)?;
        protocol::receive(self, self.config.longest_answer)
    }

    fn wait(&self, for_what: PollFlags) -> io::Result<()> {
        const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            let mut fds = [PollFd::new(self.socket, for_what)];
            match poll(&mut fds, Some(&STEP)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let now = Instant::now();
            if (self.config.cancelled)() {
                let since = self.cancelled.get().unwrap_or(now);
                self.cancelled.set(Some(since));
                if now.duration_since(since) >= GRACE {
                    return Err(self.give_up(GaveUp::Cancelled));
                }
            }
            if now >= self.until {
                return Err(self.give_up(GaveUp::TimedOut));
            }
        }
    }

    fn give_up(&self, why: GaveUp) -> io::Error {
        self.gave_up.set(Some(why));
        io::ErrorKind::TimedOut.into()
    }

    /// Tries again when the socket is ready, as long as it is not.
    fn when_ready<T>(
        &self,
        for_what: PollFlags,
        mut step: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match step() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(for_what)?,
                done => return done,
            }
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut socket = self.socket;
        self.when_ready(PollFlags::IN, || socket.read(to))
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self.socket;
        self.when_ready(PollFlags::OUT, || socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsSocket for Patient<'_> {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
    if let Some(signal) = status.signal() {
        return format!("its process died of {}", signal_name(signal));
    }
    format!("its process ended by itself ({status})")
}

/// POSIX's names where the numbers are the same on all systems, Linux's for the rest.
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
        31 => "SIGSYS (it asked the system for what the sandbox refuses)",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}
