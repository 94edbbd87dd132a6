//! Walks all layers of all folds and computes a statistic of one's own: how evenly a
//! layer's activity is spread over its channels.
//!
//!     cargo run --release --example statistic -- cnn9 fox.png
//!
//! The figure is the entropy of the channels' shares of the whole activity, as a number
//! of channels: 1 if one channel is all there is, C if all C are equally active.

use std::path::Path;

use actviz::bundle::Model;
use actviz::engine::{Batch, Engine, InputShape, LayerId, Probe, Taps};
use actviz::input;
use actviz::worker::{WorkerConfig, WorkerEngine};
use ndarray::{ArrayView3, Axis};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, image] = &args[..] else {
        anyhow::bail!("usage: statistic MODEL IMAGE");
    };
    let model = Model::find(name, None, &[])?;
    let Some(shape) = &model.input else {
        anyhow::bail!("{name} does not say what its input looks like: take a bundle");
    };
    let batch = input::prepare(Path::new(image), None, shape, &input::Reading::default())?
        .normalised(shape);
    let batch = Batch::of(batch.insert_axis(Axis(0)));
    let engine = WorkerEngine::start(WorkerConfig::find()?)?.ready()?;

    for fold in &model.folds {
        let mut network = engine.open(&fold.open()?, Taps::Activations)?;
        let size =
            InputShape { channels: shape.channels, height: shape.height, width: shape.width };
        let layers = network.layers(size)?;
        let spatial: Vec<_> = layers.iter().filter(|layer| layer.is_spatial()).collect();
        // Every channel this time, not a reduced map.
        let probes: Vec<(LayerId, Probe)> =
            spatial.iter().map(|layer| (layer.name.clone(), Probe::Channels)).collect();
        let outputs = network.run(&batch, &probes)?;
        for (layer, channels) in spatial.iter().zip(&outputs[0]) {
            let Some(channels) = channels else { continue };
            let (used, all) = (used_channels(channels.view()), layer.shape[0]);
            println!("fold {}  {:<24} {used:7.1} of {all}", fold.fold, layer.name);
        }
    }
    Ok(())
}

/// `exp(-sum(p ln p))` over the channels' shares p of the sum of magnitudes.
fn used_channels(channels: ArrayView3<'_, f32>) -> f64 {
    let activity = |channel: ndarray::ArrayView2<'_, f32>| -> f64 {
        channel.iter().map(|value| f64::from(value.abs())).sum()
    };
    let sums: Vec<f64> = channels.outer_iter().map(activity).collect();
    let total: f64 = sums.iter().sum();
    let entropy = |sum: &f64| {
        let share = sum / total;
        if share > 0.0 { -share * share.ln() } else { 0.0 }
    };
    sums.iter().map(entropy).sum::<f64>().exp()
}
