//! Draws one layer of one fold as a heatmap with a legend.
//!
//!     cargo run --release --example render_layer -- cnn9 1 relu2 fox.png relu2.png
//!
//! The model is a bundle's name, its folder, a TorchScript file, or a pattern with
//! `{fold}` in it, as `actviz render --model` takes them; a model that does not say what
//! its input looks like is fed with 224 x 224 pixels.

use std::path::Path;

use actviz::bundle::{Input, Model, ResizeRule};
use actviz::colormap::Colormap;
use actviz::engine::{Batch, Engine, Probe, Reduce, Taps};
use actviz::picture::legend::{Caption, with_legend};
use actviz::picture::{Interpolation, heat, png};
use actviz::scale::Range;
use actviz::worker::{WorkerConfig, WorkerEngine};
use actviz::{input, maps};
use ndarray::Axis;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, fold, layer, image, out] = &args[..] else {
        anyhow::bail!("usage: render_layer MODEL FOLD LAYER IMAGE OUT.png");
    };

    // The network, and what it is fed with.
    let model = Model::find(name, None, &[fold.parse()?])?;
    let engine = WorkerEngine::start(WorkerConfig::find()?)?.ready()?;
    let mut network = engine.open(&model.folds[0].open()?, Taps::Activations)?;
    let shape = model.input.unwrap_or_else(imagenet);
    let batch = input::prepare(Path::new(image), None, &shape, &input::Reading::default())?
        .normalised(&shape);
    let batch = Batch::of(batch.insert_axis(Axis(0)));

    // One image, one layer: the answer is images x layers, each channels x height x width.
    let probes = [(layer.clone(), Probe::Reduced(Reduce::Mean))];
    let outputs = network.run(&batch, &probes)?;
    let Some(map) = &outputs[0][0] else { anyhow::bail!("{layer} has no map") };
    let map = map.index_axis(Axis(0), 0);

    let colours = Colormap::Auto.colours(Range::of(map.iter().copied(), 0.0));
    let flags = maps::flags(map);
    let size = (4 * shape.width, 4 * shape.height);
    let picture = heat(map, &colours, &flags, size, Interpolation::Bilinear);
    let note = format!("fold {fold}, mean of the channels");
    let caption = Caption { title: layer, note: &note, flags: &flags };
    let page = with_legend(&picture, &caption, &colours);
    std::fs::write(out, png::encode(&page, "{}")?)?;
    println!("{out}: {} to {}", colours.range.low, colours.range.high);
    Ok(())
}

/// What torchvision's models are trained with.
fn imagenet() -> Input {
    Input {
        channels: 3,
        width: 224,
        height: 224,
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
        resize: ResizeRule::Stretch,
    }
}
