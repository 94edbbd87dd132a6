//! The process of one network: it answers until nobody asks any more.

use std::io::{self, Read, Write};
use std::path::Path;

use ndarray::{Array3, Array4};

use super::protocol::{self, Answer, Failure, Request};
use crate::engine::{Engine, Network};
use crate::error::Error;

/// Answers what `input` asks about the network in `file` on `output`, until `input` ends.
///
/// # Errors
/// If the pipes break.
pub fn serve(
    engine: &dyn Engine,
    file: &Path,
    mut input: impl Read,
    mut output: impl Write,
) -> io::Result<()> {
    let mut network = None;
    while let Some((request, numbers)) = protocol::receive(&mut input, u64::MAX)? {
        let (answer, numbers) = match answer(engine, file, &mut network, request, numbers) {
            Ok((answer, numbers)) => (answer, numbers),
            Err(error) => (Answer::Failed(Failure::of(error)), Vec::new()),
        };
        protocol::send(&mut output, &answer, numbers.into_iter())?;
    }
    Ok(())
}

fn answer(
    engine: &dyn Engine,
    file: &Path,
    network: &mut Option<Box<dyn Network>>,
    request: Request,
    numbers: Vec<f32>,
) -> Result<(Answer, Vec<f32>), Error> {
    match request {
        Request::Audit => return Ok((Answer::Audited(engine.audit(file)?), Vec::new())),
        Request::Open { operators: false } => *network = Some(engine.open(file)?),
        Request::Open { operators: true } => *network = Some(engine.open_operators(file)?),
        _ => {}
    }
    let network = network.as_mut().ok_or_else(|| Error::usage("no network was opened"))?;
    let misshapen = |_| Error::usage("the numbers have not the shape that they should have");
    Ok(match request {
        Request::Audit | Request::Open { .. } => {
            let (input_channels, structure) = (network.input_channels(), network.structure());
            (Answer::Opened { input_channels, structure }, Vec::new())
        }
        Request::Gradients { shape, wanted, places } => {
            let image = Array3::from_shape_vec(shape, numbers).map_err(misshapen)?;
            let maps = network.gradients(&image, &wanted, &places)?;
            let shapes = maps.iter().map(|maps| maps.iter().map(|map| map.dim().into()).collect());
            let shapes = Answer::Gradients(shapes.collect());
            (shapes, maps.iter().flatten().flatten().copied().collect())
        }
        Request::Layers(input) => (Answer::Layers(network.layers(input)?), Vec::new()),
        Request::Run { shape, fill, wanted, take } => {
            network.fill_batches(fill);
            let batch = Array4::from_shape_vec(shape, numbers).map_err(misshapen)?;
            let maps = network.run(&batch, &wanted, take)?;
            let shapes = Answer::Maps(maps.iter().flatten().map(|map| map.dim().into()).collect());
            (shapes, maps.iter().flatten().flatten().copied().collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{InputShape, Take};
    use crate::fake::{FakeEngine, FakeNetwork};

    #[test]
    fn each_question_gets_one_answer_and_an_error_ends_nothing() {
        let engine = FakeEngine(|_: &Path| Ok(FakeNetwork::default()));
        let run = |name: &str| Request::Run {
            shape: [2, 3, 4, 4],
            fill: 2,
            wanted: vec![name.to_owned()],
            take: Take::Channels,
        };
        let input = InputShape { channels: 3, height: 4, width: 4 };
        let batch = vec![0.5; 2 * 3 * 4 * 4];
        let mut asked = Vec::new();
        for (request, numbers) in [
            (Request::Open { operators: false }, &[][..]),
            (Request::Layers(input), &[]),
            (run("no such layer"), &batch),
            (run("block2.relu"), &batch[1..]),
            (run("block2.relu"), &batch),
        ] {
            protocol::send(&mut asked, &request, numbers.iter().copied()).expect("sent");
        }
        let mut answered = Vec::new();
        serve(&engine, Path::new("net.pt"), asked.as_slice(), &mut answered).expect("served");

        let mut answered = answered.as_slice();
        let mut next = || protocol::receive::<Answer>(&mut answered, 1 << 20).expect("readable");
        assert!(matches!(next(), Some((Answer::Opened { input_channels: Some(3), .. }, _))));
        assert!(matches!(next(), Some((Answer::Layers(layers), _)) if layers.len() == 4));
        assert!(matches!(next(), Some((Answer::Failed(Failure::Run { .. }), _))));
        assert!(matches!(next(), Some((Answer::Failed(_), _))));
        let Some((Answer::Maps(shapes), numbers)) = next() else { unreachable!("maps") };
        assert_eq!(shapes, [[1, 2, 2]; 2]);
        assert_eq!(numbers, [0.5; 8]);
        assert!(next().is_none());
    }
}
