//! Asks where the folds of a model agree: Spearman's rank correlation of their maps,
//! layer by layer, and the fold that agrees least with the others.
//!
//!     cargo run --release --example compare_folds -- cnn9 fox.png parrot.png

use std::path::Path;

use actviz::agreement::{mean, odd_one_out, spearman};
use actviz::bundle::Model;
use actviz::engine::{Batch, Engine, InputShape, Probe, Reduce, Taps};
use actviz::input;
use actviz::worker::{WorkerConfig, WorkerEngine};
use ndarray::{Array3, Axis};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, images)) = args.split_first().filter(|(_, images)| !images.is_empty()) else {
        anyhow::bail!("usage: compare_folds MODEL IMAGE...");
    };
    let model = Model::find(name, None, &[])?;
    let Some(shape) = &model.input else {
        anyhow::bail!("{name} does not say what its input looks like: take a bundle");
    };
    let prepared = images
        .iter()
        .map(|image| {
            Ok(input::prepare(Path::new(image), None, shape, &input::Reading::default())?
                .normalised(shape))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let views: Vec<_> = prepared.iter().map(|image| image.view()).collect();
    let batch = Batch::of(ndarray::stack(Axis(0), &views)?);
    let engine = WorkerEngine::start(WorkerConfig::find()?)?.ready()?;

    // seen[fold][image][layer]: one channel x height x width.
    let mut names: Vec<String> = Vec::new();
    let mut seen: Vec<Vec<Vec<Array3<f32>>>> = Vec::new();
    for fold in &model.folds {
        let mut network = engine.open(&fold.open()?, Taps::Activations)?;
        let size =
            InputShape { channels: shape.channels, height: shape.height, width: shape.width };
        let layers = network.layers(size)?;
        names = layers.into_iter().filter(|l| l.is_spatial()).map(|l| l.name).collect();
        let probe = Probe::Reduced(Reduce::Mean);
        let probes: Vec<_> = names.iter().map(|name| (name.clone(), probe)).collect();
        let outputs = network.run(&batch, &probes)?;
        seen.push(outputs.into_iter().map(|image| image.into_iter().flatten().collect()).collect());
    }

    for (layer, name) in names.iter().enumerate() {
        let agree = |a: &Vec<Vec<Array3<f32>>>, b: &Vec<Vec<Array3<f32>>>| {
            let pairs = a.iter().zip(b).map(|(a, b)| (&a[layer], &b[layer]));
            let map = |array: &Array3<f32>| array.index_axis(Axis(0), 0).to_owned();
            mean(pairs.filter_map(|(a, b)| spearman(map(a).view(), map(b).view())))
        };
        let table: Vec<Vec<Option<f64>>> =
            seen.iter().map(|a| seen.iter().map(|b| agree(a, b)).collect()).collect();
        println!("{name}");
        for (fold, row) in model.folds.iter().zip(&table) {
            let row: Vec<String> =
                row.iter().map(|r| r.map_or("   -  ".to_owned(), |r| format!("{r:6.3}"))).collect();
            println!("  fold {}  {}", fold.fold, row.join("  "));
        }
        if let Some(odd) = odd_one_out(&table) {
            println!("  agrees least: fold {}", model.folds[odd].fold);
        }
    }
    Ok(())
}
