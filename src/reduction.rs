//! How a layer's C channels become one map, or a few.

use std::str::FromStr;

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::{Array1, Array2, ArrayView2, ArrayView3, Axis};

use crate::engine::{Probe, Reduce};
use crate::error::Error;
use crate::layers::Layer;
use crate::scale::Range;

/// What `--reduce` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// One number per position, from all channels there; done on the device.
    Whole(Reduce),
    /// The first principal component over the channels.
    Pca,
    /// One channel, counted from 1.
    Channel(usize),
    /// The K channels with the largest mean magnitude, each a map of its own.
    Top(usize),
}

impl Default for Reduction {
    fn default() -> Reduction {
        Reduction::Whole(Reduce::Mean)
    }
}

impl FromStr for Reduction {
    type Err = String;

    fn from_str(text: &str) -> Result<Reduction, String> {
        let number = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err("N and K are whole numbers from 1".to_owned()),
            Ok(number) => Ok(number),
        };
        match text.split_once(':') {
            Some(("channel", channel)) => number(channel).map(Reduction::Channel),
            Some(("top", count)) => number(count).map(Reduction::Top),
            None if text == "pca" => Ok(Reduction::Pca),
            _ => text
                .parse()
                .map(Reduction::Whole)
                .map_err(|_| "it is one of mean, max, l2, std, pca, channel:N, top:K".to_owned()),
        }
    }
}

impl std::fmt::Display for Reduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reduction::Whole(reduce) => write!(f, "{reduce}"),
            Reduction::Pca => write!(f, "pca"),
            Reduction::Channel(channel) => write!(f, "channel:{channel}"),
            Reduction::Top(count) => write!(f, "top:{count}"),
        }
    }
}

/// A map and which part of the layer it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelMap {
    /// With `top:K` the rank from 1, else 0.
    pub rank: usize,
    /// The channel from 1, if the map is one channel.
    pub channel: Option<usize>,
    /// Height x width, at the layer's own resolution.
    pub map: Array2<f32>,
}

impl Reduction {
    /// For people, of a layer with this many channels; `shown` is the channel that the
    /// picture shows, if it is one.
    pub fn in_words(self, channels: usize, shown: Option<usize>) -> String {
        match (self, shown) {
            (_, Some(channel)) => format!("channel {channel} of {channels}"),
            (Reduction::Channel(channel), None) => format!("channel {channel}"),
            (Reduction::Top(_), None) => "the most active channel".to_owned(),
            _ if channels == 1 => "1 channel".to_owned(),
            (Reduction::Whole(Reduce::Mean), None) => format!("mean of {channels} channels"),
            (Reduction::Whole(Reduce::Max), None) => format!("largest of {channels} channels"),
            (Reduction::Whole(Reduce::L2), None) => format!("L2 norm of {channels} channels"),
            (Reduction::Whole(Reduce::Std), None) => format!("std of {channels} channels"),
            (Reduction::Pca, None) => format!("PCA of {channels} channels"),
        }
    }

    /// Whether a map can have values below zero, of a layer that can or cannot.
    pub fn is_signed(self, layer: &Layer) -> bool {
        match self {
            _ if !layer.is_spatial() => layer.is_signed(),
            Reduction::Whole(Reduce::L2 | Reduce::Std) => false,
            Reduction::Pca => true,
            _ => layer.is_signed(),
        }
    }

    /// What to ask of the network.
    pub fn probe(self) -> Probe {
        match self {
            Reduction::Whole(reduce) => Probe::Reduced(reduce),
            _ => Probe::Channels,
        }
    }

    /// Checks that a layer has the channel that is asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] if it has fewer.
    pub fn check(self, layer: &Layer) -> Result<(), Error> {
        let channels = if layer.is_spatial() { layer.shape[0] } else { 1 };
        match self {
            Reduction::Channel(channel) if channel > channels => Err(Error::usage_hint(
                format!("--reduce {self}: layer {} has {channels} channels", layer.name),
                "choose a channel that every chosen layer has, or fewer layers with --layers",
            )),
            _ => Ok(()),
        }
    }

    /// The maps of a layer's channels (channels x height x width).
    pub fn apply(self, channels: ArrayView3<'_, f32>) -> Vec<ChannelMap> {
        let whole = |map| vec![ChannelMap { rank: 0, channel: None, map }];
        let one = |rank, channel: usize| ChannelMap {
            rank,
            channel: Some(channel),
            map: channels.index_axis(Axis(0), channel - 1).to_owned(),
        };
        match self {
            Reduction::Whole(reduce) => whole(reduce.apply(channels)),
            Reduction::Pca => whole(first_component(channels)),
            Reduction::Channel(channel) => vec![one(0, channel)],
            Reduction::Top(count) => most_active(channels)
                .into_iter()
                .take(count)
                .enumerate()
                .map(|(position, channel)| one(position + 1, channel))
                .collect(),
        }
    }
}

/// The channels, from 1, by falling mean magnitude; equal ones in their own order. Those
/// that hold what is no number come first: who looks for them must not miss them.
pub fn most_active(channels: ArrayView3<'_, f32>) -> Vec<usize> {
    let activity = |channel: ArrayView2<'_, f32>| -> f64 {
        if channel.iter().any(|value| !value.is_finite()) {
            return f64::INFINITY;
        }
        channel.iter().map(|value| f64::from(value.abs())).sum()
    };
    let activity: Vec<f64> = channels.outer_iter().map(activity).collect();
    let mut order: Vec<usize> = (0..activity.len()).collect();
    order.sort_by(|a, b| activity[*b].total_cmp(&activity[*a]));
    order.into_iter().map(|channel| channel + 1).collect()
}

/// The projection of every position's channel vector, centred, onto the direction of
/// the largest variance (PCA over positions: Pearson 1901). The sign is that with
/// which the map correlates with the channels' mean. A position where some channel is
/// NaN or infinite is NaN, and has no part in the direction.
fn first_component(channels: ArrayView3<'_, f32>) -> Array2<f32> {
    let (count, height, width) = channels.dim();
    let mut map = Array2::from_elem((height, width), f32::NAN);
    let is_finite = |&(y, x): &(usize, usize)| {
        channels.index_axis(Axis(1), y).index_axis(Axis(1), x).iter().all(|value| value.is_finite())
    };
    let places: Vec<(usize, usize)> =
        map.indexed_iter().map(|(place, _)| place).filter(is_finite).collect();
    if places.is_empty() {
        return map;
    }
    let data = Array2::from_shape_fn((count, places.len()), |(channel, at)| {
        channels[[channel, places[at].0, places[at].1]]
    });
    for (place, score) in places.iter().zip(scores(&data)) {
        map[*place] = score as f32;
    }
    map
}

/// The scores of the first component of finite values, channels x positions.
fn scores(values: &Array2<f32>) -> Array1<f64> {
    let (count, positions) = values.dim();
    let mut data = values.mapv(f64::from);
    let mean_map = data.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(positions));
    for (mut channel, own) in data.outer_iter_mut().zip(values.outer_iter()) {
        // What rounding alone has made is no direction.
        if Range::of(own.iter().copied(), 0.0).is_flat() {
            channel.fill(0.0);
            continue;
        }
        let mean = channel.mean().unwrap_or_default();
        channel -= mean;
    }
    let scores = if count <= positions {
        // The direction from the channels' covariance, then the projection onto it.
        let direction = largest_eigenvector(&data.dot(&data.t())).0;
        direction.dot(&data)
    } else {
        // With u the unit eigenvector of X'X, the projection is sqrt(eigenvalue) * u.
        let (vector, value) = largest_eigenvector(&data.t().dot(&data));
        vector * value.max(0.0).sqrt()
    };
    let centre = mean_map.mean().unwrap_or_default();
    let agreement: f64 = scores.iter().zip(&mean_map).map(|(s, m)| s * (m - centre)).sum();
    if agreement < 0.0 { -scores } else { scores }
}

/// The unit eigenvector of the largest eigenvalue of a symmetric matrix, and the value.
fn largest_eigenvector(matrix: &Array2<f64>) -> (Array1<f64>, f64) {
    let size = matrix.nrows();
    let eigen =
        SymmetricEigen::new(DMatrix::from_fn(size, size, |row, column| matrix[[row, column]]));
    let largest = eigen.eigenvalues.imax();
    (eigen.eigenvectors.column(largest).iter().copied().collect(), eigen.eigenvalues[largest])
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, arr3};

    use super::*;
    use crate::maps;

    #[test]
    fn every_reduction_is_read_and_written_the_same() {
        for text in ["mean", "max", "l2", "std", "pca", "channel:7", "top:3"] {
            assert_eq!(text.parse::<Reduction>().expect(text).to_string(), text);
        }
        for text in ["median", "channel", "channel:0", "top:x", "mean:1"] {
            assert!(text.parse::<Reduction>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_most_active_channels_come_first() {
        let channels = arr3(&[[[0.0, 1.0]], [[-5.0, 0.0]], [[1.0, 0.0]]]);
        assert_eq!(most_active(channels.view()), [2, 1, 3]);
        let parts = Reduction::Top(2).apply(channels.view());
        assert_eq!((parts[0].rank, parts[0].channel), (1, Some(2)));
        assert_eq!(parts[1].map, channels.index_axis(Axis(0), 0));
    }

    #[test]
    fn a_channel_with_what_is_no_number_is_the_most_active() {
        let channels = arr3(&[[[9.0, 9.0]], [[0.0, f32::INFINITY]], [[f32::NAN, 0.0]]]);
        assert_eq!(most_active(channels.view()), [2, 3, 1]);
        let shown = Reduction::Top(1).apply(channels.view());
        assert_eq!(maps::flags(shown[0].map.view()), [maps::Flag::Inf]);
    }

    #[test]
    fn pca_is_nan_where_a_channel_is_no_number_and_as_it_was_elsewhere() {
        let whole = Array3::from_shape_fn((3, 2, 3), |(c, y, x)| ((c + 1) * (3 * y + x)) as f32);
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut channels = whole.clone();
            channels[[1, 1, 1]] = odd;
            let map = &Reduction::Pca.apply(channels.view())[0].map;
            assert!(map[[1, 1]].is_nan());
            let step = map[[0, 1]] - map[[0, 0]];
            assert!((step - 14_f32.sqrt()).abs() < 1e-4, "{map}");
            assert!((map[[1, 2]] - map[[0, 0]] - 5.0 * step).abs() < 1e-4, "{map}");
            let nothing = Array3::from_elem((3, 2, 3), odd);
            let map = &Reduction::Pca.apply(nothing.view())[0].map;
            assert!(map.iter().all(|value| value.is_nan()));
        }
    }

    #[test]
    fn pca_of_constant_channels_is_zero_and_not_rounding() {
        for (count, side) in [(3, 7), (100, 7)] {
            let channels = Array3::from_shape_fn((count, side, side), |(c, _, _)| 0.1 * c as f32);
            let map = &Reduction::Pca.apply(channels.view())[0].map;
            assert!(map.iter().all(|value| *value == 0.0), "{map}");
        }
    }

    #[test]
    fn pca_is_the_same_from_either_side_and_agrees_with_the_mean() {
        // Rank one: every channel is a multiple of one pattern.
        let pattern = [0.0, 1.0, 4.0, 2.0, 3.0, 1.0];
        let wide =
            Array3::from_shape_fn((3, 2, 3), |(c, y, x)| (c + 1) as f32 * pattern[y * 3 + x]);
        let tall =
            Array3::from_shape_fn((9, 2, 3), |(c, y, x)| (c + 1) as f32 * pattern[y * 3 + x]);
        for channels in [wide, tall] {
            let norm = (1..=channels.dim().0).map(|c| (c * c) as f32).sum::<f32>().sqrt();
            let parts = Reduction::Pca.apply(channels.view());
            let mean = pattern.iter().sum::<f32>() / 6.0;
            for (found, own) in parts[0].map.iter().zip(pattern) {
                assert!((found - norm * (own - mean)).abs() < 1e-4, "{found}");
            }
        }
    }

    #[test]
    fn a_map_can_be_below_zero_if_its_layer_can_and_the_reduction_keeps_it() {
        let layer = |operator: &str| Layer {
            name: operator.to_owned(),
            operator: operator.to_owned(),
            shape: vec![4, 8, 8],
            layout: crate::layers::Layout::ChannelsFirst,
            parameters: 0,
        };
        let signed = |how: &str, operator: &str| {
            how.parse::<Reduction>().expect(how).is_signed(&layer(operator))
        };
        for how in ["mean", "max", "channel:2", "top:3"] {
            assert!(signed(how, "gelu") && !signed(how, "relu"), "{how}");
        }
        assert!(!signed("l2", "gelu") && !signed("std", "gelu") && signed("pca", "relu"));
    }

    #[test]
    fn a_channel_that_a_layer_lacks_is_refused() {
        let layer = Layer {
            name: "relu".to_owned(),
            operator: "relu".to_owned(),
            shape: vec![4, 8, 8],
            layout: crate::layers::Layout::ChannelsFirst,
            parameters: 0,
        };
        assert!(Reduction::Channel(4).check(&layer).is_ok());
        assert!(Reduction::Channel(5).check(&layer).is_err());
    }
}
