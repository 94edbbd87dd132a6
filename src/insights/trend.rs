//! Whether detail falls with depth, tested.

use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agreement;

/// Orders that are tried where there are too many to try all.
const DRAWS: usize = 9999;
/// Below this p-value the observation counts as supported.
pub const SIGNIFICANT: f64 = 0.05;

/// The trend of detail (or fill) over depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// Spearman's correlation of depth and detail for each fold, mean over the images;
    /// 0 where the detail is the same at all layers.
    pub rho_by_fold: Vec<f64>,
    /// The mean of these.
    pub rho: f64,
    /// How often layers in a random order, drawn for each fold, give a mean rho as low.
    pub p: f64,
    /// Whether every possible order was tried; else 9999 were drawn.
    pub exact: bool,
    /// Whether detail falls: p below 0.05, and rho below zero in every fold.
    pub supported: bool,
}

impl Trend {
    /// The test on detail by fold, image and depth. A layer without detail in some fold
    /// and image is left out; `None` if fewer than two are left.
    ///
    /// The null hypothesis is that the order of a network's layers does not matter, so
    /// the layers of a fold change places together for all of its images, which are no
    /// independent observations; folds are trained apart and change places apart.
    /// One-sided. P. Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses",
    /// 2005; (1 + hits) / (1 + draws) as B. Phipson and G. Smyth, "Permutation p-values
    /// should never be zero", 2010.
    pub fn of(details: &[Vec<Vec<Option<f64>>>]) -> Option<Trend> {
        let depth = details.first()?.first()?.len();
        let whole = |layer: &usize| {
            details.iter().flatten().all(|image| image.get(*layer).copied().flatten().is_some())
        };
        let layers: Vec<usize> = (0..depth).filter(whole).collect();
        if layers.len() < 2 {
            return None;
        }
        let folds: Vec<Vec<Vec<f64>>> = details
            .iter()
            .map(|images| {
                let chosen = |image: &Vec<Option<f64>>| {
                    layers.iter().filter_map(|layer| image[*layer]).collect()
                };
                images.iter().map(chosen).collect()
            })
            .collect();
        let natural: Vec<usize> = (0..layers.len()).collect();
        let rho_by_fold: Vec<f64> = folds.iter().map(|images| rho(images, &natural)).collect();
        let rho = rho_by_fold.iter().sum::<f64>() / rho_by_fold.len() as f64;
        let (p, exact) = p_value(&folds, rho);
        let supported = p < SIGNIFICANT && rho_by_fold.iter().all(|rho| *rho < 0.0);
        Some(Trend { rho_by_fold, rho, p, exact, supported })
    }

    /// In words, of the figure with this name: `detail falls with depth in 3 of 3 folds
    /// (rho = -0.97, p < 0.001)`.
    pub fn sentence(&self, figure: &str) -> String {
        let folds = self.rho_by_fold.len();
        let falling = self.rho_by_fold.iter().filter(|rho| **rho < 0.0).count();
        let (rho, p) = (self.rho, p_text(self.p));
        format!("{figure} falls with depth in {falling} of {folds} folds (rho = {rho:.2}, {p})")
    }
}

fn p_text(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

/// The mean over the images of the correlation between an order and their details.
fn rho(images: &[Vec<f64>], order: &[usize]) -> f64 {
    let depths = row(order.iter().map(|place| *place as f32));
    let all = images.iter().map(|details| {
        let details = row(details.iter().map(|detail| *detail as f32));
        agreement::spearman(depths.view(), details.view()).unwrap_or(0.0)
    });
    agreement::mean(all).unwrap_or(0.0)
}

fn row(values: impl ExactSizeIterator<Item = f32>) -> Array2<f32> {
    let (count, values) = (values.len(), values.collect());
    Array2::from_shape_vec((1, count), values).unwrap_or_default()
}

fn p_value(folds: &[Vec<Vec<f64>>], observed: f64) -> (f64, bool) {
    let layers = folds.iter().flatten().map(Vec::len).next().unwrap_or(0);
    let as_low = |mean: f64| mean <= observed + 1e-12;
    let orders: Option<usize> = (1..=layers).try_fold(1_usize, usize::checked_mul);
    let combinations = orders.and_then(|orders| orders.checked_pow(folds.len() as u32));
    if combinations.is_some_and(|count| count <= DRAWS) {
        let orders = all_orders(layers);
        let by_fold: Vec<Vec<f64>> = folds
            .iter()
            .map(|images| orders.iter().map(|order| rho(images, order)).collect())
            .collect();
        let sums = by_fold.iter().fold(vec![0.0], |sums, rhos| {
            sums.iter().flat_map(|sum| rhos.iter().map(move |rho| sum + rho)).collect()
        });
        let hits = sums.iter().filter(|sum| as_low(**sum / folds.len() as f64)).count();
        return (hits as f64 / sums.len() as f64, true);
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut order: Vec<usize> = (0..layers).collect();
    let hits = (0..DRAWS).filter(|_| {
        let sum: f64 = folds
            .iter()
            .map(|images| {
                random.shuffle(&mut order);
                rho(images, &order)
            })
            .sum();
        as_low(sum / folds.len() as f64)
    });
    ((1 + hits.count()) as f64 / (1 + DRAWS) as f64, false)
}

fn all_orders(count: usize) -> Vec<Vec<usize>> {
    (0..count).fold(vec![Vec::new()], |orders, next| {
        let insert = |order: &Vec<usize>| -> Vec<Vec<usize>> {
            (0..=order.len())
                .map(|place| {
                    let mut longer = order.clone();
                    longer.insert(place, next);
                    longer
                })
                .collect()
        };
        orders.iter().flat_map(insert).collect()
    })
}

/// SplitMix64 (G. Steele and others, "Fast splittable pseudorandom number generators",
/// 2014), with a fixed seed: the same figures from the same maps.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Fisher and Yates.
    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            let chosen = (self.next() % (last as u64 + 1)) as usize;
            order.swap(last, chosen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folds(details: &[&[f64]]) -> Vec<Vec<Vec<Option<f64>>>> {
        details.iter().map(|one| vec![one.iter().map(|d| Some(*d)).collect()]).collect()
    }

    #[test]
    fn three_falling_folds_of_three_layers_have_one_order_in_216() {
        let trend = Trend::of(&folds(&[&[9.0, 4.0, 2.0][..]; 3])).expect("a trend");
        assert!(trend.exact && trend.supported, "{trend:?}");
        assert!((trend.p - 1.0 / 216.0).abs() < 1e-12, "{}", trend.p);
        let words = "detail falls with depth in 3 of 3 folds (rho = -1.00, p = 0.005)";
        assert_eq!(trend.sentence("detail"), words);
    }

    #[test]
    fn detail_that_does_not_change_or_rises_is_not_supported() {
        for details in [[5.0, 5.0, 5.0], [2.0, 4.0, 9.0]] {
            let trend = Trend::of(&folds(&[&details[..]; 3])).expect("a trend");
            assert!(!trend.supported && trend.p > 0.9, "{trend:?}");
        }
    }

    #[test]
    fn one_fold_that_rises_is_enough_not_to_support_it() {
        let (falls, rises) = ([9.0, 8.0, 7.0, 6.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]);
        let trend = Trend::of(&folds(&[&falls, &falls, &falls, &rises])).expect("a trend");
        assert!(!trend.supported, "{trend:?}");
    }

    #[test]
    fn many_layers_are_drawn_at_random_and_always_the_same() {
        let details: Vec<f64> = (0..20).rev().map(f64::from).collect();
        let trend = Trend::of(&folds(&[&details])).expect("a trend");
        assert!(!trend.exact && trend.supported, "{trend:?}");
        assert_eq!(Some(trend), Trend::of(&folds(&[&details])));
    }

    #[test]
    fn two_layers_of_one_fold_prove_nothing() {
        let trend = Trend::of(&folds(&[&[9.0, 1.0]])).expect("a trend");
        assert_eq!((trend.p, trend.supported), (0.5, false));
        assert_eq!(Trend::of(&folds(&[&[9.0]])), None);
    }
}
