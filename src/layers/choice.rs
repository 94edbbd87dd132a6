//! Choosing layers: by rule, by number, by name, by glob.

use std::str::FromStr;

use globset::{Glob, GlobMatcher};

use super::Layer;
use crate::error::Error;

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
    text.split(',')
        .map(|item| match (item.trim(), item.trim().parse()) {
            ("", _) => Err("an empty name between commas".to_owned()),
            (_, Ok(0)) => Err("layers are counted from 1".to_owned()),
            (_, Ok(number)) => Ok(Item::Number(number)),
            (name, Err(_)) => Ok(Item::Name(name.to_owned())),
        })
        .collect()
}

impl Choice {
    /// The positions in `layers` that are meant, in the network's order, each once.
    /// `default` is the bundle's own list; empty: by rule.
    ///
    /// A layer without height and width (a vector) is taken only if its exact name
    /// or its number is given.
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
            Item::Name(name) => picked.extend(named(name, layers)?),
        }
    }
    picked.sort_unstable();
    picked.dedup();
    Ok(picked)
}

fn named(name: &str, layers: &[Layer]) -> Result<Vec<usize>, Error> {
    if let Some(exact) = layers.iter().position(|layer| layer.name == name) {
        return Ok(vec![exact]);
    }
    let matcher: GlobMatcher = Glob::new(name)
        .map_err(|error| {
            let problem = format!("--layers {name}: {error}");
            Error::usage_hint(problem, "a name of `actviz layers`, or a glob: layer4.*, *relu_2")
        })?
        .compile_matcher();
    let matches: Vec<usize> = (0..layers.len())
        .filter(|i| layers[*i].is_spatial() && matcher.is_match(&layers[*i].name))
        .collect();
    if matches.is_empty() {
        return Err(Error::usage_hint(
            format!("no layer is named {name}"),
            format!("the nearest: {}; `actviz layers` lists all", nearest(name, layers)),
        ));
    }
    Ok(matches)
}

/// Up to three names that share the longest beginning with `name`.
fn nearest(name: &str, layers: &[Layer]) -> String {
    let shared = |other: &str| name.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let mut names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
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
        for wrong in ["every:0", "every:x", "a,,b", "0"] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }
}
