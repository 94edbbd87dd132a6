//! The worker: it answers until nobody asks any more.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;

use actviz_core::engine::{Batch, Device, Engine, Network};
use actviz_core::error::Error;
use actviz_core::model_file::ModelFile;
use actviz_core::protocol::{self, Answer, Failure, Message, NetworkId, Request, Settings};
use ndarray::Array4;

use crate::{TorchEngine, attempt, limits, sandbox};

/// Sets the engine up as the first message says, and answers what is asked on `socket`
/// until it is closed.
///
/// # Errors
/// If the socket breaks, or what is asked makes no sense.
pub fn serve(mut socket: UnixStream) -> io::Result<()> {
    limits::end_with_parent()?;
    let Some(Message { header, .. }) = protocol::receive::<Request>(&mut socket, 0)? else {
        return Ok(());
    };
    let engine = match header {
        Request::Hello { version: protocol::VERSION, settings } => set_up(&settings),
        Request::Hello { version, .. } => {
            let what = format!("actviz-torch is another build than actviz (protocol {version})");
            Err(Error::usage_hint(what, "build or install both anew: they come together"))
        }
        _ => return Err(io::Error::other("the first message is no greeting")),
    };
    match engine {
        Ok(engine) => {
            let ready = Answer::Ready(engine.runtime().clone());
            protocol::send(&mut socket, &ready, &[], None)?;
            answer_all(&engine, &mut socket)
        }
        Err(error) => protocol::send(&mut socket, &Answer::Failed(Failure::of(error)), &[], None),
    }
}

fn set_up(settings: &Settings) -> Result<TorchEngine, Error> {
    let landlock = settings.sandbox.then(sandbox::enter).transpose()?;
    let engine = TorchEngine::new(settings.device, settings.threads)?
        .computing_in(settings.precision)
        .allowing(&settings.allowed)
        .within(settings.most_unpacked);
    // CUDA reserves far more addresses than it uses.
    if engine.runtime().device == Device::Cpu
        && let Some(bytes) = settings.most_memory.or_else(limits::memory_of_machine)
    {
        limits::limit_memory(bytes)
            .map_err(Error::io("limit the memory of", "this process".as_ref()))?;
    }
    let Some(landlock) = landlock else { return Ok(engine.shut_in("off".to_owned())) };
    // How many threads there may be is asked for in files, so these start now.
    rayon::current_num_threads();
    let seccomp = sandbox::close(matches!(engine.runtime().device, Device::Cuda(_)))?;
    Ok(engine.shut_in(sandbox::State { landlock, seccomp }.to_string()))
}

fn answer_all(engine: &dyn Engine, socket: &mut UnixStream) -> io::Result<()> {
    let mut networks = HashMap::new();
    while let Some(message) = protocol::receive(socket, u64::MAX)? {
        match answer(engine, &mut networks, message) {
            Ok(Some((answer, numbers))) => {
                let parts: Vec<&[f32]> = numbers.iter().map(Vec::as_slice).collect();
                protocol::send(socket, &answer, &parts, None)?;
            }
            Ok(None) => {}
            Err(error) => {
                protocol::send(socket, &Answer::Failed(Failure::of(error)), &[], None)?;
            }
        }
    }
    Ok(())
}

type Numbers = Vec<Vec<f32>>;

fn answer(
    engine: &dyn Engine,
    networks: &mut HashMap<NetworkId, Box<dyn Network>>,
    Message { header, numbers, file }: Message<Request>,
) -> Result<Option<(Answer, Numbers)>, Error> {
    let sent = |name: &std::path::Path| match file {
        Some(file) => ModelFile::from_descriptor(name, file),
        None => Err(Error::usage("no file came with the question")),
    };
    let answer = match header {
        Request::Hello { .. } => return Err(Error::usage("the engine is set up already")),
        Request::Audit { name } => Answer::Audited(engine.audit(&sent(&name)?)?),
        Request::Attempt { name, attempt } => {
            Answer::Attempted(attempt::attempt(attempt, &sent(&name)?))
        }
        Request::Open { network, name, taps } => {
            let opened = engine.open(&sent(&name)?, taps)?;
            let (input_channels, graph) = (opened.input_channels(), opened.graph().cloned());
            networks.insert(network, opened);
            Answer::Opened { input_channels, graph }
        }
        Request::Close { network } => {
            networks.remove(&network);
            return Ok(None);
        }
        Request::Layers { network, input } => {
            Answer::Layers(open(networks, network)?.layers(input)?)
        }
        Request::Run { network, shape, fill, probes } => {
            let misshapen =
                |_| Error::usage("the numbers have not the shape that they should have");
            let images = Array4::from_shape_vec(shape, numbers).map_err(misshapen)?;
            let outputs = open(networks, network)?.run(&Batch { images, fill }, &probes)?;
            let shapes = protocol::shapes(&outputs);
            let arrays = outputs.into_iter().flatten().flatten();
            let numbers = arrays.map(|array| array.into_iter().collect()).collect();
            return Ok(Some((Answer::Outputs(shapes), numbers)));
        }
    };
    Ok(Some((answer, Vec::new())))
}

fn open(
    networks: &mut HashMap<NetworkId, Box<dyn Network>>,
    network: NetworkId,
) -> Result<&mut Box<dyn Network>, Error> {
    networks.get_mut(&network).ok_or_else(|| Error::usage("no network was opened"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::path::Path;

    use actviz_core::engine::{InputShape, Probe, Taps};
    use actviz_core::fake::{FakeEngine, FakeNetwork};

    use super::*;

    #[test]
    fn each_question_gets_one_answer_and_an_error_ends_nothing() {
        let engine = FakeEngine(|_: &Path| Ok(FakeNetwork::default()));
        let (mut asking, mut answering) = UnixStream::pair().expect("sockets");
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("net.pt");
        std::fs::write(&path, b"net").expect("a file");
        let file = File::open(&path).expect("open");
        let name = path.clone();
        let open = Request::Open { network: 7, name, taps: Taps::Activations };
        let run = |name: &str| Request::Run {
            network: 7,
            shape: [2, 3, 4, 4],
            fill: 2,
            probes: vec![(name.to_owned(), Probe::Channels)],
        };
        let input = InputShape { channels: 3, height: 4, width: 4 };
        let batch = vec![0.5; 2 * 3 * 4 * 4];
        protocol::send(&mut asking, &open, &[], Some(file.as_fd())).expect("sent");
        for (request, numbers) in [
            (open.clone(), &[][..]),
            (Request::Layers { network: 7, input }, &[]),
            (Request::Layers { network: 8, input }, &[]),
            (run("no such layer"), &batch),
            (run("block2.relu"), &batch[1..]),
            (run("block2.relu"), &batch),
            (Request::Close { network: 7 }, &[]),
            (Request::Layers { network: 7, input }, &[]),
        ] {
            protocol::send(&mut asking, &request, &[numbers], None).expect("sent");
        }
        asking.shutdown(std::net::Shutdown::Write).expect("closed");
        answer_all(&engine, &mut answering).expect("served");
        drop(answering);

        let mut next = || protocol::receive::<Answer>(&mut asking, 1 << 20).expect("readable");
        let mut header = || next().map(|message| message.header);
        assert!(matches!(header(), Some(Answer::Opened { input_channels: Some(3), .. })));
        assert!(matches!(header(), Some(Answer::Failed(_))), "a file has to come with it");
        assert!(matches!(header(), Some(Answer::Layers(layers)) if layers.len() == 4));
        assert!(matches!(header(), Some(Answer::Failed(_))));
        assert!(matches!(header(), Some(Answer::Failed(Failure::Run { .. }))));
        assert!(matches!(header(), Some(Answer::Failed(_))));
        let outputs = next().expect("outputs");
        assert_eq!(outputs.header, Answer::Outputs(vec![Some([1, 2, 2]); 2]));
        assert_eq!(outputs.numbers, [0.5; 8]);
        assert!(matches!(next().map(|m| m.header), Some(Answer::Failed(_))), "it was closed");
        assert!(next().is_none());
    }
}
