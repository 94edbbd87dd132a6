//! How far the folds agree on where a layer is active.

use ndarray::ArrayView2;

/// Spearman's rank correlation of two maps of one size, -1 to 1: Pearson's correlation
/// of the ranks, equal values sharing the mean of their ranks. Positions where one of
/// them is no number are left out. `None` if one of them is constant in what is left:
/// then nothing can be said.
///
/// C. Spearman, "The proof and measurement of association between two things", 1904.
pub fn spearman(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Option<f64> {
    if a.dim() != b.dim() {
        return None;
    }
    let pairs = a.iter().copied().zip(b.iter().copied());
    let (a, b): (Vec<f32>, Vec<f32>) =
        pairs.filter(|(a, b)| a.is_finite() && b.is_finite()).unzip();
    pearson(&ranks(&a), &ranks(&b))
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    // -0.0 and 0.0 are equal values, so no total order.
    order.sort_by(|i, j| values[*i].partial_cmp(&values[*j]).unwrap_or(std::cmp::Ordering::Equal));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let same = |i: &&usize| values[**i] == values[order[start]];
        let end = start + order[start..].iter().take_while(same).count();
        let shared = (start + 1 + end) as f64 / 2.0;
        order[start..end].iter().for_each(|i| ranks[*i] = shared);
        start = end;
    }
    ranks
}

fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(x, y)| f(x - mean_a, y - mean_b)).sum()
    };
    let scale = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    (scale > 0.0).then(|| (sum(&|x, y| x * y) / scale).clamp(-1.0, 1.0))
}

/// The mean of what is there; `None` of nothing.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// Correlations that differ by less are equal: sums of them are rounded.
const TIE: f64 = 1e-9;

/// The position of the fold that agrees least with the others, by the mean of its
/// correlations with them. A fold without any, where others have some, is the odd one: its
/// maps are constant. `None` with fewer than three folds, and where two are equally odd.
pub fn odd_one_out(correlations: &[Vec<Option<f64>>]) -> Option<usize> {
    if correlations.len() < 3 {
        return None;
    }
    let with_others = |fold: usize| {
        let row = correlations[fold].iter().enumerate();
        mean(row.filter(|(other, _)| *other != fold).filter_map(|(_, value)| *value))
    };
    let means = (0..correlations.len()).map(with_others);
    let mut folds: Vec<(usize, f64)> =
        means.map(|mean| mean.unwrap_or(f64::NEG_INFINITY)).enumerate().collect();
    folds.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (least, next) = (folds[0], folds[1]);
    // Of two without any correlation, the difference is no number.
    (next.1 - least.1 > TIE).then_some(least.0)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;

    #[test]
    fn any_rising_function_keeps_the_ranks() {
        let a = Array2::from_shape_fn((5, 7), |(y, x)| ((y * 31 + x * 17) % 13) as f32);
        let b = a.mapv(|value| value.powi(3) + 2.0);
        assert!((spearman(a.view(), b.view()).expect("a number") - 1.0).abs() < 1e-12);
        let c = a.mapv(|value| -value);
        assert!((spearman(a.view(), c.view()).expect("a number") + 1.0).abs() < 1e-12);
    }

    #[test]
    fn ties_share_their_ranks_as_scipy_has_it() {
        // scipy.stats.spearmanr([1, 2, 2, 0, 5, 2], [3, 1, 1, 0, 2, 2]).statistic
        let a = arr2(&[[1.0, 2.0, 2.0], [0.0, 5.0, 2.0]]);
        let b = arr2(&[[3.0, 1.0, 1.0], [0.0, 2.0, 2.0]]);
        let found = spearman(a.view(), b.view()).expect("a number");
        assert!((found - SCIPY).abs() < 1e-12, "{found}");
    }
    const SCIPY: f64 = 0.2813874297663251;

    #[test]
    fn nothing_is_said_of_constant_maps_and_of_nan() {
        let a = arr2(&[[1.0, 2.0]]);
        assert_eq!(spearman(a.view(), arr2(&[[1.0, 1.0]]).view()), None);
        assert_eq!(spearman(a.view(), arr2(&[[1.0, f32::NAN]]).view()), None);
    }

    #[test]
    fn what_is_no_number_is_left_out_of_the_ranks() {
        let a = arr2(&[[1.0, 2.0, f32::NAN, 3.0, -9.0]]);
        let b = arr2(&[[2.0, 3.0, 0.0, 9.0, f32::INFINITY]]);
        assert!((spearman(a.view(), b.view()).expect("a number") - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_fold_that_agrees_least_is_the_odd_one() {
        let rows = vec![
            vec![Some(1.0), Some(0.9), Some(0.2)],
            vec![Some(0.9), Some(1.0), Some(0.1)],
            vec![Some(0.2), Some(0.1), Some(1.0)],
        ];
        assert_eq!(odd_one_out(&rows), Some(2));
        assert_eq!(odd_one_out(&rows[..2]), None);
    }

    /// Correlations of folds where those of two are `of(a, b)`.
    fn table(folds: usize, of: impl Fn(usize, usize) -> Option<f64>) -> Vec<Vec<Option<f64>>> {
        let row = |a: usize| (0..folds).map(|b| of(a.min(b), a.max(b))).collect();
        (0..folds).map(row).collect()
    }

    #[test]
    fn no_fold_is_odd_where_two_are_equally_so() {
        assert_eq!(odd_one_out(&table(3, |_, _| Some(1.0))), None);
        assert_eq!(odd_one_out(&table(4, |_, b| Some(if b > 1 { 0.2 } else { 0.9 }))), None);
        assert_eq!(odd_one_out(&table(3, |_, _| None)), None);
        // The sums are the same but for rounding.
        let ring = |a: usize, b: usize| Some([0.1, 0.2, 0.3][(a + b) % 3]);
        assert_eq!(odd_one_out(&table(3, ring)), Some(1));
        let same = |a: usize, b: usize| Some([0.1, 0.2, 0.3][(b - a + 2) % 3]);
        assert_eq!(odd_one_out(&table(4, same)), None);
    }

    #[test]
    fn a_fold_without_any_correlation_is_the_odd_one() {
        let but = |odd: &[usize]| {
            let odd = odd.to_vec();
            table(4, move |a, b| (!odd.contains(&a) && !odd.contains(&b)).then_some(0.3))
        };
        assert_eq!(odd_one_out(&but(&[2])), Some(2));
        assert_eq!(odd_one_out(&but(&[1, 2])), None);
    }
}
