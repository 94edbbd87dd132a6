//! What the graph tells of a network: which operator reads which, and by which way a layer
//! comes from the input. How far each sees is for [`super::reach`].

use std::collections::{HashMap, HashSet};

use actviz_core::graph::{self, Graph};
use actviz_core::operators::Field;

use super::reach::{self, Reach, ValueReach, field, keeps_map};

/// Which operator reads which, with windows of height and width.
#[derive(Clone, Debug, Default)]
pub struct Structure {
    values: Vec<Value>,
    /// For each tap, in the order of the code, the value that it sees.
    taps: Vec<Option<usize>>,
}

/// What an operator gives.
#[derive(Clone, Debug)]
pub(super) struct Value {
    id: usize,
    pub operator: String,
    /// Kernel, stride, padding, dilation, each by height and width.
    pub window: [Option<[f64; 2]>; 4],
    /// The dimensions that it works along; below zero they count from the last.
    pub dims: Option<Vec<i64>>,
    /// `None`: it depends on the input, and nobody knows by which value.
    sources: Vec<Option<usize>>,
}

/// A tap on the way to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The tap.
    pub tap: usize,
    /// Whether nothing but its own operator changes the map since the tap before. Else
    /// nobody can tell what was whose.
    pub alone: bool,
}

impl Structure {
    /// What [`crate::engine::Network::graph`] tells.
    pub fn of(graph: &Graph) -> Structure {
        Structure { values: graph.values.iter().map(Value::of).collect(), taps: graph.taps.clone() }
    }

    #[cfg(test)]
    pub(super) fn parse(text: &str) -> Structure {
        Structure::of(&super::notation::graph(text).expect("a graph"))
    }

    /// How many taps the code has.
    pub fn tap_count(&self) -> usize {
        self.taps.len()
    }

    /// How far each tap sees. Where branches meet, what any of them sees.
    pub fn reaches(&self) -> Vec<Reach> {
        // Nothing is known of a value that depends on no image.
        let mut known = HashMap::from([(0, Some(ValueReach::IMAGE))]);
        for value in &self.values {
            let sources: Vec<ValueReach> = value
                .sources
                .iter()
                .filter_map(|id| id.map_or(Some(ValueReach::UNKNOWN), |id| *known.get(&id)?))
                .collect();
            known.insert(value.id, reach::merged(&sources).map(|from| reach::through(value, from)));
        }
        let reach = |tap: &Option<usize>| tap.and_then(|id| known.get(&id).copied().flatten());
        self.taps.iter().map(|tap| reach(tap).map_or(Reach::Unknown, |seen| seen.reach)).collect()
    }

    /// Whether the operator of this tap steps by more than one value.
    pub fn is_strided(&self, tap: usize) -> bool {
        let step = self.value_of(tap).and_then(|value| value.window[1]);
        step.is_some_and(|step| step.iter().any(|s| *s > 1.0))
    }

    /// Whether more than one value that depends on the input meets in this tap's operator.
    pub fn joins(&self, tap: usize) -> bool {
        self.value_of(tap).is_some_and(|value| value.sources.len() > 1)
    }

    fn value_of(&self, tap: usize) -> Option<&Value> {
        let id = self.taps.get(tap).copied().flatten()?;
        self.values.iter().find(|value| value.id == id)
    }

    /// The way from the input to the tap `last`: the taps on it, `last` included, in
    /// order. Where branches meet, the one with the most taps counts, as long as all of
    /// its taps are `allowed`. `None` if the graph does not tell a way.
    pub fn way(&self, last: usize, allowed: impl Fn(usize) -> bool) -> Option<Vec<Step>> {
        let tapped: HashMap<usize, usize> =
            self.taps.iter().enumerate().filter_map(|(tap, id)| Some(((*id)?, tap))).collect();
        let mut before: HashMap<usize, (Option<usize>, bool)> = HashMap::new();
        let mut ways = HashMap::from([(0, Way { length: 0, last: None, alone: true })]);
        // Lists and the like whose elements came by different ways.
        let mut mixed: HashSet<usize> = HashSet::new();
        for value in &self.values {
            let sources: Vec<usize> = value
                .sources
                .iter()
                .flatten()
                .copied()
                .filter(|id| ways.contains_key(id))
                .collect();
            let several = sources.iter().any(|id| mixed.contains(id));
            if field(value) == Field::Reads && several {
                continue;
            }
            if field(value) == Field::Holds
                && (several || sources.iter().any(|id| *id != sources[0]))
            {
                mixed.insert(value.id);
            }
            let longest = sources.iter().filter_map(|id| ways.get(id)).copied().reduce(longer);
            let Some(way) = longest else { continue };
            let way = match tapped.get(&value.id) {
                Some(tap) if !allowed(*tap) => continue,
                Some(tap) => {
                    before.insert(*tap, (way.last, way.alone));
                    Way { length: way.length + 1, last: Some(*tap), alone: true }
                }
                None => Way { alone: way.alone && keeps_map(value), ..way },
            };
            ways.insert(value.id, way);
        }
        let mut way = Vec::new();
        let mut next = Some(last);
        while let Some(tap) = next {
            let (from, alone) = *before.get(&tap)?;
            way.push(Step { tap, alone });
            next = from;
        }
        way.reverse();
        Some(way)
    }
}

/// A way to a value: the taps on it, the last of them, and whether nothing has changed the
/// map since.
#[derive(Clone, Copy)]
struct Way {
    length: usize,
    last: Option<usize>,
    alone: bool,
}

fn longer(a: Way, b: Way) -> Way {
    if b.length > a.length { b } else { a }
}

impl Value {
    fn of(value: &graph::Value) -> Value {
        let axes = |sizes: &Vec<i64>| match sizes[..] {
            [both] => Some([both as f64; 2]),
            [height, width] => Some([height as f64, width as f64]),
            _ => None,
        };
        let sizes = [&value.kernel, &value.stride, &value.padding, &value.dilation];
        Value {
            id: value.id,
            operator: value.operator.clone(),
            window: sizes.map(axes),
            dims: value.dimensions.clone(),
            sources: value.sources.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reach::PIXEL;
    use super::super::reach::tests::window;
    use super::*;

    fn taps(way: Option<Vec<Step>>) -> Vec<usize> {
        way.expect("a way").iter().map(|step| step.tap).collect()
    }

    fn reach(text: &str) -> Reach {
        *Structure::parse(text).reaches().last().expect("a tap")
    }

    /// 3x3, then a branch of 3x3 and one without, then a pool of 2.
    const BRANCHED: &str = "\
value 1 conv2d 3,3 1,1 1,1 1,1 : 0
tap 1
value 2 conv2d 3,3 1,1 1,1 1,1 : 1
tap 2
value 3 add - - - - : 1 2
tap 3
value 4 max_pool2d 2,2 - 0,0 1,1 : 3
tap 4";

    #[test]
    fn the_branch_that_sees_most_counts() {
        let structure = Structure::parse(BRANCHED);
        let reaches = structure.reaches();
        assert_eq!(window(reaches[2]).size, [5.0; 2]);
        assert_eq!(window(reaches[3]).size, [6.0; 2]);
        assert_eq!(window(reaches[3]).stride, [2.0; 2]);
        assert_eq!(window(reaches[3]).offset, [0.5; 2]);
        assert_eq!(taps(structure.way(3, |_| true)), [0, 1, 2, 3]);
        assert_eq!(taps(structure.way(3, |tap| tap != 1)), [0, 2, 3]);
        assert!(!structure.is_strided(0));
    }

    #[test]
    fn what_the_graph_does_not_tell_stays_unknown() {
        let reaches = Structure::parse("value 1 mystery - - - - : 0\ntap 1\ntap -").reaches();
        assert_eq!(reaches, [Reach::Unknown, Reach::Unknown]);
        let whole = "value 1 adaptive_avg_pool2d 1,1 - - - : 0\nvalue 2 mul - - - - : 0 1\ntap 2";
        assert_eq!(Structure::parse(whole).reaches(), [Reach::Whole]);
    }

    #[test]
    fn a_source_that_nobody_knows_makes_the_reach_unknown() {
        assert_eq!(reach("value 1 add - - - - - : 0 ?\ntap 1"), Reach::Unknown);
        // One that depends on no image changes nothing.
        let constant = "value 1 ListConstruct - - - - - :\nvalue 2 append - - - - - : 1 0\ntap 2";
        assert_eq!(reach(constant), Reach::Window(PIXEL));
    }

    #[test]
    fn what_is_taken_out_of_a_list_of_different_things_is_unknown() {
        let list = "value 1 conv2d 3,3 1,1 1,1 1,1 - : 0\ntap 1\n\
                    value 2 ListConstruct - - - - - : 0 1\n";
        let read = Structure::parse(&format!("{list}value 3 __getitem__ - - - - - : 2\ntap 3"));
        assert_eq!(read.reaches()[1], Reach::Unknown);
        assert_eq!(read.way(1, |_| true), None);
        let joined = Structure::parse(&format!("{list}value 3 cat - - - - 1 : 2\ntap 3"));
        assert_eq!(window(joined.reaches()[1]).size, [3.0; 2]);
        assert_eq!(taps(joined.way(1, |_| true)), [0, 1]);
    }

    #[test]
    fn an_operator_without_a_tap_on_the_way_is_told() {
        let text = "value 1 roll - - - - - : 0\nvalue 2 add - - - - - : 1\ntap 2\n\
                    value 3 dropout - - - - - : 2\nvalue 4 relu - - - - - : 3\ntap 4";
        let structure = Structure::parse(text);
        let steps = [Step { tap: 0, alone: false }, Step { tap: 1, alone: true }];
        assert_eq!(structure.way(1, |_| true), Some(steps.to_vec()));
        assert!(!structure.joins(0));
    }
}
