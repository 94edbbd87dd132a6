//! `actviz insights` on networks whose answer is known, and on the bundles.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use actviz::engine::{Engine, InputShape, Network, Taps};
use actviz::insights::blur::{self, Kind};
use actviz::insights::reach::{Field, Reach};
use actviz::insights::structure::Structure;
use actviz::insights::{Document, FoldInsights, ModelInsights};
use actviz::layers::Layer;
use actviz::model_file::ModelFile;
use actviz::worker::{WorkerConfig, WorkerEngine};
use assert_cmd::Command;
use serde::Deserialize;

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn fixture(name: &str) -> String {
    checkout("tests/fixtures/insights").join(name).to_string_lossy().into_owned()
}

/// What `actviz insights --json` says.
fn insights(arguments: &[&str]) -> Document {
    let mut command = Command::cargo_bin("actviz").unwrap();
    command.env("ACTVIZ_MODELS", checkout("models"));
    let output = command.args(["insights", "--json"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One of the small networks, on the blobs.
fn measured(network: &str) -> ModelInsights {
    let file = fixture(&format!("{network}.pt"));
    let arguments = ["--model", &file, "--input-size", "64", &fixture("blobs.png")];
    insights(&arguments).models.remove(0)
}

fn engine() -> WorkerEngine {
    WorkerEngine::start(WorkerConfig::find().unwrap()).unwrap().ready().unwrap()
}

fn open(engine: &WorkerEngine, file: &Path, taps: Taps) -> Box<dyn Network> {
    engine.open(&ModelFile::open(file).unwrap(), taps).unwrap()
}

/// The operators of a network that are no linear layers, and how far each sees.
fn reaches(file: &Path, side: usize) -> Vec<(Layer, Reach)> {
    let mut network = open(&engine(), file, Taps::Operators);
    let layers = network.layers(InputShape { channels: 3, height: side, width: side }).unwrap();
    let reaches = Structure::of(network.graph().unwrap()).reaches();
    assert_eq!(layers.len(), reaches.len());
    layers.into_iter().zip(reaches).collect()
}

fn window(reach: Reach) -> Field {
    match reach {
        Reach::Window(field) => field,
        other => unreachable!("{other:?}"),
    }
}

fn octaves(model: &ModelInsights, kind: Kind) -> f64 {
    let share = model.blur[0].shares.iter().find(|share| share.kind == kind);
    share.unwrap().octaves
}

/// All octaves that were lost are this kind's, and there were some.
fn assert_all_is_due_to(model: &ModelInsights, kind: Kind) {
    let blur = &model.blur[0];
    assert!(blur.octaves.abs() > 0.1, "{blur:?}");
    // The activation of `one_blur` is straight up to f32's precision.
    assert!((octaves(model, kind) - blur.octaves).abs() < 1e-6, "{blur:?}");
}

#[derive(Deserialize)]
struct Expected {
    input_detail: f64,
    layers: Vec<ExpectedLayer>,
}

#[derive(Deserialize)]
struct ExpectedLayer {
    detail: f64,
    zeros: f64,
    effective_rank: f64,
    dead: usize,
    field: f64,
    stride: f64,
    effective: f64,
}

fn near(ours: Option<actviz::insights::Spread>, theirs: f64) -> bool {
    (ours.unwrap().mean - theirs).abs() <= 1e-4 * theirs
}

#[test]
fn every_figure_is_what_pytorch_and_numpy_find() {
    let text = std::fs::read_to_string(fixture("strided.json")).unwrap();
    let expected: Expected = serde_json::from_str(&text).unwrap();
    let model = measured("strided");
    assert!(near(model.input_detail, expected.input_detail), "{:?}", model.input_detail);
    assert_eq!(model.layers.len(), expected.layers.len());
    for (layer, theirs) in model.layers.iter().zip(&expected.layers) {
        let ours: &FoldInsights = &layer.folds[0];
        assert!(near(ours.detail, theirs.detail), "{ours:?}");
        assert!(near(ours.sparsity, theirs.zeros), "{ours:?}");
        assert!(near(ours.effective_rank, theirs.effective_rank), "{ours:?}");
        assert!(near(ours.effective_field, theirs.effective), "{ours:?}");
        assert_eq!(ours.dead_channels, theirs.dead);
        let field = window(layer.receptive_field);
        assert_eq!((field.size, field.stride), ([theirs.field; 2], [theirs.stride; 2]));
        // The field holds whatever the gradient reaches.
        assert!((ours.energy_inside.unwrap().mean - 1.0).abs() < 1e-6, "{ours:?}");
        assert!(ours.effective_field.unwrap().mean <= field.size[0]);
    }
}

#[test]
fn a_network_that_does_not_blur_does_not_support_the_trend() {
    let model = measured("unblurred");
    let trend = model.trend.unwrap();
    assert!(!trend.supported && trend.p > 0.9, "{trend:?}");
    assert_eq!(model.observations[0].holds, Some(false));
    let text = &model.observations[0].text;
    assert!(text.contains("not supported; detail falls with depth in 0 of 1 folds"), "{text}");
}

#[test]
fn the_blur_of_a_kernel_is_the_convolution_s() {
    let model = measured("one_blur");
    assert!(model.blur[0].octaves > 0.0 && model.blur[0].grid == 0.0, "{:?}", model.blur);
    assert_all_is_due_to(&model, Kind::Convolution);
}

#[test]
fn the_blur_of_a_max_pool_is_the_pooling_s() {
    let model = measured("one_max_pool");
    assert!(model.blur[0].octaves > 0.0, "{:?}", model.blur);
    assert_eq!(model.blur[0].grid, 2.0);
    // The pooled values are not all positive, so the ReLU after it has a share, too.
    let (pool, relu) = (octaves(&model, Kind::Pooling), octaves(&model, Kind::Activation));
    assert!((pool + relu - model.blur[0].octaves).abs() < 1e-9 && pool > 0.0, "{:?}", model.blur);
}

#[test]
fn what_relu_alone_does_is_the_activation_s() {
    assert_all_is_due_to(&measured("relu_alone"), Kind::Activation);
}

#[test]
fn shares_add_up_on_a_network_with_every_kind() {
    let model = measured("strided");
    let blur = &model.blur[0];
    let sum: f64 = blur.shares.iter().map(|share| share.octaves).sum();
    let last = model.layers[1].folds[0].detail.unwrap().mean;
    let total = (model.input_detail.unwrap().mean / last).log2();
    assert!((sum - total).abs() < 1e-6 && (blur.octaves - total).abs() < 1e-6, "{blur:?}");
    let kinds: Vec<(Kind, usize)> =
        blur.shares.iter().map(|share| (share.kind, share.operators)).collect();
    let expected = [
        (Kind::Stride, 1),
        (Kind::Pooling, 1),
        (Kind::Convolution, 1),
        (Kind::Normalisation, 1),
        (Kind::Activation, 2),
        (Kind::Add, 1),
        (Kind::Other, 0),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn padding_may_be_given_as_a_word() {
    let found = reaches(Path::new(&fixture("same.pt")), 32);
    let field = window(found[1].1);
    assert_eq!(field.size, [4.0, 5.0]);
    // Four values have one more on the far side.
    assert_eq!(field.offset, [0.5, 0.0]);
}

/// The fields of the outputs of ResNet50's stages: where all branches are added.
fn stage_fields(file: &Path) -> Vec<f64> {
    let sums: Vec<Field> = reaches(file, 128)
        .into_iter()
        .filter(|(layer, _)| layer.operator == "add")
        .map(|(_, reach)| window(reach))
        .collect();
    assert_eq!(sums.len(), 16);
    [3, 7, 13, 16].map(|blocks| sums[blocks - 1].size[0]).to_vec()
}

#[test]
fn the_receptive_fields_of_resnet50_are_those_published() {
    // A. Araujo and others, "Computing receptive fields of convolutional neural
    // networks", 2019: 483 for ResNet50, stride 32.
    let fields = stage_fields(Path::new(&fixture("resnet50_paper.pt")));
    assert_eq!(fields, [35.0, 99.0, 291.0, 483.0]);
}

#[test]
fn torchvision_s_resnet50_sees_less_as_its_strides_stand_later() {
    // Stages of n blocks from a field f at a step of s: f + 2s for the 3x3 convolution
    // that strides, then 2 * 2s for each of the n - 1 others.
    let expected = [35.0, 91.0, 267.0, 427.0];
    assert_eq!(stage_fields(Path::new(&fixture("resnet50_torchvision.pt"))), expected);
    assert_eq!(stage_fields(&checkout("models/resnet50/fold_1.pt")), expected);
}

#[test]
fn activation_layers_are_the_same_with_all_operators_tapped() {
    let engine = engine();
    let shape = InputShape { channels: 3, height: 64, width: 64 };
    for file in ["models/cnn9/fold_1.pt", "models/resnet50/fold_1.pt"] {
        let plain = open(&engine, &checkout(file), Taps::Activations).layers(shape).unwrap();
        let all = open(&engine, &checkout(file), Taps::Operators).layers(shape).unwrap();
        let names = |layers: &[Layer]| -> Vec<String> {
            layers
                .iter()
                .filter(|layer| blur::is_activation(layer))
                .map(|layer| layer.name.clone())
                .collect()
        };
        assert_eq!(names(&plain), names(&all));
        assert!(all.len() > plain.len());
    }
}

#[test]
fn two_bundles_are_put_side_by_side() {
    let arguments = ["--model", "cnn9", "--model", "cnn9-five", "--places", "0"];
    let document = insights(&arguments);
    assert_eq!(document.models.len(), 2);
    for model in &document.models {
        assert_eq!((model.folds.len(), model.layers.len(), model.images.len()), (3, 3, 1));
        assert_eq!(model.observations.len(), document.models[0].observations.len());
        for (row, column) in [(0, 1), (1, 2)] {
            let agreement = &model.layers[0].agreement;
            assert_eq!(agreement[row][column], agreement[column][row]);
        }
    }
    assert_eq!(document.comparisons.len(), 1);
}

/// How far the last layer of one of the small networks sees.
fn last_reach(network: &str) -> Reach {
    reaches(Path::new(&fixture(&format!("{network}.pt"))), 32).pop().unwrap().1
}

fn sizes(network: &str) -> Vec<[f64; 2]> {
    let model = measured(network);
    model.layers.iter().map(|layer| window(layer.receptive_field).size).collect()
}

#[test]
fn what_is_appended_to_a_list_is_seen() {
    assert_eq!(window(last_reach("appends")).size, [9.0; 2]);
    let model = measured("appends");
    let inside = model.layers[1].folds[0].energy_inside.unwrap().mean;
    assert!((inside - 1.0).abs() < 1e-6, "{inside}");
    // Both branches are on the way, and the longer one counts.
    let convolutions = model.blur[0].shares.iter().find(|share| share.kind == Kind::Convolution);
    assert_eq!(convolutions.unwrap().operators, 2);
}

#[test]
fn a_tensor_that_was_written_over_sees_what_was_written() {
    assert_eq!(window(last_reach("copied_into")).size, [7.0; 2]);
}

#[test]
fn where_writes_cannot_be_followed_the_field_is_unknown() {
    for network in ["by_key", "assigned_slice"] {
        assert_eq!(last_reach(network), Reach::Unknown, "{network}");
    }
    let model = measured("by_key");
    assert_eq!(model.blur, []);
}

#[test]
fn what_other_operators_took_is_not_the_activation_s_nor_a_sum_s() {
    // Where all values are positive, ReLU does nothing.
    let model = measured("summed");
    assert_all_is_due_to(&model, Kind::Other);
    assert!(octaves(&model, Kind::Activation).abs() < 1e-6, "{:?}", model.blur);
    let sums = model.blur[0].shares.iter().find(|share| share.kind == Kind::Add).unwrap();
    assert_eq!((sums.octaves, sums.operators), (0.0, 0));
    // Maps of 16 x 64 are no pictures of a square, and the way would lead through them.
    assert_eq!(measured("shifted").blur, []);
}

#[test]
fn operators_across_channels_see_no_more_of_the_image() {
    assert_eq!(sizes("channel_wise"), [[3.0; 2]; 3]);
}

#[test]
fn the_field_of_a_turned_map_is_not_said_to_lie_as_before() {
    assert_eq!(last_reach("turned"), Reach::Unknown);
}

#[test]
fn a_layer_that_is_written_over_has_no_effective_field_and_the_others_have() {
    let model = measured("in_place");
    let has_field: Vec<bool> =
        model.layers.iter().map(|layer| layer.folds[0].effective_field.is_some()).collect();
    // ReLU, overwritten; sigmoid; tanh.
    assert_eq!(has_field, [false, true, true]);
    assert!(model.layers.iter().all(|layer| layer.folds[0].detail.is_some()));
}

#[test]
fn a_layer_without_a_way_back_to_the_image_has_no_effective_field() {
    let model = measured("counted");
    let field = |layer: usize| model.layers[layer].folds[0].effective_field;
    assert!(field(0).is_some() && field(1).is_none());
}

#[test]
fn a_network_that_autograd_does_not_take_is_measured_without_effective_fields() {
    let model = measured("written_view");
    assert!(model.layers.iter().all(|layer| layer.folds[0].effective_field.is_none()));
    assert!(model.layers.iter().all(|layer| layer.folds[0].detail.is_some()));
}

#[test]
fn a_field_is_never_smaller_than_what_a_value_depends_on() {
    assert_eq!(window(last_reach("crossed")).size, [7.0; 2]);
    assert_eq!(last_reach("by_batch"), Reach::Whole);
    assert_eq!(last_reach("remembers"), Reach::Unknown);
}

#[test]
fn a_traced_transposed_convolution_is_none_that_steps_by_one() {
    let model = measured("enlarged");
    let operators = |kind: Kind| {
        let share = model.blur[0].shares.iter().find(|share| share.kind == kind);
        share.map_or(0, |share| share.operators)
    };
    assert_eq!((operators(Kind::Other), operators(Kind::Convolution)), (2, 0));
}

#[test]
fn of_maps_without_a_detail_nothing_is_said() {
    let model = measured("nothing");
    assert_eq!(model.blur, []);
    let blamed = |model: &ModelInsights| -> Vec<Option<bool>> {
        model.observations[3..].iter().map(|observation| observation.holds).collect()
    };
    assert_eq!(blamed(&model), [None; 3]);
    // The sigmoid's map is NaN throughout: the way ends at the ReLU before.
    let model = measured("no_numbers");
    assert_eq!((model.blur[0].layer.as_str(), model.layers.len()), (&*model.layers[0].name, 2));
}
