//! An engine without libtorch, for tests that want milliseconds.
//!
//! Its networks pool the input: layer `n` sees the mean over the image's channels,
//! n times halved, as one channel or several. What comes out is small, exact and easy to foresee. Beside each
//! test on it stands one on the real engine.

use std::io::Write;
use std::path::Path;

use ndarray::{Array2, Array3, Array4, Axis, s};

use crate::engine::{Device, Engine, InputShape, Network, Take, Use};
use crate::error::Error;
use crate::layers::{Layer, Layout};
use crate::maps;

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
        }
    }
}

/// Opens [`FakeNetwork`]s by the file's path.
pub struct FakeEngine<F>(pub F);

impl<F> Engine for FakeEngine<F>
where
    F: Fn(&Path) -> Result<FakeNetwork, Error> + Sync,
{
    fn open(&self, file: &Path) -> Result<Box<dyn Network>, Error> {
        Ok(Box::new(self.0(file)?))
    }

    fn open_operators(&self, file: &Path) -> Result<Box<dyn Network>, Error> {
        self.open(file)
    }

    fn audit(&self, _file: &Path) -> Result<Vec<Use>, Error> {
        Ok(Vec::new())
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn version(&self) -> String {
        "fake".to_owned()
    }

    fn threads(&self) -> usize {
        1
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

    fn structure(&self) -> String {
        // Layer n reads layer n - 1 through a window of 2 x 2 that steps by 2.
        let spatial = (1..self.operators.len()).flat_map(|n| {
            [format!("value {n} avg_pool2d 2,2 2,2 0,0 1,1 - : {}", n - 1), format!("tap {n}")]
        });
        let head = self.operators.len();
        let vector = [
            format!("value {head} flatten - - - - 1 : {}", head.saturating_sub(1)),
            format!("tap {head}"),
        ];
        let lines = ["tap 0".to_owned()].into_iter().chain(spatial);
        lines.chain(vector.into_iter().filter(|_| self.vector)).collect::<Vec<String>>().join("\n")
    }

    fn gradients(
        &mut self,
        image: &Array3<f32>,
        wanted: &[String],
        places: &[(f64, f64)],
    ) -> Result<Vec<Vec<Array2<f32>>>, Error> {
        let (_, height, width) = image.dim();
        let layers = self.list(height, width);
        let energy = |n: usize, (row, column): (f64, f64)| {
            // Evenly over the square that the layer's value is the mean of.
            let block = |at: f64, side: usize| ((at * (side >> n) as f64) as usize) << n;
            let (top, left) = (block(row, height), block(column, width));
            Array2::from_shape_fn((height, width), |(y, x)| {
                let inside = (top..top + (1 << n)).contains(&y);
                f32::from(inside && (left..left + (1 << n)).contains(&x))
            })
        };
        let maps = |name: &String| {
            let n = layers.iter().position(|layer| layer.name == *name && layer.is_spatial());
            n.map_or(Vec::new(), |n| places.iter().map(|place| energy(n, *place)).collect())
        };
        Ok(wanted.iter().map(maps).collect())
    }

    fn layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error> {
        Ok(self.list(input.height, input.width))
    }

    fn fill_batches(&mut self, _images: usize) {}

    fn run(
        &mut self,
        batch: &Array4<f32>,
        wanted: &[String],
        take: Take,
    ) -> Result<Vec<Vec<Array3<f32>>>, Error> {
        let layers = self.list(batch.len_of(Axis(2)), batch.len_of(Axis(3)));
        let fail = |message: String| Error::Run {
            file: "fake".into(),
            input: "a fake input".to_owned(),
            detail: message.clone(),
            message,
        };
        batch
            .outer_iter()
            .map(|image| {
                if image[[0, 0, 0]] > self.refuses_above {
                    return Err(fail("too bright".to_owned()));
                }
                let grey = image.mean_axis(Axis(0)).unwrap_or_default();
                wanted
                    .iter()
                    .map(|name| {
                        let n = layers.iter().position(|layer| layer.name == *name);
                        let n = n.ok_or_else(|| fail(format!("no layer {name}")))?;
                        if layers[n].layout == Layout::Flat {
                            return Ok(Array3::ones((1, 2, 2)));
                        }
                        let channels = self.channels(n, &halved(&grey, n));
                        Ok(match take {
                            Take::Channels => channels,
                            Take::Reduced(how) => {
                                maps::reduce(channels.view(), how).insert_axis(Axis(0))
                            }
                        })
                    })
                    .collect()
            })
            .collect()
    }
}

fn halved(map: &Array2<f32>, times: usize) -> Array2<f32> {
    (0..times).fold(map.clone(), |map, _| {
        let (height, width) = ((map.nrows() / 2).max(1), (map.ncols() / 2).max(1));
        Array2::from_shape_fn((height, width), |(y, x)| {
            map.slice(s![2 * y..(2 * y + 2).min(map.nrows()), 2 * x..(2 * x + 2).min(map.ncols())])
                .mean()
                .unwrap_or_default()
        })
    })
}

/// Writes the smallest file that passes for a TorchScript archive: it has the
/// entries that [`crate::archive`] looks for, and no network.
///
/// # Errors
/// If the file cannot be written.
pub fn write_archive(file: &Path, extra: Option<&str>) -> std::io::Result<()> {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(file)?);
    let options = zip::write::SimpleFileOptions::default();
    for name in ["net/code/__torch__.py", "net/constants.pkl", "net/data.pkl"] {
        archive.start_file(name, options)?;
    }
    if let Some(text) = extra {
        archive.start_file(format!("net/extra/{}", crate::archive::EXTRA), options)?;
        archive.write_all(text.as_bytes())?;
    }
    archive.finish()?;
    Ok(())
}
