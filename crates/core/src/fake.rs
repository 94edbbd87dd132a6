//! An engine without libtorch, for tests that want milliseconds.
//!
//! Its networks pool the input: layer `n` sees the mean over the image's channels,
//! n times halved, as one channel or several. What comes out is small, exact and easy to foresee. Beside each
//! test on it stands one on the real engine.

use std::io::Write;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use ndarray::{Array2, Array3, ArrayView3, Axis, Slice};

use crate::engine::{
    Batch, Device, Engine, InputShape, LayerId, Network, OperatorUse, Output, Probe, Runtime,
    Source, Taps, Target,
};
use crate::error::Error;
use crate::graph::{Graph, Value};
use crate::layers::{Layer, Layout};
use crate::model_file::ModelFile;

/// What a fake network does.
#[derive(Clone, Debug)]
pub struct FakeNetwork {
    /// The operator of each spatial layer, in order; layer n is n times halved.
    pub operators: Vec<&'static str>,
    /// A vector layer at the end.
    pub vector: bool,
    /// What `input_channels` says.
    pub channels: Option<usize>,
    /// Refuses images whose first value is above this.
    pub refuses_above: f32,
    /// What a spatial layer's values are multiplied by.
    pub gain: f32,
    /// What is added to them then.
    pub shift: f32,
    /// The spatial layers' channels: the n-th is n times the first.
    pub channels_out: usize,
    /// Whether each channel has a pattern of its own instead.
    pub waves: bool,
    /// By how many places the channels are moved: the first one becomes this one.
    pub rotate: usize,
    /// A layer, from 1, that gives the same value everywhere.
    pub spoilt: Option<(usize, f32)>,
    /// What [`Network::graph`] has made.
    pub graph: OnceLock<Graph>,
}

impl Default for FakeNetwork {
    fn default() -> FakeNetwork {
        FakeNetwork {
            operators: vec!["relu"; 3],
            vector: true,
            channels: Some(3),
            refuses_above: f32::INFINITY,
            gain: 1.0,
            shift: 0.0,
            channels_out: 1,
            waves: false,
            rotate: 0,
            spoilt: None,
            graph: OnceLock::new(),
        }
    }
}

/// Opens [`FakeNetwork`]s by the file's path.
pub struct FakeEngine<F>(pub F);

impl<F> Engine for FakeEngine<F>
where
    F: Fn(&Path) -> Result<FakeNetwork, Error> + Sync,
{
    fn open(&self, file: &ModelFile, _taps: Taps) -> Result<Box<dyn Network>, Error> {
        Ok(Box::new(self.0(file.path())?))
    }

    fn audit(&self, _file: &ModelFile) -> Result<Vec<OperatorUse>, Error> {
        Ok(Vec::new())
    }

    fn runtime(&self) -> &Runtime {
        static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime {
            device: Device::Cpu,
            version: "fake".to_owned(),
            threads: 1,
            cpu_capability: "none".to_owned(),
            cuda: "none".to_owned(),
            sandbox: "none".to_owned(),
        });
        &RUNTIME
    }
}

impl FakeNetwork {
    fn list(&self, height: usize, width: usize) -> Vec<Layer> {
        let spatial = self.operators.iter().enumerate().map(|(n, operator)| Layer {
            name: format!("block{}.{operator}", n + 1),
            operator: (*operator).to_owned(),
            shape: vec![self.channels_out, (height >> n).max(1), (width >> n).max(1)],
            layout: Layout::ChannelsFirst,
            parameters: 10 * (n as u64 + 1),
        });
        let vector = self.vector.then(|| Layer {
            name: "head.relu".to_owned(),
            operator: "relu".to_owned(),
            shape: vec![4],
            layout: Layout::Flat,
            parameters: 1000,
        });
        spatial.chain(vector).collect()
    }

    /// Layer n reads layer n - 1 through a window of 2 x 2 that steps by 2.
    fn linked(&self) -> Graph {
        let count = self.operators.len();
        let spatial = (1..count).map(|n| Value {
            id: n,
            operator: "avg_pool2d".to_owned(),
            kernel: vec![2, 2],
            stride: vec![2, 2],
            padding: vec![0, 0],
            dilation: vec![1, 1],
            dimensions: None,
            sources: vec![Some(n - 1)],
        });
        let vector = self.vector.then(|| Value {
            id: count,
            operator: "flatten".to_owned(),
            dimensions: Some(vec![1]),
            sources: vec![Some(count.saturating_sub(1))],
            ..Value::default()
        });
        let taps = (0..count + usize::from(self.vector)).map(Some).collect();
        Graph { values: spatial.chain(vector).collect(), taps }
    }

    /// The channels of the n-th spatial layer (from 0), whose pooled input is `map`.
    fn channels(&self, n: usize, map: &Array2<f32>) -> Array3<f32> {
        let (height, width) = map.dim();
        let count = self.channels_out;
        Array3::from_shape_fn((count, height, width), |(channel, y, x)| {
            if let Some((layer, value)) = self.spoilt
                && layer == n + 1
            {
                return value;
            }
            let own = (channel + count - self.rotate % count) % count;
            let share = match self.waves {
                true => 1.0 + (0.3 * ((own / 2 + 1) * [x, y][own % 2]) as f32).cos(),
                false => (own + 1) as f32,
            };
            map[[y, x]] * share * self.gain + self.shift
        })
    }
}

impl Network for FakeNetwork {
    fn input_channels(&self) -> Option<usize> {
        self.channels
    }

    fn graph(&self) -> Option<&Graph> {
        Some(self.graph.get_or_init(|| self.linked()))
    }

    fn layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error> {
        Ok(self.list(input.height, input.width))
    }

    fn run(
        &mut self,
        batch: &Batch,
        probes: &[(LayerId, Probe)],
    ) -> Result<Vec<Vec<Output>>, Error> {
        let (_, _, height, width) = batch.images.dim();
        let layers = self.list(height, width);
        let fail = |message: String| Error::Run {
            file: "fake".into(),
            input: "a fake input".to_owned(),
            detail: message.clone(),
            message,
        };
        let run = |image: ArrayView3<'_, f32>| {
            if image[[0, 0, 0]] > self.refuses_above {
                return Err(fail("too bright".to_owned()));
            }
            let grey = image.mean_axis(Axis(0)).unwrap_or_default();
            let answer = |(name, probe): &(LayerId, Probe)| {
                let n = layers.iter().position(|layer| layer.name == *name);
                let n = n.ok_or_else(|| fail(format!("no layer {name}")))?;
                let is_picture = layers[n].layout != Layout::Flat;
                let channels = || self.channels(n, &halved(&grey, n));
                Ok(match *probe {
                    Probe::Gradient { of: Target::Unit { row, column }, wrt: Source::Input } => {
                        is_picture.then(|| gradient(n, (row, column), image.dim()))
                    }
                    _ if !is_picture => Some(Array3::ones((1, 2, 2))),
                    Probe::Channels => Some(channels()),
                    Probe::Reduced(how) => Some(how.apply(channels().view()).insert_axis(Axis(0))),
                })
            };
            probes.iter().map(answer).collect()
        };
        batch.images.outer_iter().map(run).collect()
    }
}

/// A gradient of layer `n` at this place (shares of height and width) by the image: its
/// energy lies evenly over the square that the layer's value is the mean of.
fn gradient(
    n: usize,
    (row, column): (f64, f64),
    (channels, height, width): (usize, usize, usize),
) -> Array3<f32> {
    let block = |at: f64, side: usize| ((at * (side >> n) as f64) as usize) << n;
    let (top, left) = (block(row, height), block(column, width));
    Array3::from_shape_fn((channels, height, width), |(channel, y, x)| {
        let is_inside = (top..top + (1 << n)).contains(&y) && (left..left + (1 << n)).contains(&x);
        f32::from(channel == 0 && is_inside)
    })
}

fn halved(map: &Array2<f32>, times: usize) -> Array2<f32> {
    (0..times).fold(map.clone(), |map, _| {
        let (height, width) = ((map.nrows() / 2).max(1), (map.ncols() / 2).max(1));
        Array2::from_shape_fn((height, width), |(y, x)| {
            let rows = Slice::from(2 * y..(2 * y + 2).min(map.nrows()));
            let columns = Slice::from(2 * x..(2 * x + 2).min(map.ncols()));
            let square = map.slice_axis(Axis(0), rows);
            square.slice_axis(Axis(1), columns).mean().unwrap_or_default()
        })
    })
}

/// Writes the smallest file that passes for a TorchScript archive: it has the
/// entries that [`crate::archive`] looks for, and no network. Its own name is in it: fake
/// networks go by the file's path, so files of two names are two networks.
///
/// # Errors
/// If the file cannot be written.
pub fn write_archive(file: &Path, extra: Option<&str>) -> std::io::Result<()> {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(file)?);
    let options = zip::write::SimpleFileOptions::default();
    for name in ["net/code/__torch__.py", "net/constants.pkl", "net/data.pkl"] {
        archive.start_file(name, options)?;
    }
    archive.write_all(file.file_name().unwrap_or_default().as_encoded_bytes())?;
    if let Some(text) = extra {
        archive.start_file(format!("net/extra/{}", crate::archive::EXTRA), options)?;
        archive.write_all(text.as_bytes())?;
    }
    archive.finish()?;
    Ok(())
}
