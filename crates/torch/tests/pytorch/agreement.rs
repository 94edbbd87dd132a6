//! A TorchScript file, what PyTorch computed for it, and the comparison of both.
//!
//! See tests/fixtures/reference.py for the format.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use actviz_core::engine::{Batch, Device, DeviceChoice, InputShape, Network, Probe, Reduce};
use actviz_core::error::Error;
use actviz_core::layers::{Layer, Layout, matrix};
use actviz_core::model_file::ModelFile;
use actviz_torch::{Gradients, TorchEngine, TorchNetwork};
use ndarray::{Array3, Array4, ArrayD, Axis, Ix3, Ix4};
use serde::Deserialize;
use tch::Tensor;

/// Largest difference to PyTorch, as a share of the layer's largest value.
pub const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
pub struct Case {
    pub kinds: Vec<String>,
    pub images: Vec<ExpectedImage>,
}

#[derive(Deserialize)]
pub struct ExpectedImage {
    pub layers: Vec<ExpectedLayer>,
    pub outputs: usize,
}

#[derive(Deserialize)]
pub struct ExpectedLayer {
    pub name: String,
    pub flat_name: String,
    pub operator: String,
    pub layout: String,
}

impl ExpectedLayer {
    fn name(&self, kind: &str) -> &str {
        if kind == "frozen" { &self.flat_name } else { &self.name }
    }
}

/// One TorchScript file and what PyTorch computed for it.
pub struct Reference {
    pub file: PathBuf,
    pub kind: String,
    pub case: Case,
    pub arrays: HashMap<String, ArrayD<f32>>,
}

impl Reference {
    pub fn images(&self) -> Array4<f32> {
        self.arrays["input"].clone().into_dimensionality::<Ix4>().unwrap()
    }

    pub fn network(&self) -> TorchNetwork {
        load(&engine(), &self.file).unwrap()
    }

    pub fn names(&self, image: usize) -> Vec<String> {
        let layers = &self.case.images[image].layers;
        layers.iter().map(|layer| layer.name(&self.kind).to_owned()).collect()
    }

    /// PyTorch's tensor of a layer, as channels x height x width.
    pub fn picture(&self, image: usize, position: usize, layout: Layout) -> Array3<f64> {
        let tensor = self.arrays[&format!("{image}.layer.{position}")].mapv(f64::from);
        let one = |tensor: ArrayD<f64>| tensor.index_axis_move(Axis(0), 0);
        match layout {
            Layout::ChannelsFirst => one(tensor).into_dimensionality::<Ix3>().unwrap(),
            Layout::ChannelsLast => {
                let hwc = one(tensor).into_dimensionality::<Ix3>().unwrap();
                hwc.permuted_axes([2, 0, 1])
            }
            Layout::Tokens { rows, columns, skip } => {
                let tokens = one(tensor);
                let channels = tokens.shape()[1];
                Array3::from_shape_fn((channels, rows, columns), |(c, row, column)| {
                    tokens[[skip + row * columns + column, c]]
                })
            }
            Layout::Flat => {
                let (rows, columns) = matrix(tensor.shape());
                let values = tensor.iter().copied().collect();
                Array3::from_shape_vec((1, rows, columns), values).unwrap()
            }
        }
    }
}

/// Opens and loads a file.
pub fn load(engine: &TorchEngine, file: &Path) -> Result<TorchNetwork, Error> {
    engine.load(&ModelFile::open(file)?)
}

/// What the probe gives of each of these layers, by image.
pub fn maps(
    network: &mut dyn Network,
    images: &Array4<f32>,
    names: &[String],
    probe: Probe,
) -> Result<Vec<Vec<Array3<f32>>>, Error> {
    let probes: Vec<_> = names.iter().map(|name| (name.clone(), probe)).collect();
    let outputs = network.run(&Batch::of(images.clone()), &probes)?;
    Ok(outputs.into_iter().map(|image| image.into_iter().flatten().collect()).collect())
}

pub fn engine() -> TorchEngine {
    TorchEngine::new(DeviceChoice::Exactly(Device::Cpu), None).unwrap()
}

pub fn read(folder: &Path, name: &str) -> Vec<Reference> {
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let kinds = serde_json::from_str::<Case>(&text).unwrap().kinds;
    let read = |kind: String| {
        let arrays = Tensor::read_npz(folder.join(format!("{name}.npz"))).unwrap();
        Reference {
            file: folder.join(format!("{name}.{kind}.pt")),
            kind,
            case: serde_json::from_str(&text).unwrap(),
            arrays: arrays.into_iter().map(|(key, tensor)| (key, array(&tensor))).collect(),
        }
    };
    kinds.into_iter().map(read).collect()
}

pub fn array(tensor: &Tensor) -> ArrayD<f32> {
    let tensor = tensor.to_kind(tch::Kind::Float).contiguous();
    let mut values = vec![0.0; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    let shape: Vec<usize> = tensor.size().iter().map(|&dim| dim as usize).collect();
    ArrayD::from_shape_vec(shape, values).unwrap()
}

pub fn shape_of(images: &Array4<f32>) -> InputShape {
    let (_, channels, height, width) = images.dim();
    InputShape { channels, height, width }
}

fn reduced(picture: &Array3<f64>, reduce: Reduce) -> Array3<f64> {
    let map = match reduce {
        Reduce::Mean => picture.mean_axis(Axis(0)).unwrap(),
        Reduce::Max => picture.fold_axis(Axis(0), f64::NEG_INFINITY, |&a, &b| a.max(b)),
        Reduce::Std => picture.std_axis(Axis(0), 0.0),
        Reduce::L2 => picture.mapv(|v| v * v).sum_axis(Axis(0)).mapv(f64::sqrt),
    };
    map.insert_axis(Axis(0))
}

pub fn difference<'a>(
    ours: impl IntoIterator<Item = &'a f32>,
    theirs: impl IntoIterator<Item = &'a f64>,
) -> f64 {
    let (mut largest, mut scale) = (0.0, 0.0);
    for (&a, &b) in ours.into_iter().zip(theirs) {
        assert!(a.is_finite() && b.is_finite());
        largest = f64::max(largest, (f64::from(a) - b).abs());
        scale = f64::max(scale, b.abs());
    }
    if scale == 0.0 { largest } else { largest / scale }
}

pub fn assert_same(ours: &Array3<f32>, theirs: &Array3<f64>, what: &str) -> f64 {
    assert_eq!(ours.dim(), theirs.dim(), "{what}: the shape differs");
    let difference = difference(ours, theirs);
    assert!(difference <= TOLERANCE, "{what}: differs from PyTorch by {difference:e}");
    difference
}

fn layout_name(layout: Layout) -> &'static str {
    match layout {
        Layout::ChannelsFirst => "channels-first",
        Layout::ChannelsLast => "channels-last",
        Layout::Tokens { .. } => "tokens",
        Layout::Flat => "flat",
    }
}

/// The cases in a folder, by name.
pub fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

/// Names, operators, order and layouts of the first image's layers.
fn assert_layers(reference: &Reference, layers: &[Layer]) {
    let file = reference.file.display();
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, reference.names(0), "{file}: names");
    for (position, (layer, expected)) in
        layers.iter().zip(&reference.case.images[0].layers).enumerate()
    {
        let name = &layer.name;
        assert_eq!(layer.operator, expected.operator, "{file}: operator of {name}");
        assert_eq!(layout_name(layer.layout), expected.layout, "{file}: layout of {name}");
        if layer.is_spatial() {
            let picture = reference.picture(0, position, layer.layout);
            assert_eq!(layer.shape, picture.shape(), "{file}: shape of {name}");
        }
    }
}

/// Every layer of every image, all channels and every reduction. Returns the largest
/// difference.
fn assert_values(reference: &Reference, network: &mut TorchNetwork, layers: &[Layer]) -> f64 {
    let images = reference.images();
    let names = reference.names(0);
    let mut largest: f64 = 0.0;
    for probe in [
        Probe::Channels,
        Probe::Reduced(Reduce::Mean),
        Probe::Reduced(Reduce::Max),
        Probe::Reduced(Reduce::Std),
        Probe::Reduced(Reduce::L2),
    ] {
        let found = maps(network, &images, &names, probe).unwrap();
        assert_eq!(found.len(), images.dim().0);
        for (image, found) in found.iter().enumerate() {
            for (position, (map, layer)) in found.iter().zip(layers).enumerate() {
                let channels = reference.picture(image, position, layer.layout);
                let expected = match probe {
                    Probe::Reduced(reduce) if layer.is_spatial() => reduced(&channels, reduce),
                    _ => channels,
                };
                let what = format!(
                    "{}: image {image}, layer {}, {probe:?}",
                    reference.file.display(),
                    layer.name
                );
                largest = largest.max(assert_same(map, &expected, &what));
            }
        }
    }
    largest
}

/// The network's result with taps against PyTorch's without.
fn assert_outputs(reference: &Reference, network: &mut TorchNetwork) {
    let images = reference.images();
    for (image, expected) in reference.case.images.iter().enumerate() {
        let one = images.index_axis(Axis(0), image).insert_axis(Axis(0)).to_owned();
        let outputs = network.forward_with(&tensor(&one), Gradients::Off, |_, _| Ok(())).unwrap();
        assert_eq!(outputs.len(), expected.outputs);
        for (position, output) in outputs.iter().enumerate() {
            let expected = reference.arrays[&format!("{image}.output.{position}")].mapv(f64::from);
            let ours = array(output);
            assert_eq!(ours.shape(), expected.shape());
            assert!(difference(&ours, &expected) <= TOLERANCE, "{}", reference.file.display());
        }
    }
}

pub fn tensor(images: &Array4<f32>) -> Tensor {
    let (n, c, h, w) = images.dim();
    let values: Vec<f32> = images.iter().copied().collect();
    Tensor::from_slice(&values).reshape([n as i64, c as i64, h as i64, w as i64])
}

/// Everything that can be compared. Returns the number of layers and the largest
/// difference.
pub fn assert_agrees(reference: &Reference) -> (usize, f64) {
    let mut network = reference.network();
    let layers = network.layers(shape_of(&reference.images())).unwrap();
    assert_layers(reference, &layers);
    let largest = assert_values(reference, &mut network, &layers);
    assert_outputs(reference, &mut network);
    (layers.len(), largest)
}
