//! Choosing layers: by rule, by number and range, by name, by glob, by operator.

use std::str::FromStr;

use globset::{Glob, GlobMatcher};

use super::Layer;
use crate::error::Error;
use crate::spelling;

/// How many layers are drawn where neither a bundle nor the user says which.
const AT_MOST: usize = 10;

/// What `--layers` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Auto,
    All,
    Every(usize),
    Listed(Vec<Item>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// From 1, as `actviz layers` counts.
    Number(usize),
    /// From the first to the last of these numbers; `None`: the network's last.
    Range(usize, Option<usize>),
    /// All of an activation function, e.g. `gelu`; or a glob.
    Operator(String),
    Name(String),
}

impl Default for Choice {
    fn default() -> Choice {
        Choice { text: "auto".to_owned(), kind: Kind::Auto }
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        let kind = match text {
            "auto" => Kind::Auto,
            "all" => Kind::All,
            _ => match text.strip_prefix("every:") {
                Some(step) => match step.parse() {
                    Ok(step) if step > 0 => Kind::Every(step),
                    _ => return Err("every:N takes a whole number from 1".to_owned()),
                },
                None => Kind::Listed(listed(text)?),
            },
        };
        Ok(Choice { text: text.to_owned(), kind })
    }
}

fn listed(text: &str) -> Result<Vec<Item>, String> {
    split(text).into_iter().map(|item| parse_item(item.trim())).collect()
}

/// At commas, but for those in the braces of a glob: `{a,b}.relu,last`.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_item(item: &str) -> Result<Item, String> {
    const FROM_1: &str = "layers are counted from 1";
    let number = |text: &str| text.parse::<usize>().ok();
    if item.is_empty() {
        return Err("an empty name between commas".to_owned());
    }
    if let Some(operator) = item.strip_prefix("op:") {
        return match operator.is_empty() {
            true => Err("op:NAME takes an activation function, e.g. op:gelu".to_owned()),
            false => Ok(Item::Operator(operator.to_owned())),
        };
    }
    if let Some(number) = number(item) {
        return if number == 0 { Err(FROM_1.to_owned()) } else { Ok(Item::Number(number)) };
    }
    let ends = item.split_once('-').and_then(|(first, last)| {
        let is_end = |text: &str| text.is_empty() || number(text).is_some();
        let is_range = is_end(first) && is_end(last) && item.len() > 1;
        is_range.then(|| (number(first), number(last)))
    });
    match ends {
        None => Ok(Item::Name(item.to_owned())),
        Some((Some(0), _) | (_, Some(0))) => Err(FROM_1.to_owned()),
        Some((Some(first), Some(last))) if first > last => {
            Err(format!("{item} counts backwards: {last}-{first}"))
        }
        Some((first, last)) => Ok(Item::Range(first.unwrap_or(1), last)),
    }
}

impl Choice {
    /// The positions in `layers` that are meant, in the network's order, each once.
    /// `default` is the bundle's own list; empty: by rule.
    ///
    /// A layer without height and width (a vector) is taken only if its exact name
    /// or its number is given: ranges, globs and operators mean pictures.
    ///
    /// # Errors
    /// [`Error::Usage`] if a name, glob or number means no layer, or nothing is left.
    pub fn pick(&self, layers: &[Layer], default: &[String]) -> Result<Vec<usize>, Error> {
        let spatial: Vec<usize> = (0..layers.len()).filter(|i| layers[*i].is_spatial()).collect();
        let picked = match &self.kind {
            Kind::Auto if !default.is_empty() => {
                let items: Vec<Item> = default.iter().cloned().map(Item::Name).collect();
                pick_listed(&items, layers)?
            }
            Kind::Auto => spread(&spatial),
            Kind::All => spatial,
            Kind::Every(step) => spatial.into_iter().step_by(*step).collect(),
            Kind::Listed(items) => pick_listed(items, layers)?,
        };
        if picked.is_empty() {
            return Err(Error::usage_hint(
                "no activation layer of this network is a picture (height x width)",
                "`actviz layers` lists them; --layers NAME draws a vector as a matrix",
            ));
        }
        Ok(picked)
    }
}

/// All of them, or `AT_MOST` evenly spaced with the first and the last.
fn spread(spatial: &[usize]) -> Vec<usize> {
    let count = spatial.len();
    if count <= AT_MOST {
        return spatial.to_vec();
    }
    let at = |step: usize| {
        // Rounded to nearest, so that both ends are exact.
        (step * (count - 1) + (AT_MOST - 1) / 2) / (AT_MOST - 1)
    };
    (0..AT_MOST).map(|step| spatial[at(step)]).collect()
}

fn pick_listed(items: &[Item], layers: &[Layer]) -> Result<Vec<usize>, Error> {
    let mut picked = Vec::new();
    for item in items {
        match item {
            Item::Number(number) if *number <= layers.len() => picked.push(number - 1),
            Item::Number(number) => {
                return Err(Error::usage_hint(
                    format!("there is no layer {number}: the network has {}", layers.len()),
                    "`actviz layers` lists them with their numbers",
                ));
            }
            Item::Range(first, last) => picked.extend(ranged(*first, *last, layers)?),
            Item::Operator(operator) => picked.extend(of_operator(operator, layers)?),
            Item::Name(name) => picked.extend(named(name, layers)?),
        }
    }
    picked.sort_unstable();
    picked.dedup();
    Ok(picked)
}

fn ranged(first: usize, last: Option<usize>, layers: &[Layer]) -> Result<Vec<usize>, Error> {
    let end = last.unwrap_or(first).max(first);
    if end > layers.len() {
        return Err(Error::usage_hint(
            format!("there is no layer {end}: the network has {}", layers.len()),
            "`actviz layers` lists them with their numbers; 5- goes to the last one",
        ));
    }
    let end = last.unwrap_or(layers.len());
    Ok((first - 1..end).filter(|i| layers[*i].is_spatial()).collect())
}

fn of_operator(operator: &str, layers: &[Layer]) -> Result<Vec<usize>, Error> {
    let wanted = glob(operator)?;
    let of: Vec<usize> =
        (0..layers.len()).filter(|i| wanted.is_match(&layers[*i].operator)).collect();
    let pictures: Vec<usize> = of.iter().copied().filter(|i| layers[*i].is_spatial()).collect();
    if pictures.is_empty() {
        let mut there: Vec<&str> = layers.iter().map(|layer| layer.operator.as_str()).collect();
        there.sort_unstable();
        there.dedup();
        return Err(Error::usage_hint(
            match of.is_empty() {
                true => format!("no layer is a {operator}"),
                false => format!("no layer that is a {operator} is a picture (height x width)"),
            },
            format!("the network's activation functions: {}", there.join(", ")),
        ));
    }
    Ok(pictures)
}

fn glob(text: &str) -> Result<GlobMatcher, Error> {
    let glob = Glob::new(text).map_err(|error| {
        let problem = format!("--layers {text}: {error}");
        Error::usage_hint(problem, "a name of `actviz layers`, or a glob: layer4.*, *relu_2")
    })?;
    Ok(glob.compile_matcher())
}

fn named(name: &str, layers: &[Layer]) -> Result<Vec<usize>, Error> {
    if let Some(exact) = layers.iter().position(|layer| layer.name == name) {
        return Ok(vec![exact]);
    }
    let pictures = || (0..layers.len()).filter(|i| layers[*i].is_spatial());
    // A layer of that very name comes before.
    let end = match name {
        "first" => pictures().next(),
        "last" => pictures().next_back(),
        _ => None,
    };
    if let Some(end) = end {
        return Ok(vec![end]);
    }
    let matcher = glob(name)?;
    let matches: Vec<usize> = pictures().filter(|i| matcher.is_match(&layers[*i].name)).collect();
    if matches.is_empty() {
        return Err(Error::usage_hint(format!("no layer is named {name}"), meant(name, layers)));
    }
    Ok(matches)
}

/// What a wrong name may stand for.
fn meant(name: &str, layers: &[Layer]) -> String {
    const ALL: &str = "`actviz layers` lists all";
    let operator = |layer: &Layer| layer.operator == name;
    if layers.iter().any(operator) {
        return format!("--layers op:{name} takes all of that function; {ALL}");
    }
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    // Words for all layers, and not for one.
    let rules = ["all", "auto", "first", "last"];
    if let Some(rule) = rules.into_iter().find(|rule| rule.eq_ignore_ascii_case(name)) {
        return format!("did you mean {rule}? It stands alone; {ALL}");
    }
    match spelling::nearest_of(name, names.iter().copied(), 3)[..] {
        [] => format!("the nearest: {}; {ALL}", alike(name, names)),
        [one] => format!("did you mean {one}? {ALL}"),
        ref some => format!("did you mean one of {}? {ALL}", some.join(", ")),
    }
}

/// Up to three names that share the longest beginning with `name`.
fn alike(name: &str, mut names: Vec<&str>) -> String {
    let shared = |other: &str| name.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    names.sort_by_key(|other| std::cmp::Reverse(shared(other)));
    names.truncate(3);
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Layout;

    fn network(spatial: usize, vectors: usize) -> Vec<Layer> {
        let layer = |i: usize| Layer {
            name: format!("block{}.relu", i + 1),
            operator: "relu".to_owned(),
            shape: if i < spatial { vec![4, 8, 8] } else { vec![16] },
            layout: if i < spatial { Layout::ChannelsFirst } else { Layout::Flat },
            parameters: 0,
        };
        (0..spatial + vectors).map(layer).collect()
    }

    fn pick(choice: &str, layers: &[Layer]) -> Result<Vec<usize>, Error> {
        choice.parse::<Choice>().expect("a choice").pick(layers, &[])
    }

    #[test]
    fn up_to_ten_layers_are_all_taken_and_vectors_are_not() {
        assert_eq!(pick("auto", &network(10, 2)).expect("ten").len(), 10);
    }

    #[test]
    fn of_more_than_ten_the_first_the_last_and_eight_between_are_taken() {
        for count in 11..200 {
            let picked = pick("auto", &network(count, 0)).expect("ten");
            assert_eq!((picked.len(), picked[0], picked[9]), (10, 0, count - 1));
            let steps: Vec<usize> = picked.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (least, most) = (steps.iter().min(), steps.iter().max());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{picked:?}");
        }
    }

    #[test]
    fn a_bundles_list_comes_before_the_rule_but_not_before_the_user() {
        let default = ["block2.relu".to_owned()];
        let layers = network(4, 0);
        let pick = |text: &str| text.parse::<Choice>().expect("a choice").pick(&layers, &default);
        assert_eq!(pick("auto").expect("one"), [1]);
        assert_eq!(pick("all").expect("four"), [0, 1, 2, 3]);
    }

    #[test]
    fn names_numbers_and_globs_mix_and_come_in_the_networks_order() {
        let layers = network(12, 1);
        assert_eq!(pick("12,block1.relu,block1*,12", &layers).expect("some"), [0, 9, 10, 11]);
        assert_eq!(pick("every:5", &layers).expect("some"), [0, 5, 10]);
    }

    #[test]
    fn ranges_and_both_ends_are_taken() {
        let layers = network(12, 1);
        assert_eq!(pick("2-4", &layers).expect("three"), [1, 2, 3]);
        assert_eq!(pick("-3", &layers).expect("three"), [0, 1, 2]);
        // The thirteenth is a vector.
        assert_eq!(pick("11-", &layers).expect("two"), [10, 11]);
        assert_eq!(pick("last, first ,5-5", &layers).expect("three"), [0, 4, 11]);
        for beyond in ["12-14", "14-", "-14"] {
            let error = pick(beyond, &layers).expect_err("too far").to_string();
            assert!(error.contains("there is no layer 14: the network has 13"), "{error}");
        }
    }

    #[test]
    fn a_layer_s_own_name_comes_before_the_word_for_an_end() {
        let mut layers = network(3, 0);
        layers[1].name = "last".to_owned();
        assert_eq!(pick("last", &layers).expect("one"), [1]);
        layers[1].name = "1-3".to_owned();
        assert_eq!(pick("1-3", &layers).expect("a range"), [0, 1, 2]);
    }

    #[test]
    fn operators_are_taken_and_what_is_there_is_told() {
        let mut layers = network(4, 1);
        layers[1].operator = "gelu".to_owned();
        layers[2].operator = "gelu".to_owned();
        assert_eq!(pick("op:gelu", &layers).expect("two"), [1, 2]);
        assert_eq!(pick("op:*elu", &layers).expect("four"), [0, 1, 2, 3]);
        let error = pick("op:silu", &layers).expect_err("none");
        assert!(error.hint().is_some_and(|hint| hint.contains("gelu, relu")), "{error:?}");
    }

    #[test]
    fn several_globs_stand_side_by_side_and_commas_in_braces_are_theirs() {
        let layers = network(12, 0);
        assert_eq!(pick("block1.*,*12.relu", &layers).expect("two"), [0, 11]);
        assert_eq!(pick("block{2,3}.relu,1", &layers).expect("three"), [0, 1, 2]);
    }

    #[test]
    fn a_vector_is_taken_by_name_or_number_alone() {
        let layers = network(1, 1);
        assert_eq!(pick("block2.relu", &layers).expect("one"), [1]);
        assert_eq!(pick("2", &layers).expect("one"), [1]);
        assert_eq!(pick("*", &layers).expect("one"), [0]);
        assert!(pick("auto", &network(0, 3)).is_err());
    }

    #[test]
    fn what_means_nothing_is_an_error_that_helps() {
        let layers = network(3, 0);
        let error = pick("block1.rule", &layers).expect_err("no such layer");
        assert!(error.hint().is_some_and(|hint| hint.contains("block1.relu")));
        assert!(pick("4", &layers).is_err());
        let error = pick("relu", &layers).expect_err("an operator");
        assert!(error.hint().is_some_and(|hint| hint.contains("op:relu")));
        for wrong in ["every:0", "every:x", "a,,b", "0", "0-3", "3-1", "-0", "op:"] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }
}
