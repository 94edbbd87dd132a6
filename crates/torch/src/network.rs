//! Running a loaded network, with a look at each activation.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use actviz_core::archive::Program;
use actviz_core::engine::{
    Batch, Device, InputShape, LayerId, Network, Output, Precision, Probe, Source, Taps, Target,
};
use actviz_core::error::Error;
use actviz_core::graph::Graph;
use actviz_core::layers::{Layer, Tokens};
use actviz_core::model_file::ModelFile;
use ndarray::{Array3, Array4, Axis};
use tch::{TchError, Tensor};

use super::audit;
use super::capture::{self, Capture, Picture};
use super::device;
use super::ffi::{self, Handle};
use super::gradient;
use super::network_cache::{CachedNetwork, NetworkCache};
use super::prepared::{Batching, Maps, Memory, Node, Origin, PreparedNetwork, sizes_of};
use super::records::Records;

/// Whether a run remembers what gradients need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gradients {
    /// Faster, with less memory.
    #[default]
    Off,
    /// The tensors that taps and outputs give can be differentiated, as far as they
    /// depend on an input that requires gradients. Weights are constants.
    On,
}

/// An activation while it is executed.
#[derive(Clone, Copy, Debug)]
pub struct Tap<'a> {
    /// The layer's name in this run.
    pub name: &'a str,
    /// How many layers were executed before it in this run.
    pub position: usize,
    /// The call in the network's code.
    pub node: &'a Node,
    /// What its tensor is if it is a sequence of tokens.
    pub tokens: Tokens,
}

/// A TorchScript network with a tap after every activation. Weights are f32, or bf16 if
/// the engine says so.
pub struct TorchNetwork {
    origin: Origin,
    loaded: CachedNetwork,
}

impl TorchNetwork {
    pub(super) fn load(
        file: &ModelFile,
        device: Device,
        precision: Precision,
        taps: Taps,
        allowed: &[String],
        cache: &NetworkCache,
    ) -> Result<TorchNetwork, Error> {
        let origin = Origin { file: file.path().to_owned(), device };
        let program = Program::of(file)?;
        let records = Records::of(file)?;
        let loaded = match cache.take(&program, taps) {
            Some(loaded) => loaded.refilled(&records, &origin)?,
            None => {
                let handle = audit::unpacking(&records, |unpack| {
                    let allowed = ffi::c_lines(allowed)?;
                    let all = taps == Taps::Operators;
                    let bf16 = precision == Precision::Bf16;
                    let (file, device) = (file.as_fd(), device::number(device));
                    Handle::load(file, device, bf16, all, &allowed, unpack)
                })?;
                let handle = handle.map_err(|detail| origin.load_error(detail))?;
                PreparedNetwork::new(handle, &origin, (program, taps))?
            }
        };
        file.check_unchanged()?;
        Ok(TorchNetwork { origin, loaded: cache.lend(loaded) })
    }

    /// The activation calls in the network's code, those in dead branches included.
    pub fn nodes(&self) -> &[Node] {
        &self.loaded.nodes
    }

    /// Runs the network on images (N, C, H, W; f32, already normalised), calls `look`
    /// with each activation's tensor as it is executed, and returns the tensors of the
    /// result in order (a tuple's, list's or dict's elements).
    ///
    /// The tensor is the network's own: an in-place operator may change it as soon as
    /// `look` has returned, so keep a copy (or, with gradients, a `shallow_clone`).
    ///
    /// # Errors
    /// [`Error::Run`] if the network fails, and whatever `look` returns.
    pub fn forward_with(
        &mut self,
        images: &Tensor,
        gradients: Gradients,
        mut look: impl FnMut(Tap<'_>, &Tensor) -> Result<(), Error>,
    ) -> Result<Vec<Tensor>, Error> {
        let PreparedNetwork { handle, nodes, .. } = &mut *self.loaded;
        let mut namer = Namer::default();
        let mut failure = None;
        let mut position = 0;
        let mut maps = Maps::default();
        let mut tap = |index: usize, tensor: Tensor| {
            let Some(node) = nodes.get(index) else {
                maps.note(index - nodes.len(), &tensor.size());
                return ControlFlow::Continue(());
            };
            let name = namer.name(&node.name);
            let tokens = maps.tokens(node.tokens);
            let seen = look(Tap { name: &name, position, node, tokens }, &tensor);
            position += 1;
            match seen {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let result = handle.run(images, gradients == Gradients::On, &mut tap);
        if let Some(error) = failure {
            return Err(error);
        }
        result.map_err(|detail| self.origin.run_error(images, detail))
    }

    /// Runs the images as one batch and collects what is wanted of the layers.
    fn run_together(
        &mut self,
        images: &Tensor,
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<Vec<Array3<f32>>>, Error> {
        let count = batch_of(images);
        let input = pixels_of(images);
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, (name, _)) in wanted.iter().enumerate() {
            places.entry(name).or_default().push(place);
        }
        let mut found: Vec<Option<Tensor>> = wanted.iter().map(|_| None).collect();
        let origin = self.origin.clone();
        let failed = |name: &str, error: TchError| {
            origin.failed(images, format!("its layer {name} cannot be read"), error.to_string())
        };
        self.forward_with(images, Gradients::Off, |tap, tensor| {
            let Some(places) = places.get(tap.name) else { return Ok(()) };
            let picture = Picture::of(tensor, &tap, count, input);
            for place in places {
                let taken = capture::take(tensor, &picture, wanted[*place].1, count);
                found[*place] = Some(taken.map_err(|error| failed(tap.name, error))?);
            }
            Ok(())
        })?;
        let mut layers = Vec::with_capacity(wanted.len());
        for ((name, _), tensor) in wanted.iter().zip(found) {
            let Some(tensor) = tensor else {
                let message = format!("it did not execute the layer {name}");
                return Err(origin.failed(images, message.clone(), message));
            };
            layers.push(capture::arrays(&tensor).map_err(|error| failed(name, error))?);
        }
        Ok(transposed(layers, count))
    }

    /// Lays the filters out channels last or as they were, and says what is so now.
    fn lay_out(&mut self, channels_last: bool) -> Memory {
        match self.loaded.handle.use_channels_last(channels_last) {
            Ok(()) if channels_last => Memory::ChannelsLast,
            _ => Memory::AsSavedForGood,
        }
    }

    fn failed_to_hand_over(&self, images: &Tensor, error: TchError) -> Error {
        self.origin.not_handed_over(sizes_of(images), error.to_string())
    }

    fn tensor_error(&self, batch: &Array4<f32>, error: TchError) -> Error {
        let (_, channels, height, width) = batch.dim();
        self.origin.not_handed_over(format!("{channels}x{height}x{width}"), error.to_string())
    }

    fn run_one_by_one(
        &mut self,
        images: &Tensor,
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<Vec<Array3<f32>>>, Error> {
        let mut results = Vec::new();
        for index in 0..images.size()[0] {
            let image = images.f_narrow(0, index, 1);
            let image = image.map_err(|error| self.failed_to_hand_over(images, error))?;
            results.extend(self.run_together(&image, wanted)?);
        }
        Ok(results)
    }

    /// Runs the network once, and sees what it runs.
    fn look_for_layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error> {
        let InputShape { channels, height, width } = input;
        let image = ramp(input).map_err(|error| {
            let sizes = format!("{channels}x{height}x{width}");
            self.origin.not_handed_over(sizes, error.to_string())
        })?;
        let mut layers = Vec::new();
        let mut all_in_batch = true;
        self.forward_with(&image, Gradients::Off, |tap, tensor| {
            let picture = Picture::of(tensor, &tap, 1, (height, width));
            all_in_batch &= picture.is_per_image || !tap.node.depends_on_input;
            layers.push(Layer {
                name: tap.name.to_owned(),
                operator: tap.node.operator.clone(),
                shape: picture.layout.picture_shape(&picture.shape),
                layout: picture.layout,
                parameters: tap.node.parameters,
            });
            Ok(())
        })?;
        if layers.is_empty() {
            return Err(Error::NoActivations { file: self.origin.file.clone() });
        }
        if self.loaded.batching == Batching::Unknown {
            self.loaded.batching = if all_in_batch { Batching::Together } else { Batching::Single };
        }
        Ok(layers)
    }
}

impl Network for TorchNetwork {
    fn graph(&self) -> Option<&Graph> {
        self.loaded.graph.as_ref()
    }

    fn input_channels(&self) -> Option<usize> {
        usize::try_from(self.loaded.handle.input_channels()).ok().filter(|&channels| channels > 0)
    }

    fn layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error> {
        // What the input's values decide, another input decides otherwise.
        if self.loaded.handle.is_data_dependent() {
            return self.look_for_layers(input);
        }
        let known = self.loaded.layers.iter().find(|(of, _)| *of == input);
        if let Some((_, layers)) = known {
            return Ok(layers.clone());
        }
        let layers = self.look_for_layers(input)?;
        self.loaded.layers.push((input, layers.clone()));
        Ok(layers)
    }

    fn run(
        &mut self,
        batch: &Batch,
        probes: &[(LayerId, Probe)],
    ) -> Result<Vec<Vec<Output>>, Error> {
        let wanted: Vec<Wanted<'_>> = probes.iter().filter_map(capture_of).collect();
        let units: Vec<Unit<'_>> = probes.iter().filter_map(unit_of).collect();
        let images = batch.images.outer_iter();
        let mut gradients = match units.is_empty() {
            true => Vec::new(),
            false => images
                .map(|image| self.gradients(&image.to_owned(), &units))
                .collect::<Result<_, _>>()?,
        };
        if units.len() == probes.len() {
            return Ok(gradients);
        }
        let captured = self.run_batch(batch, &wanted)?;
        let in_order = |(image, maps): (usize, Vec<Array3<f32>>)| {
            let mut maps = maps.into_iter();
            let mut gradients =
                gradients.get_mut(image).map(std::mem::take).unwrap_or_default().into_iter();
            let output = |probe: &(LayerId, Probe)| match probe.1 {
                Probe::Gradient { .. } => gradients.next().flatten(),
                Probe::Channels | Probe::Reduced(_) => maps.next(),
            };
            probes.iter().map(output).collect()
        };
        Ok(captured.into_iter().enumerate().map(in_order).collect())
    }
}

/// What is to be copied of a layer.
type Wanted<'a> = (&'a str, Capture);

fn capture_of((name, probe): &(LayerId, Probe)) -> Option<Wanted<'_>> {
    match probe {
        Probe::Channels => Some((name, Capture::Channels)),
        Probe::Reduced(reduce) => Some((name, Capture::Reduced(*reduce))),
        Probe::Gradient { .. } => None,
    }
}

/// A position of a layer (shares of its height and width) whose gradient is wanted.
type Unit<'a> = (&'a str, (f64, f64));

fn unit_of((name, probe): &(LayerId, Probe)) -> Option<Unit<'_>> {
    match probe {
        Probe::Gradient { of: Target::Unit { row, column }, wrt: Source::Input } => {
            Some((name, (*row, *column)))
        }
        Probe::Channels | Probe::Reduced(_) => None,
    }
}

impl TorchNetwork {
    /// The gradients of these units by one image.
    fn gradients(&mut self, image: &Array3<f32>, units: &[Unit<'_>]) -> Result<Vec<Output>, Error> {
        let batch = image.view().insert_axis(Axis(0)).to_owned();
        let image = capture::tensor(&batch).map_err(|error| self.tensor_error(&batch, error))?;
        let input = pixels_of(&image);
        let image = image.f_set_requires_grad(true);
        let image = image.map_err(|error| self.tensor_error(&batch, error))?;
        let wanted: HashSet<&str> = units.iter().map(|(name, _)| *name).collect();
        let mut sums: HashMap<String, Option<Tensor>> = HashMap::new();
        let origin = self.origin.clone();
        let run = self.forward_with(&image, Gradients::On, |tap, tensor| {
            if wanted.contains(tap.name) {
                let picture = Picture::of(tensor, &tap, 1, input);
                let sum = gradient::sum(tensor, &picture).map_err(|error| {
                    let message = format!("its layer {} cannot be read", tap.name);
                    origin.failed(&image, message, error.to_string())
                })?;
                sums.insert(tap.name.to_owned(), sum);
            }
            Ok(())
        });
        match run {
            // It runs without gradients: what it does is not for autograd (`out=`, a view
            // that is written to).
            Err(Error::Run { .. }) => return Ok(vec![None; units.len()]),
            other => other?,
        };
        let of_unit = |(name, place): &Unit<'_>| {
            let Some(sum) = sums.get(*name).and_then(Option::as_ref) else { return Ok(None) };
            match gradient::by_input(sum, &image, *place) {
                // The other layers' gradients can still be had.
                Err(error) if gradient::is_overwritten(&error) => Ok(None),
                found => found.map_err(|error| {
                    let message = format!("the gradients of its layer {name} cannot be had");
                    self.origin.failed(&image, message, error.to_string())
                }),
            }
        };
        units.iter().map(of_unit).collect()
    }

    /// Runs a batch as it is best run.
    fn run_batch(
        &mut self,
        batch: &Batch,
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<Vec<Array3<f32>>>, Error> {
        let Batch { images: batch, fill } = batch;
        let (count, channels, height, width) = batch.dim();
        let images = capture::tensor(batch).map_err(|error| self.tensor_error(batch, error))?;
        let filled = count.max(*fill);
        if filled > 1 && self.loaded.batching == Batching::Unknown {
            self.layers(InputShape { channels, height, width })?;
        }
        if filled <= 1 || self.loaded.batching == Batching::Single {
            return self.run_one_by_one(&images, wanted);
        }
        let batch = capture::filled(&images, filled);
        let batch = batch.map_err(|error| self.failed_to_hand_over(&images, error))?;
        if self.loaded.memory == Memory::AsSaved {
            self.loaded.memory = self.lay_out(true);
        }
        let mut results = self.run_together(&batch, wanted);
        if results.is_err() && self.loaded.memory == Memory::ChannelsLast {
            // Code such as `x.view(len(x), -1)` knows the layout that it was written for.
            self.loaded.memory = self.lay_out(false);
            results = self.run_together(&batch, wanted);
        }
        let mut results = results.or_else(|_| {
            // A traced network may know one image only, or the batch is too much for the
            // memory.
            let results = self.run_one_by_one(&images, wanted)?;
            self.loaded.batching = Batching::Single;
            Ok(results)
        })?;
        results.truncate(count);
        Ok(results)
    }
}

/// Gives the layers of one run their names, in the order of execution.
#[derive(Default)]
struct Namer {
    calls: HashMap<String, usize>,
    given: HashSet<String>,
}

impl Namer {
    fn name(&mut self, base: &str) -> String {
        let calls = self.calls.entry(base.to_owned()).or_default();
        loop {
            let name = match *calls {
                0 => base.to_owned(),
                calls => format!("{base}_{calls}"),
            };
            *calls += 1;
            // A module may be called `relu_1` itself.
            if self.given.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// An artificial picture. Neither constant nor zero, so that no division by a norm or a
/// deviation gives NaN, on which a branch might depend.
fn ramp(input: InputShape) -> Result<Tensor, TchError> {
    let sizes = [1, input.channels, input.height, input.width].map(|dim| dim as i64);
    // More than can be counted is more than there is memory.
    let count = sizes.iter().try_fold(1_i64, |count, dim| count.checked_mul(*dim));
    let count = count.ok_or_else(|| TchError::Shape("not enough memory".to_owned()))?;
    // tch panics when an operator with numbers among its arguments fails: so it is asked
    // without any first whether there is the memory.
    drop(Tensor::f_empty([count], tch::kind::FLOAT_CPU)?);
    Tensor::f_linspace(-2.0, 2.0, count, tch::kind::FLOAT_CPU)?.f_reshape(sizes)
}

fn batch_of(images: &Tensor) -> usize {
    images.size().first().map_or(0, |&count| count as usize)
}

fn pixels_of(images: &Tensor) -> (usize, usize) {
    match images.size()[..] {
        [_, _, height, width] => (height as usize, width as usize),
        _ => (0, 0),
    }
}

/// From layers of images to images of layers.
fn transposed(layers: Vec<Vec<Array3<f32>>>, images: usize) -> Vec<Vec<Array3<f32>>> {
    let mut result: Vec<Vec<_>> = (0..images).map(|_| Vec::with_capacity(layers.len())).collect();
    for layer in layers {
        for (image, map) in result.iter_mut().zip(layer) {
            image.push(map);
        }
    }
    result
}
