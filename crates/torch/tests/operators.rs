//! What the engine knows of the operators of a network: how its layers are named, what its
//! input is, and which activations several operators make together.
#![allow(clippy::unwrap_used)]

#[path = "pytorch/agreement.rs"]
#[allow(dead_code)]
mod agreement;

use std::path::{Path, PathBuf};

use actviz_core::engine::{InputShape, Network, Probe};
use actviz_core::layers::Layout;
use actviz_torch::{Gradients, TorchNetwork};
use ndarray::Array4;
use tch::{Kind, Tensor};

use agreement::{array, engine, load, maps, tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/cases").join(name)
}

fn network(name: &str) -> TorchNetwork {
    load(&engine(), &fixture(name)).unwrap()
}

fn names(name: &str) -> Vec<String> {
    let layers = network(name).layers(InputShape { channels: 3, height: 6, width: 6 }).unwrap();
    layers.into_iter().map(|layer| layer.name).collect()
}

#[test]
fn layers_that_have_one_module_in_common_are_named_by_their_callers() {
    let expected =
        ["first.act", "second.act", "rows.0.1", "rows.0.3", "rows.1.1", "rows.1.3"].to_vec();
    assert_eq!(names("shared.pt"), expected);
    // Of `rows.1`, where tracing has left the code, both names mean one module.
    let traced = ["first.act", "second.act", "rows.0.1", "rows.0.3", "rows.1.1", "rows.1.1_1"];
    assert_eq!(names("shared.traced.pt"), traced);
}

#[test]
fn a_traced_data_parallel_network_runs() {
    assert_eq!(names("parallel.pt"), ["module.act"]);
}

#[test]
fn the_input_s_channels_are_those_of_a_convolution_that_reads_it_as_it_is() {
    for (name, channels) in [
        ("stem_focus.pt", None),
        ("stem_coordinates.pt", None),
        ("stem_grey_inside.pt", None),
        ("stem_normalised.pt", Some(4)),
        ("stem_transposed.pt", Some(4)),
    ] {
        assert_eq!(network(name).input_channels(), channels, "{name}");
    }
}

#[test]
fn a_gate_with_its_product_is_one_layer() {
    let mut network = network("gated.pt");
    let image = Tensor::randn([1, 3, 6, 6], (Kind::Float, tch::Device::Cpu));
    let mut layers = Vec::new();
    let outputs = network
        .forward_with(&image, Gradients::Off, |tap, tensor| {
            layers.push((tap.node.operator.clone(), tensor.copy()));
            Ok(())
        })
        .unwrap();
    let operators: Vec<&str> = layers.iter().map(|(operator, _)| operator.as_str()).collect();
    assert_eq!(operators, ["quick_gelu", "glu"]);
    // The product, of which the second half gates the first.
    let product = &layers[0].1;
    assert!(product.min().double_value(&[]) < 0.0);
    let gated = product.narrow(1, 0, 2) * product.narrow(1, 2, 2).sigmoid();
    assert!(gated.allclose(&outputs[0], 1e-5, 1e-6, false));
    assert!(layers[1].1.allclose(&outputs[0], 1e-5, 1e-6, false));
}

#[test]
fn tokens_may_stand_before_the_images() {
    let mut network = network("tokens_first.pt");
    let input = InputShape { channels: 3, height: 6, width: 10 };
    let layers = network.layers(input).unwrap();
    assert_eq!(layers[0].layout, Layout::Tokens { rows: 3, columns: 5, skip: 0 });
    assert_eq!(layers[0].shape, [16, 3, 5]);
    let images = Array4::from_shape_fn((2, 3, 6, 10), |(n, c, y, x)| {
        ((n * 180 + c * 60 + y * 10 + x) as f32 * 0.37).sin()
    });
    let found = maps(&mut network, &images, &["mlp.1".to_owned()], Probe::Channels).unwrap();
    let mut tokens = None;
    network
        .forward_with(&tensor(&images), Gradients::Off, |_, seen| {
            tokens = Some(array(seen));
            Ok(())
        })
        .unwrap();
    let tokens = tokens.unwrap();
    assert_eq!(tokens.shape(), [15, 2, 16]);
    for (image, maps) in found.iter().enumerate() {
        for ((channel, row, column), value) in maps[0].indexed_iter() {
            let expected = tokens[[row * 5 + column, image, channel]];
            assert!((value - expected).abs() < 1e-5, "{image} {channel} {row} {column}");
        }
    }
}

#[test]
fn the_layers_of_a_transformer_encoder_are_opened() {
    let mut opened = network("encoder.pt");
    let layers = opened.layers(InputShape { channels: 3, height: 6, width: 6 }).unwrap();
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["encoder.layers.0.relu", "encoder.layers.1.relu"]);
    assert_eq!(layers[0].layout, Layout::Tokens { rows: 3, columns: 3, skip: 0 });
    // What comes out is what it gives with its layers fused.
    let image = Tensor::randn([1, 3, 6, 6], (Kind::Float, tch::Device::Cpu));
    let plain = tch::CModule::load(fixture("encoder.pt")).unwrap();
    let fused = tch::no_grad(|| plain.forward_ts(&[&image])).unwrap();
    let outputs = opened.forward_with(&image, Gradients::Off, |_, _| Ok(())).unwrap();
    assert!(outputs[0].allclose(&fused, 1e-4, 1e-5, false));
}
