//! Folds of one network: the weights of the next one are filled into what is loaded of the
//! last (src/spare.rs), and nobody may see it. See fixtures/make_folds.py.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "pytorch/agreement.rs"]
#[allow(dead_code)]
mod agreement;

use std::fs;
use std::path::{Path, PathBuf};

use actviz_core::engine::{InputShape, Network, Probe};
use actviz_core::layers::Layer;
use actviz_torch::TorchEngine;
use ndarray::{Array3, Array4};

use agreement::{assert_agrees, engine, load, maps, names_in, read};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/folds")
}

const INPUT: InputShape = InputShape { channels: 3, height: 6, width: 6 };

/// All layers of all channels of an image that is no other's.
fn seen(engine: &TorchEngine, file: &Path) -> (Vec<Layer>, Vec<Array3<f32>>) {
    let mut network = load(engine, file).unwrap();
    let layers = network.layers(INPUT).unwrap();
    let names: Vec<String> = layers.iter().map(|layer| layer.name.clone()).collect();
    let image = Array4::from_shape_fn((1, 3, 6, 6), |(_, c, y, x)| {
        ((c * 36 + y * 6 + x) as f32 * 0.7).sin()
    });
    let maps = maps(&mut network, &image, &names, Probe::Channels).unwrap().remove(0);
    (layers, maps)
}

#[test]
fn each_fold_agrees_with_pytorch() {
    let names = names_in(&folder());
    assert_eq!(names.len(), 10);
    for reference in names.iter().flat_map(|name| read(&folder(), name)) {
        assert_agrees(&reference);
    }
}

#[test]
fn a_fold_gives_the_same_after_another_one_as_alone() {
    let mut pairs = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some((network, kind)) = name.split_once("_1.").filter(|_| name.ends_with(".pt")) else {
            continue;
        };
        let files = [1, 2].map(|fold| folder().join(format!("{network}_{fold}.{kind}")));
        let alone = files.each_ref().map(|file| seen(&engine(), file));
        assert_ne!(alone[0].1, alone[1].1, "{name}: the folds are the same");
        let engine = engine();
        for fold in [0, 1, 0, 0, 1] {
            let (layers, maps) = seen(&engine, &files[fold]);
            assert_eq!(layers, alone[fold].0, "{name}, fold {}", fold + 1);
            assert!(maps == alone[fold].1, "{name}, fold {}: other values", fold + 1);
        }
        pairs += 1;
    }
    assert_eq!(pairs, 9);
}

#[test]
fn a_damaged_fold_is_an_error_and_the_next_one_is_whole() {
    let [first, second] =
        [1, 2].map(|fold| folder().join(format!("normalised_{fold}.scripted.pt")));
    let place = tempfile::tempdir().unwrap();
    let damaged = place.path().join("damaged.pt");
    spoil_a_weight(&second, &damaged);
    let alone = seen(&engine(), &second);
    let engine = engine();
    seen(&engine, &first);
    let error = load(&engine, &damaged).err().unwrap();
    assert!(error.to_string().contains("data/"), "{error}");
    assert_eq!(seen(&engine, &second), alone);
}

/// Copies a file with other bytes in one of its weights, under the old checksum.
fn spoil_a_weight(file: &Path, to: &Path) {
    let bytes = fs::read(file).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
    let weight = (0..archive.len()).find_map(|index| {
        let entry = archive.by_index_raw(index).unwrap();
        let is_weight = entry.name().unwrap().contains("/data/") && entry.size() > 100;
        is_weight
            .then(|| entry.data_start().unwrap() as usize + entry.compressed_size() as usize / 2)
    });
    let mut bytes = bytes.clone();
    bytes[weight.unwrap()] ^= 1;
    fs::write(to, bytes).unwrap();
}
