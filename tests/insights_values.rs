//! The arithmetic of insights against numpy and scipy: see fixtures/make_insights.py.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use actviz::agreement::spearman;
use actviz::insights::{channels, spectrum};
use ndarray::{Array2, Array3, Axis};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    shape: (usize, usize, usize),
    values: Vec<f32>,
    mean: Vec<f32>,
    detail: f64,
    zeros: f64,
    active: Vec<bool>,
    effective_rank: f64,
    spearman_of_the_first_two: f64,
}

impl Case {
    fn all() -> Vec<Case> {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/insights/arithmetic.json");
        let cases: Vec<Case> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        assert!(cases.len() >= 3);
        cases
    }

    fn channels(&self) -> Array3<f32> {
        Array3::from_shape_vec(self.shape, self.values.clone()).unwrap()
    }

    fn mean(&self) -> Array2<f32> {
        let (_, height, width) = self.shape;
        Array2::from_shape_vec((height, width), self.mean.clone()).unwrap()
    }
}

fn assert_near(ours: Option<f64>, theirs: f64, tolerance: f64) {
    let ours = ours.unwrap();
    assert!((ours - theirs).abs() <= tolerance * theirs.abs(), "{ours} is not {theirs}");
}

#[test]
fn detail_is_what_numpy_finds() {
    for case in Case::all() {
        assert_near(spectrum::detail(case.mean().view()), case.detail, 1e-9);
    }
}

#[test]
fn sparsity_and_silent_channels_are_what_numpy_finds() {
    for case in Case::all() {
        let maps = case.channels();
        assert_near(channels::zeros(maps.view()), case.zeros, 1e-12);
        assert_eq!(channels::active(maps.view()), case.active);
    }
}

#[test]
fn effective_rank_is_what_numpy_finds() {
    for case in Case::all() {
        let maps = case.channels();
        assert_near(channels::effective_rank(maps.view()), case.effective_rank, 1e-6);
    }
}

#[test]
fn rank_correlation_is_what_scipy_finds() {
    for case in Case::all() {
        let maps = case.channels();
        let (a, b) = (maps.index_axis(Axis(0), 0), maps.index_axis(Axis(0), 1));
        assert_near(spearman(a, b), case.spearman_of_the_first_two, 1e-9);
    }
}
