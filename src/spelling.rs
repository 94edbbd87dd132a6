//! Names that people mistype, and what they may have meant.

/// The nearest of some names, if it is near enough to be meant: a few wrong letters.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_of(wrong, names, 1).first().copied()
}

/// Up to `most` names that are near enough to be meant, the nearest first.
pub fn nearest_of<'a>(
    wrong: &str,
    names: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Vec<&'a str> {
    /// Below this share of right letters it is another word (as git and clap have it).
    const ALIKE: f64 = 0.7;
    let lower = wrong.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&lower, &name.to_lowercase());
    let mut near: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (likeness(name), name))
        .filter(|(alike, _)| *alike > ALIKE)
        .collect();
    // A stable sort: equally near ones keep their order.
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(most).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let names = ["resnet50", "cnn9", "cnn9-five"];
        for (wrong, meant) in
            [("resnet5", "resnet50"), ("Resnet50", "resnet50"), ("ccn9", "cnn9"), ("cnn", "cnn9")]
        {
            assert_eq!(nearest(wrong, names), Some(meant), "{wrong}");
        }
        assert_eq!(nearest("wolf", names), None);
        assert_eq!(nearest_of("cnn9_five", names, 2), ["cnn9-five", "cnn9"]);
    }
}
