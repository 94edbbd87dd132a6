//! What holds for all inputs, not only for those that somebody thought of.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use actviz::accept;
use actviz::args::{Cli, Command};
use actviz::commands::{EXIT_DONE, render};
use actviz::fake::{FakeEngine, FakeNetwork, write_archive};
use actviz::interrupt::Interrupt;
use actviz::layers::{Choice, Layer, Layout};
use actviz::merge::merge;
use actviz::plan::Plan;
use actviz::scale::{Range, Scale};
use actviz::shard::Shard;
use actviz::terminal::{Reporter, Verbosity};
use clap::Parser;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::subsequence;

/// A network with a picture for each `true` and a vector for each `false`.
fn network(kinds: &[bool]) -> Vec<Layer> {
    let layer = |(position, is_picture): (usize, &bool)| Layer {
        name: format!("block{}.relu", position + 1),
        operator: "relu".to_owned(),
        shape: if *is_picture { vec![4, 8, 8] } else { vec![16] },
        layout: if *is_picture { Layout::ChannelsFirst } else { Layout::Flat },
        parameters: 0,
    };
    kinds.iter().enumerate().map(layer).collect()
}

fn choice(text: &str) -> Choice {
    text.parse().unwrap()
}

/// All files below a folder, by relative name.
type Tree = BTreeMap<String, Vec<u8>>;

fn tree(folder: &Path) -> Tree {
    fn walk(top: &Path, folder: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(top, &path, tree);
            } else {
                let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
                tree.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut all = Tree::new();
    walk(folder, folder, &mut all);
    all
}

proptest! {
    #[test]
    fn chosen_layers_are_there_in_the_networks_order_and_once(
        kinds in vec(any::<bool>(), 1..40),
        text in prop_oneof!["auto|all", "every:[1-9][0-9]?", "([1-9]|block[1-9]\\.relu|\\*1\\*|,){1,5}"],
    ) {
        let layers = network(&kinds);
        let Ok(choice) = text.parse::<Choice>() else { return Ok(()) };
        prop_assert_eq!(choice.to_string(), text);
        if let Ok(picked) = choice.pick(&layers, &[]) {
            prop_assert!(!picked.is_empty());
            prop_assert!(picked.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", picked);
            prop_assert!(picked.iter().all(|position| *position < layers.len()));
        }
    }

    #[test]
    fn rules_pick_no_vector_and_as_many_as_they_say(
        kinds in vec(any::<bool>(), 1..60),
        step in 1_usize..9,
    ) {
        let layers = network(&kinds);
        let pictures = layers.iter().filter(|layer| layer.is_spatial()).count();
        prop_assume!(pictures > 0);
        let all = choice("all").pick(&layers, &[]).unwrap();
        prop_assert!(all.iter().all(|position| layers[*position].is_spatial()));
        prop_assert_eq!(all.len(), pictures);
        let auto = choice("auto").pick(&layers, &[]).unwrap();
        prop_assert_eq!(auto.len(), pictures.min(10));
        prop_assert_eq!((auto.first(), auto.last()), (all.first(), all.last()));
        prop_assert!(auto.iter().all(|position| all.contains(position)));
        let every = choice(&format!("every:{step}")).pick(&layers, &[]).unwrap();
        prop_assert_eq!(every, all.into_iter().step_by(step).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_and_names_mean_the_same_layers(
        (kinds, wanted) in vec(any::<bool>(), 1..30).prop_flat_map(|kinds| {
            let numbers: Vec<usize> = (1..=kinds.len()).collect();
            (Just(kinds), subsequence(numbers.clone(), 1..=numbers.len()).prop_shuffle())
        }),
    ) {
        let layers = network(&kinds);
        let list = |word: fn(&usize) -> String| {
            let words: Vec<String> = wanted.iter().map(word).collect();
            choice(&words.join(",")).pick(&layers, &[]).unwrap()
        };
        let mut expected: Vec<usize> = wanted.iter().map(|number| number - 1).collect();
        expected.sort_unstable();
        prop_assert_eq!(&list(|number| number.to_string()), &expected);
        prop_assert_eq!(&list(|number| format!("block{number}.relu")), &expected);
    }

    #[test]
    fn a_range_holds_all_finite_values_and_a_clipped_one_lies_within_it(
        values in vec(any::<f32>(), 0..50),
        clip in 0.0_f32..50.0,
    ) {
        let finite: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let whole = Range::of(values.iter().copied(), 0.0);
        prop_assert!(whole.low <= whole.high);
        prop_assert!(finite.iter().all(|value| (whole.low..=whole.high).contains(value)));
        prop_assert!(finite.is_empty() || finite.contains(&whole.low) && finite.contains(&whole.high));
        let clipped = Range::of(values.iter().copied(), clip);
        prop_assert!(whole.low <= clipped.low && clipped.low <= clipped.high, "{:?}", clipped);
        prop_assert!(clipped.high <= whole.high, "{:?}", clipped);
    }

    #[test]
    fn a_scale_is_printed_as_what_means_the_same(low in any::<f32>(), high in any::<f32>()) {
        if let Ok(scale) = format!("fixed:{low},{high}").parse::<Scale>() {
            prop_assert!(low < high);
            prop_assert_eq!(scale.to_string().parse::<Scale>(), Ok(scale));
        }
    }

    #[test]
    fn every_image_is_in_one_shard(name in ".{0,20}", count in 1_usize..50) {
        let holds = |index: &usize| Shard::new(*index, count).unwrap().holds(&name);
        prop_assert_eq!((1..=count).filter(holds).count(), 1);
    }
}

/// Renders three folds of a fake network into `out`, seen from `place`.
fn run(place: &Path, out: &str, flags: &[&str]) {
    let model = place.join("fold_{fold}.pt").to_string_lossy().into_owned();
    let out = place.join(out).to_string_lossy().into_owned();
    let images = place.join("images").to_string_lossy().into_owned();
    let fixed = ["actviz", "render", "--folds", "2", "--input-size", "16", "--model", &model];
    let all = fixed.into_iter().chain(["-o", &out, &images]).chain(flags.iter().copied());
    let Command::Render(args) = Cli::try_parse_from(all).unwrap().command else {
        unreachable!("the first word is render");
    };
    let engine = FakeEngine(|_: &Path| Ok(FakeNetwork::default()));
    let plan = Plan::new(&args).unwrap();
    let (talk, interrupt) = (Reporter::new(Verbosity::Quiet), Interrupt::default());
    let code = render::run(&args, &plan, &engine, (&talk, &interrupt), &mut Vec::new()).unwrap();
    assert_eq!(code, EXIT_DONE);
}

// Each of these draws dozens of pictures.
proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn shards_merged_are_the_whole_run(
        greys in btree_map("[a-z]{1,6}", 0_u8..200, 2..8),
        count in 1_usize..5,
        more in prop_oneof![Just(vec![]), Just(vec!["--raw"]), Just(vec!["--view", "overlay,grid"])],
    ) {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        fs::create_dir(place.join("images")).unwrap();
        for fold in 1..=2 {
            write_archive(&place.join(format!("fold_{fold}.pt")), None).unwrap();
        }
        for (name, grey) in &greys {
            let picture = image::GrayImage::from_fn(16, 16, |x, y| {
                image::Luma([grey + (x + 2 * y) as u8])
            });
            picture.save(place.join(format!("images/{name}.png"))).unwrap();
        }
        run(place, "whole", &more);
        for index in 1..=count {
            let shard = format!("{index}/{count}");
            run(place, "parts", &[&more[..], &["--shard", &shard]].concat());
        }
        merge(&place.join("parts")).unwrap();
        let (whole, parts) = (tree(&place.join("whole")), tree(&place.join("parts")));
        prop_assert_eq!(whole.keys().collect::<Vec<_>>(), parts.keys().collect::<Vec<_>>());
        for (name, bytes) in &whole {
            prop_assert!(parts[name] == *bytes, "{} differs", name);
        }
        merge(&place.join("parts")).unwrap();
        prop_assert!(tree(&place.join("parts")) == parts, "a second merge changes nothing");
    }

    #[test]
    fn to_accept_twice_is_to_accept_once(
        golden in btree_map("[12]_[1-3]", 0_u8..3, 0..6),
        new in btree_map("[12]_[1-3]", 0_u8..3, 1..6),
        prune in any::<bool>(),
    ) {
        let place = tempfile::tempdir().unwrap();
        for (side, pictures) in [("golden", &golden), ("new", &new)] {
            fs::create_dir(place.path().join(side)).unwrap();
            for (name, grey) in pictures {
                let picture = image::RgbImage::from_pixel(4, 4, image::Rgb([*grey; 3]));
                picture.save(place.path().join(side).join(format!("{name}.png"))).unwrap();
            }
        }
        let (golden, new) = (place.path().join("golden"), place.path().join("new"));
        let before = tree(&new);
        let accept = || {
            let acceptance = accept::plan(&golden, &new, &[], prune).unwrap();
            accept::carry_out(&golden, &new, &acceptance).unwrap();
            acceptance
        };
        accept();
        let once = tree(&golden);
        let again = accept();
        prop_assert!(again.copied.is_empty() && again.pruned.is_empty(), "{:?}", again);
        prop_assert_eq!(again.manifest, None);
        prop_assert!(tree(&golden) == once);
        prop_assert!(tree(&new) == before, "NEW stays as it is");
        for (name, bytes) in &before {
            prop_assert!(once[name] == *bytes, "{} was not accepted", name);
        }
    }
}
