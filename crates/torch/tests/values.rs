//! Holds every activation that actviz takes from a TorchScript file against what
//! PyTorch itself computed (see fixtures/reference.py for the format of a case).
//! The networks are tiny and committed; tests/pytorch does the same with torchvision's.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "pytorch/agreement.rs"]
#[allow(dead_code)]
mod agreement;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use actviz_core::Error;
use actviz_core::engine::{DeviceChoice, InputShape, Network, Probe};
use actviz_core::layers::Layout;
use actviz_torch::{Gradients, TorchEngine};
use ndarray::{Axis, stack};
use tch::Tensor;

use agreement::{
    Reference, TOLERANCE, array, assert_agrees, assert_same, difference, engine, load, maps,
    names_in, read, shape_of, tensor,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/cases")
}

fn fixture(name: &str) -> Vec<Reference> {
    read(&fixtures(), name)
}

fn assert_fixture_agrees(name: &str) {
    for reference in fixture(name) {
        assert_agrees(&reference);
    }
}

/// One test for each case that behaves the same for every image.
macro_rules! agrees_with_pytorch {
    ($($test:ident: $case:literal;)*) => {
        $(#[test]
        fn $test() {
            assert_fixture_agrees($case);
        })*

        #[test]
        fn every_fixture_has_a_test() {
            let mut tested = vec![$($case,)* "branched"];
            tested.sort_unstable();
            assert_eq!(names_in(&fixtures()), tested);
        }
    };
}

agrees_with_pytorch! {
    every_functional_activation_is_a_layer: "functional";
    every_in_place_activation_is_a_layer: "in_place";
    functions_of_torch_and_methods_of_tensors_are_layers: "methods";
    every_activation_module_is_a_layer: "modules";
    every_in_place_module_is_a_layer: "modules_in_place";
    a_module_called_three_times_is_three_layers: "residual";
    in_place_operators_that_follow_do_not_spoil_a_layer: "spoiled";
    modules_of_one_s_own_are_named_by_path_and_operator: "nested";
    two_equal_calls_are_two_layers: "same";
    an_activation_of_a_weight_is_a_layer: "constant";
    every_turn_of_a_loop_is_a_layer: "looped";
    equal_turns_of_a_loop_are_not_merged: "unrolled_same";
    images_that_influence_each_other_run_one_by_one: "centred";
    only_the_branch_that_runs_is_seen: "switch";
    forked_parts_come_in_the_order_of_the_code: "forked";
    a_network_may_return_a_tuple: "tuple_output";
    a_network_may_return_a_list: "list_output";
    a_network_may_return_a_dict: "dict_output";
    a_vector_is_listed_and_is_no_picture: "classifier";
    a_network_may_view_its_memory: "viewed";
    one_input_channel_will_do: "gray";
    channels_last_is_recognised: "channels_last";
    channels_last_is_recognised_if_not_square: "channels_last_wide";
    a_square_grid_of_tokens_is_a_picture: "tokens";
    a_class_token_is_left_out: "class_token";
    tokens_of_an_image_that_is_not_square_come_after_registers: "registers";
    tokens_that_stand_after_those_of_the_image_are_left_out: "tokens_after";
    tokens_on_both_sides_are_no_picture: "tokens_around";
    a_map_between_tokens_is_followed: "mix_feed_forward";
    queries_are_no_picture: "queries";
    mixtures_of_tokens_are_no_picture: "mixer";
    a_sequence_of_square_length_is_no_picture: "sequence";
    images_in_another_dimension_are_not_mixed_up: "sequence_first";
    activations_that_the_code_spells_out_are_layers: "composed";
    weights_in_f16_run_in_f32: "f16";
    weights_in_bf16_run_in_f32: "bf16";
    weights_in_f64_run_in_f32: "f64";
}

#[test]
fn a_layer_of_eight_bits_is_seen_in_the_numbers_that_they_mean() {
    let mut network = load(&engine(), &fixtures().join("quantized.pt")).unwrap();
    let input = InputShape { channels: 3, height: 6, width: 6 };
    let layers = network.layers(input).unwrap();
    assert_eq!(layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["relu"]);
    let ramp = |i: usize| -2.0 + 4.0 * i as f32 / 107.0;
    let image = ndarray::Array::from_iter((0..108).map(ramp)).into_shape_with_order((1, 3, 6, 6));
    let probe = Probe::Reduced(actviz_core::engine::Reduce::Mean);
    let maps = maps(&mut network, &image.unwrap(), &["relu".to_owned()], probe).unwrap();
    // What PyTorch 2.13 gives: the mean of `relu(..).dequantize()` over the channels.
    let first = [
        0.25359, 0.06006, 0.06006, 0.06006, 0.06006, 0.08008, 0.32700, 0.16683, 0.16683, 0.16016,
        0.16016, 0.22690,
    ];
    for (ours, theirs) in maps[0][0].iter().zip(first) {
        assert!((ours - theirs).abs() < 1e-4, "{ours} against {theirs}");
    }
}

#[test]
fn a_relu_that_was_merged_with_a_convolution_is_a_layer() {
    let file = fixtures().join("quantized_merged.pt");
    let mut network = load(&engine(), &file).unwrap();
    let input = InputShape { channels: 3, height: 6, width: 6 };
    let layers = network.layers(input).unwrap();
    let found: Vec<_> = layers.iter().map(|l| (l.name.as_str(), l.operator.as_str())).collect();
    assert_eq!(found, [("conv.conv2d_relu", "conv2d_relu")]);
    assert_eq!(layers[0].layout, Layout::ChannelsFirst);
}

#[test]
fn each_image_takes_its_own_branch() {
    for reference in fixture("branched") {
        let images = reference.images();
        for (index, expected) in reference.case.images.iter().enumerate() {
            let one = images.index_axis(Axis(0), index).insert_axis(Axis(0)).to_owned();
            let names = reference.names(index);
            let maps = maps(&mut reference.network(), &one, &names, Probe::Channels).unwrap();
            assert_eq!(maps[0].len(), expected.layers.len());
            for (position, map) in maps[0].iter().enumerate() {
                let theirs = reference.picture(index, position, Layout::ChannelsFirst);
                assert_same(map, &theirs, &names[position]);
            }
        }
    }
}

#[test]
fn images_of_one_batch_do_not_decide_for_each_other() {
    let reference = &fixture("branched")[0];
    let relu = |index: usize| reference.case.images[index].layers[0].operator == "relu";
    let (relus, others): (Vec<usize>, Vec<usize>) = (0..4).partition(|&index| relu(index));
    assert!(!relus.is_empty() && !others.is_empty());
    for chosen in [relus, others] {
        // Beside an image that takes the other branch, the mean of both would decide.
        let images = reference.images();
        let views: Vec<_> = chosen.iter().map(|&index| images.index_axis(Axis(0), index)).collect();
        let batch = stack(Axis(0), &views).unwrap();
        let names = reference.names(chosen[0]);
        let maps = maps(&mut reference.network(), &batch, &names, Probe::Channels).unwrap();
        for (&index, maps) in chosen.iter().zip(&maps) {
            let theirs = reference.picture(index, 0, Layout::ChannelsFirst);
            assert_same(&maps[0], &theirs, &names[0]);
        }
    }
}

#[test]
fn a_layer_that_an_image_does_not_execute_is_named_in_the_error() {
    let reference = &fixture("branched")[0];
    let wanted = ["relu".to_owned()];
    let error =
        maps(&mut reference.network(), &reference.images(), &wanted, Probe::Channels).unwrap_err();
    assert!(matches!(&error, Error::Run { message, .. } if message.contains("layer relu")));
}

/// An engine looks for the layers of a program once, whatever weights it has.
#[test]
fn what_an_engine_knows_of_other_networks_changes_no_answer() {
    let one = engine();
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/cnn9");
    let mut files: Vec<PathBuf> = (1..=3).map(|n| bundle.join(format!("fold_{n}.pt"))).collect();
    let cases = fs::read_dir(fixtures()).unwrap().map(|file| file.unwrap().path());
    files.extend(cases.filter(|file| file.extension().is_some_and(|ending| ending == "pt")));
    let mut known = 0;
    for file in files {
        for side in [32, 64] {
            let input = InputShape { channels: 3, height: side, width: side };
            let (Ok(mut shared), Ok(mut alone)) = (load(&one, &file), load(&engine(), &file))
            else {
                continue;
            };
            match (shared.layers(input), alone.layers(input)) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{}", file.display()),
                (found, expected) => assert_eq!(found.is_ok(), expected.is_ok()),
            }
            known += 1;
        }
    }
    assert!(known > 50, "{known}");
}

#[test]
fn the_first_run_and_later_ones_agree_to_the_bit() {
    for reference in fixture("residual") {
        let mut network = reference.network();
        let images = reference.images();
        let names = reference.names(0);
        let first = maps(&mut network, &images, &names, Probe::Channels).unwrap();
        for _ in 0..3 {
            assert_eq!(maps(&mut network, &images, &names, Probe::Channels).unwrap(), first);
        }
    }
}

#[test]
fn logits_with_taps_equal_logits_without() {
    for name in ["residual", "classifier", "class_token", "channels_last"] {
        for reference in fixture(name) {
            let images = tensor(&reference.images());
            let plain = tch::CModule::load(&reference.file).unwrap();
            let without = tch::no_grad(|| plain.forward_ts(&[&images])).unwrap();
            let mut network = reference.network();
            let with = network.forward_with(&images, Gradients::Off, |_, _| Ok(())).unwrap();
            let expected = array(&without).mapv(f64::from);
            assert!(difference(&array(&with[0]), &expected) <= TOLERANCE, "{name}");
        }
    }
}

#[test]
fn gradients_of_every_tapped_tensor_can_be_taken() {
    for reference in fixture("classifier") {
        let images = tensor(&reference.images()).set_requires_grad(true);
        let mut taps = Vec::new();
        let outputs = reference
            .network()
            .forward_with(&images, Gradients::On, |_, tensor| {
                taps.push(tensor.shallow_clone());
                Ok(())
            })
            .unwrap();
        let gradients =
            Tensor::run_backward(&[outputs[0].sum(tch::Kind::Float)], &taps, false, false);
        for (tap, gradient) in taps.iter().zip(&gradients) {
            assert_eq!(tap.size(), gradient.size());
            assert!(gradient.abs().sum(tch::Kind::Float).double_value(&[]) > 0.0);
        }
    }
}

#[test]
fn an_error_of_the_closure_ends_the_run_and_comes_back() {
    let reference = &fixture("residual")[0];
    let images = tensor(&reference.images());
    let mut seen = 0;
    let result = reference.network().forward_with(&images, Gradients::Off, |tap, _| {
        seen += 1;
        if tap.position == 2 { Err(Error::usage("enough")) } else { Ok(()) }
    });
    assert_eq!(result.unwrap_err().to_string(), "enough");
    assert_eq!(seen, 3);
}

#[test]
fn a_panic_in_the_closure_passes_through() {
    let reference = &fixture("residual")[0];
    let images = tensor(&reference.images());
    let mut network = reference.network();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = network.forward_with(&images, Gradients::Off, |_, _| panic!("mine"));
    }));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "mine");
    network.forward_with(&images, Gradients::Off, |_, _| Ok(())).unwrap();
}

#[test]
fn the_input_s_channels_are_known_from_the_first_convolution() {
    let channels = |name| fixture(name)[0].network().input_channels();
    assert_eq!(channels("gray"), Some(1));
    assert_eq!(channels("residual"), Some(3));
    assert_eq!(channels("sequence_first"), None);
}

#[test]
fn parameters_are_counted_upstream() {
    for reference in fixture("classifier") {
        let layers = reference.network().layers(shape_of(&reference.images())).unwrap();
        let parameters: Vec<u64> = layers.iter().map(|layer| layer.parameters).collect();
        let convolution = 3 * 4 * 9 + 4;
        assert_eq!(parameters, [convolution, convolution + 36 * 12 + 12]);
    }
}

#[test]
fn a_network_without_activations_is_told() {
    let Err(error) = load(&engine(), &fixtures().join("no_activations.pt")) else {
        panic!("it was opened");
    };
    assert!(matches!(error, Error::NoActivations { .. }), "{error}");
}

#[test]
fn a_wrong_number_of_channels_is_told_in_libtorch_s_words() {
    let reference = &fixture("classifier")[0];
    let input = InputShape { channels: 1, height: 6, width: 6 };
    let error = reference.network().layers(input).unwrap_err();
    let Error::Run { message, detail, .. } = &error else { panic!("{error}") };
    assert!(message.contains("to have 3 channels, but got 1 channels instead"), "{message}");
    assert!(!message.contains('\n') && detail.len() > message.len());
}

#[test]
fn an_input_too_small_for_the_network_is_told_in_libtorch_s_words() {
    let reference = &fixture("classifier")[0];
    let error =
        reference.network().layers(InputShape { channels: 3, height: 1, width: 1 }).unwrap_err();
    let Error::Run { message, input, .. } = &error else { panic!("{error}") };
    assert_eq!(input, "3x1x1");
    assert!(message.contains("too small"), "{message}");
}

#[test]
fn a_file_whose_pickle_is_damaged_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged.pt");
    // The archive is whole, what stands in one of its entries is not.
    let whole = fs::File::open(fixtures().join("residual.scripted.pt")).unwrap();
    let mut whole = zip::ZipArchive::new(whole).unwrap();
    let mut damaged = zip::ZipWriter::new(fs::File::create(&file).unwrap());
    for index in 0..whole.len() {
        let mut entry = whole.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if name.ends_with("/data.pkl") {
            bytes[100..200].fill(0xff);
        }
        damaged.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        damaged.write_all(&bytes).unwrap();
    }
    damaged.finish().unwrap();
    let Err(error) = load(&engine(), &file) else { panic!("it was opened") };
    let words = error.to_string();
    assert!(words.contains("data.pkl") && !words.contains('\n'), "{words}");
    assert!(!words.contains("frame #"), "{words}");
}

#[test]
fn cuda_that_is_not_there_says_what_to_install() {
    let everything = actviz_torch::cuda_state();
    if !everything.starts_with("not available") {
        return;
    }
    let choice = "cuda:7".parse::<DeviceChoice>().unwrap();
    let error = TorchEngine::new(choice, None).unwrap_err();
    assert!(matches!(&error, Error::Device { device, .. } if device == "cuda:7"), "{error}");
    assert!(error.hint().unwrap().contains("LIBTORCH_USE_PYTORCH=1"));
}
