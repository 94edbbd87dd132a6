//! A network in a worker, seen from here.

use std::sync::Arc;

use actviz_core::engine::{Batch, InputShape, LayerId, Network, Output, Probe, Taps};
use actviz_core::graph::Graph;
use actviz_core::layers::Layer;
use actviz_core::model_file::ModelFile;
use actviz_core::protocol::{self, Answer, Request};

use super::process::{Asked, Place, Shared};
use crate::error::Error;

/// A network that a worker runs. If that worker has ended, it is opened again in the next.
pub(super) struct WorkerNetwork {
    shared: Arc<Shared>,
    file: ModelFile,
    taps: Taps,
    place: Place,
    input_channels: Option<usize>,
    graph: Option<Graph>,
}

impl WorkerNetwork {
    pub fn open(shared: &Arc<Shared>, file: &ModelFile, taps: Taps) -> Result<Self, Error> {
        match shared.open(file, taps)? {
            (place, Answer::Opened { input_channels, graph }) => Ok(WorkerNetwork {
                shared: Arc::clone(shared),
                file: file.clone(),
                taps,
                place,
                input_channels,
                graph,
            }),
            _ => Err(shared.distrust(file)),
        }
    }

    /// Asks, after opening the network again where that is needed.
    fn ask(
        &mut self,
        request: impl Fn(protocol::NetworkId) -> Request,
        numbers: &[f32],
        images: usize,
    ) -> Result<(Answer, Vec<f32>), Error> {
        let asked = |place: Place| Asked { request: request(place.network), numbers, images };
        if let Some(answer) = self.shared.ask(self.place, asked(self.place), &self.file) {
            return answer;
        }
        (self.place, _) = self.shared.open(&self.file, self.taps)?;
        let answer = self.shared.ask(self.place, asked(self.place), &self.file);
        answer.unwrap_or_else(|| Err(self.shared.distrust(&self.file)))
    }
}

impl Network for WorkerNetwork {
    fn input_channels(&self) -> Option<usize> {
        self.input_channels
    }

    fn layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error> {
        match self.ask(|network| Request::Layers { network, input }, &[], 1)? {
            (Answer::Layers(layers), _) => Ok(layers),
            _ => Err(self.shared.distrust(&self.file)),
        }
    }

    fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    fn run(
        &mut self,
        batch: &Batch,
        probes: &[(LayerId, Probe)],
    ) -> Result<Vec<Vec<Output>>, Error> {
        let count = batch.count();
        let images = batch.images.as_standard_layout();
        let request = |network| Request::Run {
            network,
            shape: batch.images.dim().into(),
            fill: batch.fill,
            probes: probes.to_vec(),
        };
        // A gradient takes about as long as an image.
        let is_gradient = |(_, probe): &&(LayerId, Probe)| matches!(probe, Probe::Gradient { .. });
        let runs = 1 + probes.iter().filter(is_gradient).count();
        let patience = count.max(batch.fill).saturating_mul(runs);
        let outputs = match self.ask(request, images.as_slice().unwrap_or_default(), patience)? {
            (Answer::Outputs(shapes), numbers) => {
                protocol::outputs(&shapes, &numbers, count, probes.len())
            }
            _ => None,
        };
        outputs.ok_or_else(|| self.shared.distrust(&self.file))
    }
}

impl Drop for WorkerNetwork {
    fn drop(&mut self) {
        self.shared.close(self.place);
    }
}
