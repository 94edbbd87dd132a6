//! Scales, views, reductions and marks: against NumPy's values, against golden
//! pictures, and through `actviz render` on the fake engine.
#![allow(clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use actviz::about::About;
use actviz::agreement::spearman;
use actviz::args::{Cli, Command};
use actviz::colormap::Colormap;
use actviz::commands::{EXIT_DONE, EXIT_PARTLY, render};
use actviz::engine::{Engine, Reduce};
use actviz::error::Error;
use actviz::fake::{FakeEngine, FakeNetwork, write_archive};
use actviz::interrupt::Interrupt;
use actviz::manifest::{Fold, Image, Manifest, Options, Picture};
use actviz::maps::Flag;
use actviz::picture::{Rgb, View, grid, overlay, png};
use actviz::plan::Plan;
use actviz::reduction::Reduction;
use actviz::scale::Range;
use actviz::terminal::{Reporter, Verbosity};
use clap::Parser;
use ndarray::{Array0, Array2, Array3};
use ndarray_npy::{ReadableElement, read_npy};

/// A folder with three folds that see the same but for a factor, and an image.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a temporary folder"));
        for fold in 1..=3 {
            write_archive(&place.path(&format!("fold_{fold}.pt")), None).expect("a file");
        }
        place.image("cat.png", 40);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Rings around a point, on the grey value `start`.
    fn image(&self, name: &str, start: u8) {
        let picture = image::GrayImage::from_fn(32, 32, |x, y| {
            let far = (x as f32 - 12.0).hypot(y as f32 - 18.0);
            image::Luma([start.saturating_add((60.0 + 60.0 * (far / 2.5).cos()) as u8)])
        });
        picture.save(self.path(name)).expect("a picture");
    }

    /// Runs `actviz render` on the engine; `^name` is a file of this place.
    fn render(&self, engine: &dyn Engine, flags: &str) -> Result<u8, Error> {
        let own = |name: &str| self.path(name).to_string_lossy().into_owned();
        let fixed = ["actviz", "render", "--input-size", "32", "--mean", "0", "--std", "1"];
        let files = ["--model".to_owned(), own("fold_{fold}.pt"), "-o".to_owned(), own("out")];
        let words = flags.split_whitespace().map(|word| match word.strip_prefix('^') {
            Some(name) => own(name),
            None => word.to_owned(),
        });
        let all = fixed.into_iter().map(str::to_owned).chain(files).chain(words);
        let Command::Render(args) = Cli::try_parse_from(all).expect("flags").command else {
            unreachable!("the first word is render");
        };
        let reporter = Reporter::new(Verbosity::Quiet);
        let plan = Plan::new(&args)?;
        render::run(&args, &plan, engine, (&reporter, &Interrupt::default()), &mut Vec::new())
            .map_err(|error| error.downcast().expect("an error of ours"))
    }

    /// As [`Place::render`], with the fake networks as they are.
    fn rendered(&self, flags: &str) -> Manifest {
        assert_eq!(self.render(&plain(), flags).expect("pictures"), EXIT_DONE);
        self.manifest()
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.path("out")).expect("readable").expect("a manifest")
    }

    fn picture(&self, file: &str) -> Rgb {
        let path = self.path("out").join(file);
        let picture = image::open(&path).unwrap_or_else(|e| panic!("{file}: {e}")).to_rgb8();
        Rgb {
            width: picture.width() as usize,
            height: picture.height() as usize,
            pixels: picture.into_raw(),
        }
    }

    fn about(&self, file: &str) -> About {
        let bytes = fs::read(self.path("out").join(file)).expect("a file");
        let text = png::about(&bytes).expect("a PNG").expect("a text");
        serde_json::from_str(&text).expect("what a picture says of itself")
    }
}

fn plain() -> impl Engine {
    FakeEngine(|_: &Path| Ok(FakeNetwork::default()))
}

/// A network whose fold n multiplies its values by `gains[n - 1]`.
fn gained(gains: [f32; 3]) -> impl Engine {
    FakeEngine(move |file: &Path| {
        let fold = (1..=3).find(|n| file.ends_with(format!("fold_{n}.pt"))).unwrap_or(1);
        Ok(FakeNetwork { gain: gains[fold - 1], ..FakeNetwork::default() })
    })
}

fn by_file(manifest: &Manifest) -> BTreeMap<&str, &Picture> {
    manifest.pictures.iter().map(|picture| (picture.file.as_str(), picture)).collect()
}

// ---------------------------------------------------------------- against NumPy

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures")
}

fn load<T: ReadableElement, D: ndarray::Dimension>(name: &str) -> ndarray::Array<T, D> {
    read_npy(fixtures().join(format!("{name}.npy"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn assert_close(found: &Array2<f32>, expected: &Array2<f64>, tolerance: f64) {
    assert_eq!(found.dim(), expected.dim());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() <= tolerance, "{found} is not {expected}");
    }
}

fn rgb(name: &str) -> Rgb {
    let array: Array3<u8> = load(name);
    let (height, width, _) = array.dim();
    Rgb { width, height, pixels: array.iter().copied().collect() }
}

#[test]
fn maps_are_scaled_and_clipped_as_numpy_does() {
    let map: Array2<f32> = load("map");
    let whole = Range::of(map.iter().copied(), 0.0);
    assert_close(&whole.apply(map.view()), &load("scaled"), 1e-6);
    let clipped = Range::of(map.iter().copied(), 5.0);
    let ends: ndarray::Array1<f64> = load("clip_ends");
    assert!((f64::from(clipped.low) - ends[0]).abs() < 1e-6);
    assert!((f64::from(clipped.high) - ends[1]).abs() < 1e-6);
    assert_close(&clipped.apply(map.view()), &load("clipped"), 1e-6);
}

#[test]
fn overlays_are_blended_as_numpy_does() {
    assert_eq!(overlay::overlay(&rgb("heat"), &rgb("under"), 0.25), rgb("overlaid"));
}

#[test]
fn grids_are_laid_out_as_numpy_does() {
    let channels: Array3<f32> = load("channels");
    let order: Vec<usize> = (1..=channels.dim().0).collect();
    let colours = Colormap::Gray.colours(Range::of(channels.iter().copied(), 0.0));
    let found = grid::grid(channels.view(), &order, &colours);
    let expected: Array2<u8> = load("grid");
    assert_eq!((found.height, found.width), expected.dim());
    for ((y, x), value) in expected.indexed_iter() {
        assert!(found.get(x, y)[0].abs_diff(*value) <= 1, "at {x}, {y}");
    }
}

#[test]
fn the_first_component_is_that_of_numpys_singular_values() {
    for (channels, expected) in [("channels", "pca_few_channels"), ("many", "pca_many_channels")] {
        let channels: Array3<f32> = load(channels);
        let parts = Reduction::Pca.apply(channels.view());
        assert_close(&parts[0].map, &load(expected), 1e-4);
    }
}

#[test]
fn the_deviation_over_channels_is_numpys() {
    let channels: Array3<f32> = load("channels");
    let parts = Reduction::Whole(Reduce::Std).apply(channels.view());
    assert_close(&parts[0].map, &load("deviation"), 1e-5);
}

#[test]
fn rank_correlations_with_ties_are_those_of_numpys_ranks() {
    let (map, other): (Array2<f32>, Array2<f32>) = (load("map"), load("other"));
    let expected: Array0<f64> = load("spearman");
    let found = spearman(map.view(), other.view()).expect("a number");
    assert!((found - expected.into_scalar()).abs() < 1e-12, "{found}");
}

// ---------------------------------------------------------------- scales

#[test]
fn each_picture_has_a_scale_of_its_own_unless_told_otherwise() {
    let place = Place::new();
    let engine = gained([1.0, 2.0, 4.0]);
    place.render(&engine, "--folds 3 ^cat.png").expect("pictures");
    let manifest = place.manifest();
    let pictures = by_file(&manifest);
    assert!((pictures["2_1.png"].high / pictures["1_1.png"].high - 2.0).abs() < 1e-4);
    // The same pixels, although the values differ: that is what the other scales are for.
    assert_eq!(place.picture("1_1.png"), place.picture("2_1.png"));
}

#[test]
fn folds_that_share_a_scale_can_be_compared() {
    let place = Place::new();
    let engine = gained([1.0, 2.0, 4.0]);
    let flags = "--folds 3 --scale folds --colormap gray --size native ^cat.png";
    place.render(&engine, flags).expect("pictures");
    let manifest = place.manifest();
    let pictures = by_file(&manifest);
    let ends = |file: &str| (pictures[file].low, pictures[file].high);
    assert_eq!((ends("1_1.png"), ends("2_1.png")), (ends("3_1.png"), ends("3_1.png")));
    assert_ne!(ends("1_1.png"), ends("1_2.png"));
    let (small, large) = (place.picture("2_1.png"), place.picture("3_1.png"));
    assert!(large.pixels.contains(&255) && small.pixels.iter().all(|value| *value <= 128));
}

#[test]
fn images_that_share_a_layers_scale_do_so_fold_by_fold() {
    let place = Place::new();
    place.image("dim.png", 0);
    let engine = gained([1.0, 2.0, 4.0]);
    place.render(&engine, "--folds 2 --scale layer ^cat.png ^dim.png").expect("pictures");
    let manifest = place.manifest();
    let pictures = by_file(&manifest);
    let ends = |file: &str| (pictures[file].low, pictures[file].high);
    assert_eq!(ends("cat/1_2.png"), ends("dim/1_2.png"));
    assert_ne!(ends("cat/1_2.png"), ends("cat/2_2.png"));
}

#[test]
fn a_fixed_scale_is_kept_to_the_letter_even_by_a_diverging_map() {
    let place = Place::new();
    let manifest = place.rendered("--folds 1 --scale fixed:-0.5,2 --view heat,grid ^cat.png");
    for picture in &manifest.pictures {
        assert_eq!((picture.low, picture.high), (-0.5, 2.0));
        assert_eq!(picture.colormap, Colormap::BlueRed);
    }
}

#[test]
fn clipping_moves_the_ends_inwards_and_contradicts_a_fixed_scale() {
    let place = Place::new();
    let whole = place.rendered("--folds 1 ^cat.png").pictures[0].clone();
    let clipped = place.rendered("--folds 1 --clip 5 --force ^cat.png").pictures[0].clone();
    assert!(clipped.low > whole.low && clipped.high < whole.high);
    let error = place.render(&plain(), "--folds 1 --clip 5 --scale fixed:0,1 ^cat.png");
    assert!(error.expect_err("a contradiction").to_string().contains("--clip"));
}

#[test]
fn signed_layers_get_a_diverging_map_with_zero_in_the_middle() {
    let place = Place::new();
    let engine = FakeEngine(|_: &Path| {
        Ok(FakeNetwork { operators: vec!["gelu"], shift: -0.3, ..FakeNetwork::default() })
    });
    place.render(&engine, "--folds 1 ^cat.png").expect("pictures");
    let picture = &place.manifest().pictures[0];
    assert_eq!((picture.colormap, picture.low), (Colormap::BlueRed, -picture.high));
    let manifest = place.rendered("--folds 1 --force ^cat.png");
    assert_eq!(manifest.pictures[0].colormap, Colormap::Viridis);
}

#[test]
fn a_signed_layer_has_the_same_colours_in_every_fold() {
    let place = Place::new();
    let engine = FakeEngine(|file: &Path| {
        let shift = if file.ends_with("fold_1.pt") { -0.3 } else { 0.0 };
        Ok(FakeNetwork { operators: vec!["gelu"], shift, ..FakeNetwork::default() })
    });
    let render = |flags: &str| {
        let flags = format!("--folds 2 --view heat,grid --consensus --force {flags} ^cat.png");
        place.render(&engine, &flags).expect("pictures");
        let manifest = place.manifest();
        let maps: Vec<Colormap> = manifest.pictures.iter().map(|p| p.colormap).collect();
        (maps, manifest.consensus[0].mean.colormap)
    };
    assert_eq!(render(""), (vec![Colormap::BlueRed; 4], Colormap::BlueRed));
    let (viridis, blue_red) = (Colormap::Viridis, Colormap::BlueRed);
    // No norm is below zero; the channels in the grids can be.
    assert_eq!(render("--reduce l2"), (vec![viridis, blue_red, viridis, blue_red], viridis));
    assert_eq!(render("--colormap magma").0, [Colormap::Magma; 4]);
}

// ---------------------------------------------------------------- views

#[test]
fn several_views_are_drawn_at_once_each_under_its_name() {
    let place = Place::new();
    let flags = "--folds 2 --layers 1,2 --view heat,overlay,grid,sheet ^cat.png";
    let manifest = place.rendered(flags);
    let files: Vec<&str> = manifest.pictures.iter().map(|p| p.file.as_str()).collect();
    let of = |fold, b| ["", ".overlay", ".grid"].map(|view| format!("{fold}_{b}{view}.png"));
    let expected: Vec<String> = [of(1, 1), of(1, 2), of(2, 1), of(2, 2)].concat();
    assert_eq!(files, expected);
    assert_eq!(manifest.sheets[0].file, "sheet.png");
    for file in expected.iter().map(String::as_str).chain(["sheet.png"]) {
        assert!(place.path("out").join(file).is_file(), "{file}");
    }
    assert_eq!(manifest.pictures[1].view, View::Overlay);
}

#[test]
fn alpha_goes_from_the_input_to_the_heatmap() {
    let place = Place::new();
    place.rendered("--folds 1 --view heat,overlay --alpha 1 ^cat.png");
    assert_eq!(place.picture("1_2.png"), place.picture("1_2.overlay.png"));
    place.rendered("--folds 1 --view overlay --alpha 0 --force ^cat.png");
    let input = image::open(place.path("cat.png")).expect("a picture").to_rgb8();
    assert_eq!(place.picture("1_2.overlay.png").pixels, input.into_raw());
}

#[test]
fn grids_put_the_most_active_channel_first_on_request() {
    let place = Place::new();
    let engine = many_channels();
    place.render(&engine, "--folds 1 --view grid ^cat.png").expect("pictures");
    assert_eq!(place.manifest().pictures[0].order, None);
    // Nothing is reduced where every channel is shown.
    assert_eq!(place.manifest().pictures[0].reduce, "none");
    let own = place.picture("1_1.grid.png");
    place
        .render(&engine, "--folds 1 --view grid --grid-order activity --force ^cat.png")
        .expect("");
    let manifest = place.manifest();
    let order = manifest.pictures[0].order.as_ref().expect("an order");
    // Channel c is c times the picture: see `many_channels`.
    assert_eq!(*order, (1..=20).rev().collect::<Vec<_>>());
    assert_ne!(place.picture("1_1.grid.png"), own);
}

#[test]
fn aligned_grids_give_matching_channels_the_same_place() {
    let place = Place::new();
    place.image("dog.png", 90);
    let engine = FakeEngine(|file: &Path| {
        let rotate = if file.ends_with("fold_2.pt") { 7 } else { 0 };
        Ok(FakeNetwork { channels_out: 20, rotate, waves: true, ..FakeNetwork::default() })
    });
    let flags = "--folds 2 --view grid --align-folds --layers 1 ^cat.png ^dog.png";
    place.render(&engine, flags).expect("pictures");
    assert_eq!(place.picture("cat/1_1.grid.png"), place.picture("cat/2_1.grid.png"));
    let manifest = place.manifest();
    let order = by_file(&manifest)["cat/2_1.grid.png"].order.clone().expect("an order");
    let expected: Vec<usize> = (0..20).map(|c| (c + 7) % 20 + 1).collect();
    assert_eq!(order, expected);
}

/// Twenty channels, the n-th n times the picture.
fn many_channels() -> impl Engine {
    FakeEngine(|_: &Path| Ok(FakeNetwork { channels_out: 20, ..FakeNetwork::default() }))
}

#[test]
fn a_legend_stands_below_every_view() {
    let place = Place::new();
    let views = "--folds 1 --layers 1 --view heat,overlay,grid --size 200";
    place.rendered(&format!("{views} ^cat.png"));
    let files = ["1_1.png", "1_1.overlay.png", "1_1.grid.png"];
    let plain: Vec<Rgb> = files.iter().map(|file| place.picture(file)).collect();
    place.rendered(&format!("{views} --legend --force ^cat.png"));
    for (file, plain) in files.iter().zip(plain) {
        let page = place.picture(file);
        assert!(page.height > plain.height + 40, "{file}");
        let left = (page.width - plain.width) / 2;
        assert_eq!(page.get(left + 3, 5), plain.get(3, 5), "{file}");
    }
}

// ---------------------------------------------------------------- reductions

#[test]
fn top_k_draws_the_most_active_channels_as_pictures_of_their_own() {
    let place = Place::new();
    place.render(&many_channels(), "--folds 1 --layers 1 --reduce top:3 ^cat.png").expect("3");
    let manifest = place.manifest();
    let found: Vec<_> = manifest.pictures.iter().map(|p| (p.file.as_str(), p.channel)).collect();
    let expected =
        [("1_1.top1.png", Some(20)), ("1_1.top2.png", Some(19)), ("1_1.top3.png", Some(18))];
    assert_eq!(found, expected);
}

#[test]
fn one_channel_can_be_chosen_and_a_missing_one_is_named() {
    let place = Place::new();
    let engine = many_channels();
    place.render(&engine, "--folds 1 --layers 1 --reduce channel:20 ^cat.png").expect("one");
    let manifest = place.manifest();
    assert_eq!((manifest.pictures[0].channel, manifest.pictures[0].channels), (Some(20), 20));
    let error = place.render(&engine, "--folds 1 --layers 1 --reduce channel:21 --force ^cat.png");
    let text = error.expect_err("20 channels").to_string();
    assert!(text.contains("channel:21") && text.contains("20 channels"), "{text}");
}

#[test]
fn pca_and_deviation_have_the_layers_own_size() {
    let place = Place::new();
    for how in ["pca", "std"] {
        let flags = format!("--folds 1 --layers 2 --reduce {how} --raw --force ^cat.png");
        place.render(&many_channels(), &flags).expect("pictures");
        let raw: Array2<f32> = read_npy(place.path("out/1_1.npy")).expect("a map");
        assert_eq!(raw.dim(), (16, 16));
        assert!(raw.iter().any(|value| *value != raw[[0, 0]]), "{how}");
    }
}

#[test]
fn a_map_is_the_same_with_and_without_a_grid_beside_it() {
    for how in ["mean", "max", "l2", "std", "pca"] {
        let place = Place::new();
        // One channel, all of it below zero; and a vector, of which nothing is reduced.
        let engine =
            FakeEngine(|_: &Path| Ok(FakeNetwork { shift: -5.0, ..FakeNetwork::default() }));
        let maps = |view: &str| {
            let flags = format!("--folds 1 --layers 1,4 --reduce {how} --raw --force {view}");
            place.render(&engine, &format!("{flags} ^cat.png")).expect("pictures");
            let map = |name: &str| -> Array2<f32> {
                read_npy(place.path("out").join(name)).expect("a map")
            };
            [map("1_1.npy"), map("1_2.npy")]
        };
        assert_eq!(maps("--view heat"), maps("--view heat,grid"), "{how}");
        assert_eq!(maps("--view heat")[1], Array2::<f32>::ones((2, 2)), "{how}");
    }
}

// ---------------------------------------------------------------- marks

/// Fold 2 goes wrong in its second layer.
fn wrong(value: f32) -> impl Engine {
    FakeEngine(move |file: &Path| {
        let spoilt = file.ends_with("fold_2.pt").then_some((2, value));
        Ok(FakeNetwork { spoilt, ..FakeNetwork::default() })
    })
}

#[test]
fn a_map_that_shows_nothing_is_flagged_marked_and_fails_on_request() {
    for (value, flag) in [
        (0.0, Flag::Dead),
        (0.3, Flag::Constant),
        (f32::NAN, Flag::Nan),
        (f32::NEG_INFINITY, Flag::Inf),
    ] {
        let place = Place::new();
        let render = |flags: &str| {
            place.render(&wrong(value), &format!("--folds 3 --force {flags} ^cat.png"))
        };
        assert_eq!(render("").expect("pictures"), EXIT_DONE, "{flag}");
        let manifest = place.manifest();
        for picture in &manifest.pictures {
            let expected = if picture.file == "2_2.png" { vec![flag] } else { vec![] };
            assert_eq!(picture.flags, expected, "{} {flag}", picture.file);
        }
        assert_eq!(render(&format!("--fail-on {flag}")).expect("pictures"), EXIT_PARTLY);
        let others = ["nan", "inf", "dead", "constant"].map(str::to_owned);
        let others: Vec<String> =
            others.into_iter().filter(|other| *other != flag.to_string()).collect();
        assert_eq!(render(&format!("--fail-on {}", others.join(","))).expect("all"), EXIT_DONE);
        assert_eq!(place.about("2_2.png").picture.expect("an entry").flags, [flag]);
    }
}

#[test]
fn a_grid_alone_is_judged_by_all_of_its_channels() {
    for (value, flag) in [(0.0, Flag::Dead), (0.3, Flag::Constant)] {
        let place = Place::new();
        let flags = "--folds 2 --view grid --fail-on dead,constant ^cat.png";
        assert_eq!(place.render(&wrong(value), flags).expect("pictures"), EXIT_PARTLY);
        let manifest = place.manifest();
        for picture in &manifest.pictures {
            let expected = if picture.file == "2_2.grid.png" { vec![flag] } else { vec![] };
            assert_eq!(picture.flags, expected, "{}", picture.file);
        }
        // Its frame, and the two colours of its mark.
        let colours: std::collections::BTreeSet<[u8; 3]> =
            place.picture("2_2.grid.png").pixels.chunks(3).map(|p| [p[0], p[1], p[2]]).collect();
        assert_eq!(colours.len(), 3, "{flag}: {colours:?}");
    }
}

#[test]
fn what_is_no_number_is_seen_whatever_the_reduction() {
    for (value, flag) in [(f32::NAN, Flag::Nan), (f32::INFINITY, Flag::Nan)] {
        let place = Place::new();
        place.render(&wrong(value), "--folds 2 --reduce pca ^cat.png").expect("pictures");
        assert_eq!(by_file(&place.manifest())["2_2.png"].flags, [flag]);
    }
}

#[test]
fn zero_is_constant_and_not_dead_where_it_means_that_nothing_differs() {
    for how in ["std", "pca"] {
        let place = Place::new();
        let flags = format!("--folds 2 --reduce {how} --consensus --fail-on dead ^cat.png");
        assert_eq!(place.render(&wrong(0.7), &flags).expect("pictures"), EXIT_DONE, "{how}");
        assert_eq!(by_file(&place.manifest())["2_2.png"].flags, [Flag::Constant], "{how}");
    }
    // One channel deviates from nothing: all maps are zero, and none is dead.
    let place = Place::new();
    let manifest = place.rendered("--folds 1 --reduce std --fail-on dead ^cat.png");
    assert!(manifest.pictures.iter().all(|picture| picture.flags == [Flag::Constant]));
}

#[test]
fn nothing_is_noise_a_wrong_map_has_no_more_colours_than_its_mark() {
    for value in [0.0, 0.3, f32::NAN, f32::INFINITY] {
        let place = Place::new();
        place.render(&wrong(value), "--folds 2 ^cat.png").expect("pictures");
        let colours: std::collections::BTreeSet<[u8; 3]> =
            place.picture("2_2.png").pixels.chunks(3).map(|p| [p[0], p[1], p[2]]).collect();
        assert_eq!(colours.len(), 2, "{value}: {colours:?}");
    }
}

#[test]
fn a_sheet_alone_is_judged_as_well() {
    let place = Place::new();
    let flags = "--folds 2 --view sheet --fail-on dead ^cat.png";
    assert_eq!(place.render(&wrong(0.0), flags).expect("a sheet"), EXIT_PARTLY);
    let manifest = place.manifest();
    let found = &manifest.sheets[0].flagged[0];
    assert_eq!((found.fold, found.layer_position, found.layer.as_str()), (2, 2, "block2.relu"));
    assert_eq!((manifest.sheets[0].flagged.len(), &found.flags), (1, &vec![Flag::Dead]));
}

#[test]
fn a_wrong_fold_is_flagged_in_the_consensus_too() {
    let place = Place::new();
    place.render(&wrong(f32::NAN), "--folds 3 --consensus ^cat.png").expect("pictures");
    let manifest = place.manifest();
    let flags: Vec<_> = manifest.consensus.iter().map(|c| c.mean.flags.clone()).collect();
    assert_eq!(flags, [vec![], vec![Flag::Nan], vec![]]);
    // Nothing can be said about the rank of NaN.
    assert_eq!(manifest.agreement[1].spearman[0], [Some(1.0), None, Some(1.0)]);
}

// ---------------------------------------------------------------- folds

#[test]
fn the_consensus_is_drawn_and_the_odd_fold_named() {
    let place = Place::new();
    let manifest = {
        let engine = gained([1.0, 2.0, -1.0]);
        place.render(&engine, "--folds 3 --consensus ^cat.png").expect("pictures");
        place.manifest()
    };
    for b in 1..=3 {
        for what in ["mean", "std"] {
            assert!(place.path(&format!("out/{what}_{b}.png")).is_file());
        }
    }
    let first = &manifest.agreement[0];
    assert_eq!((first.folds.clone(), first.odd_one_out), (vec![1, 2, 3], Some(3)));
    assert_eq!(first.spearman[0], [Some(1.0), Some(1.0), Some(-1.0)]);
    // The mean of x, 2x and -x is 2/3 x, and their deviation sqrt(14/9) x.
    let high = by_file(&manifest)["1_1.png"].high;
    assert!((manifest.consensus[0].mean.high - high * 2.0 / 3.0).abs() < 1e-5);
    assert!((manifest.consensus[0].std.high - high * (14.0_f32 / 9.0).sqrt()).abs() < 1e-5);
}

#[test]
fn one_fold_has_no_consensus() {
    let place = Place::new();
    for folds in ["--folds 1", "--folds 3 --fold 2"] {
        let error = place.render(&plain(), &format!("{folds} --consensus ^cat.png"));
        assert!(error.expect_err("one fold").to_string().contains("--consensus"));
    }
}

#[test]
fn a_fold_that_shows_nothing_is_the_odd_one_and_equal_folds_are_not() {
    for value in [0.3, f32::NAN] {
        let place = Place::new();
        place.render(&wrong(value), "--folds 3 --consensus ^cat.png").expect("pictures");
        let odd: Vec<_> = place.manifest().agreement.iter().map(|a| a.odd_one_out).collect();
        assert_eq!(odd, [None, Some(2), None]);
    }
}

#[test]
fn the_consensus_can_be_had_as_numbers() {
    let place = Place::new();
    place.image("dog.png", 90);
    let engine = gained([1.0, 2.0, -1.0]);
    place.render(&engine, "--folds 3 --consensus --raw ^cat.png ^dog.png").expect("pictures");
    let manifest = place.manifest();
    let map = |name: &str| -> Array2<f32> {
        read_npy(place.path("out").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let first = map("cat/1_2.npy");
    let factors = [("mean", 2.0 / 3.0), ("std", (14.0_f32 / 9.0).sqrt())];
    let drawn = [&manifest.consensus[1].mean, &manifest.consensus[1].std];
    for ((what, factor), drawn) in factors.into_iter().zip(drawn) {
        let name = format!("cat/{what}_2.npy");
        assert_eq!((drawn.raw.as_ref(), manifest.files().contains(&name)), (Some(&name), true));
        let bytes = fs::read(place.path("out").join(&name)).expect("a file");
        assert_eq!(drawn.raw_sha256, Some(actviz::digest::of_bytes(&bytes)));
        assert_close(&map(&name), &first.mapv(|v| f64::from(v * factor)), 1e-6);
    }
    let inside = place.about("cat/mean_2.png").consensus.expect("an entry").mean;
    assert_eq!((inside.raw.as_deref(), inside.raw_sha256), (Some("mean_2.npy"), None));
}

// ---------------------------------------------------------------- files

#[test]
fn a_picture_has_the_same_bytes_in_any_company() {
    let place = Place::new();
    for (name, start) in [("a.png", 0), ("b.png", 70), ("dog.png", 90)] {
        place.image(name, start);
    }
    let render = |images: &str| {
        place.rendered(&format!("--folds 2 --view heat,overlay,grid --force {images}"));
        let (alone, among) = (place.path("out/1_2.png"), place.path("out/cat/1_2.png"));
        fs::read(if alone.is_file() { alone } else { among }).expect("a picture")
    };
    let first = render("^cat.png ^dog.png");
    assert_eq!(render("^a.png ^b.png ^dog.png ^cat.png"), first);
    assert_eq!(render("^cat.png"), first);
}

#[test]
fn every_kind_of_picture_says_what_it_shows() {
    let place = Place::new();
    let flags = "--folds 2 --layers 1 --view heat,overlay,grid,sheet --consensus ^cat.png";
    let manifest = place.rendered(flags);
    for picture in &manifest.pictures {
        let about = place.about(&picture.file);
        // A file cannot hold its own SHA-256.
        assert_eq!(picture.sha256.len(), 64);
        let inside = Picture { sha256: String::new(), ..picture.clone() };
        assert_eq!(about.picture, Some(inside));
        assert_eq!(about.folds.len(), 1);
        assert_eq!(about.folds[0].sha256.len(), 64);
        // Where the files lay is nothing that a picture tells.
        let image = Image { path: "cat.png".to_owned(), ..manifest.images[0].clone() };
        assert_ne!(image, manifest.images[0]);
        let options = Options { batch: None, ..manifest.options.clone() };
        assert_eq!((about.options, about.image), (options, image));
        assert_eq!(about.folds[0].file, format!("fold_{}.pt", picture.fold));
    }
    let mut consensus = manifest.consensus[0].clone();
    for drawn in [&mut consensus.mean, &mut consensus.std] {
        drawn.sha256.clear();
    }
    assert_eq!(place.about("mean_1.png").consensus, Some(consensus));
    let hashes = |folds: &[Fold]| folds.iter().map(|f| f.sha256.clone()).collect::<Vec<_>>();
    assert_eq!(hashes(&place.about("sheet.png").folds), hashes(&manifest.folds));
}

// ---------------------------------------------------------------- golden pictures

/// Set to write the golden pictures anew; the test fails all the same, so that what is
/// new is looked at and never passes unseen.
const UPDATE: &str = "ACTVIZ_UPDATE_GOLDEN";
/// The largest golden picture in bytes.
const LARGEST: usize = 20 * 1024;

fn assert_golden(place: &Place, file: &str, golden: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/views").join(golden);
    let found = place.picture(file);
    if std::env::var_os(UPDATE).is_some() {
        let bytes = smallest_png(&found);
        assert!(bytes.len() <= LARGEST, "{golden} has {} bytes", bytes.len());
        fs::write(&path, bytes).expect("a golden picture");
        panic!("{golden} was written anew: look at it, then run without {UPDATE}");
    }
    let expected = image::open(&path).unwrap_or_else(|e| panic!("{golden}: {e}")).to_rgb8();
    assert!(fs::metadata(&path).expect("a file").len() <= LARGEST as u64, "{golden}");
    let size = (expected.width() as usize, expected.height() as usize);
    assert_eq!((found.width, found.height), size, "{golden}");
    let differing =
        found.pixels.chunks(3).zip(expected.as_raw().chunks(3)).filter(|(a, b)| a != b).count();
    assert_eq!(differing, 0, "{golden}: so many pixels differ; {UPDATE}=1 writes it anew");
}

/// Without text, and packed as small as it gets.
fn smallest_png(picture: &Rgb) -> Vec<u8> {
    use image::ImageEncoder;
    use image::codecs::png::{CompressionType, FilterType, PngEncoder};
    let mut bytes = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive);
    let (width, height) = (picture.width as u32, picture.height as u32);
    let colour = image::ExtendedColorType::Rgb8;
    encoder.write_image(&picture.pixels, width, height, colour).expect("a PNG");
    bytes
}

macro_rules! golden {
    ($($test:ident: $engine:expr, $flags:literal, $file:literal;)*) => {
        $(#[test]
        fn $test() {
            let place = Place::new();
            place.render(&$engine, &format!("{} ^cat.png", $flags)).expect("pictures");
            assert_golden(&place, $file, concat!(stringify!($test), ".png"));
        })*
    };
}

golden! {
    golden_heat: plain(), "--folds 1", "1_2.png";
    golden_heat_of_squares: plain(), "--folds 1 --interpolation nearest", "1_3.png";
    golden_overlay: plain(), "--folds 1 --view overlay --colormap inferno", "1_3.overlay.png";
    golden_legend: plain(), "--folds 1 --legend --size 96", "1_2.png";
    golden_grid: many_channels(), "--folds 1 --layers 3 --view grid --legend", "1_1.grid.png";
    golden_dead: wrong(0.0), "--folds 2 --legend", "2_2.png";
    golden_constant: wrong(0.3), "--folds 2 --legend", "2_2.png";
    golden_nan: wrong(f32::NAN), "--folds 2 --legend", "2_2.png";
    golden_infinite: wrong(f32::INFINITY), "--folds 2 --legend", "2_2.png";
}

#[test]
fn golden_sheet() {
    let place = Place::new();
    // The title names the model's path, which is another one every time.
    let description = r#"{"schema":1,"name":"fake","input":{"channels":3,"width":32,"height":32,
        "mean":[0,0,0],"std":[1,1,1]},"folds":[{"file":"fold_1.pt","sha256":""}]}"#;
    fs::write(place.path("model.json"), description).expect("a bundle");
    std::env::set_current_dir(place.path("")).expect("a folder");
    let args = ["actviz", "render", "--model", ".", "-o", "out", "--view", "sheet"];
    let args = args.into_iter().chain(["--layers", "3", "--interpolation", "nearest", "cat.png"]);
    let Command::Render(args) = Cli::try_parse_from(args).expect("flags").command else {
        unreachable!("the first word is render");
    };
    let reporter = Reporter::new(Verbosity::Quiet);
    let plan = Plan::new(&args).expect("a plan");
    render::run(&args, &plan, &plain(), (&reporter, &Interrupt::default()), &mut Vec::new())
        .expect("a sheet");
    assert_golden(&place, "sheet.png", "golden_sheet.png");
}
