//! What the pictures of one name show, by both manifests: equal pixels of another layer,
//! fold or image are no equal pictures.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::context::{Note, note};
use crate::manifest::{Consensus, Image, Manifest, Picture, Sheet};
use crate::terminal;

/// What a picture is: of one map, of all folds, or a sheet.
const KIND: &str = "kind";

/// What a manifest says of one file.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Picture(&'a Picture),
    Mean(&'a Consensus),
    Std(&'a Consensus),
    Sheet(&'a Sheet),
}

impl<'a> Entry<'a> {
    fn all(manifest: &'a Manifest) -> impl Iterator<Item = (&'a str, Entry<'a>)> {
        let pictures = manifest.pictures.iter().map(|p| (&*p.file, Entry::Picture(p)));
        let means = manifest.consensus.iter().map(|c| (&*c.mean.file, Entry::Mean(c)));
        let stds = manifest.consensus.iter().map(|c| (&*c.std.file, Entry::Std(c)));
        let sheets = manifest.sheets.iter().map(|s| (&*s.file, Entry::Sheet(s)));
        pictures.chain(means).chain(stds).chain(sheets)
    }

    fn image(self, manifest: &'a Manifest) -> Option<&'a Image> {
        let place = match self {
            Entry::Picture(picture) => picture.image,
            Entry::Mean(both) | Entry::Std(both) => both.image,
            Entry::Sheet(sheet) => sheet.image,
        };
        manifest.images.get(place)
    }

    /// Fold, position and name of its one layer.
    fn layer(self) -> Option<(Option<usize>, usize, &'a str)> {
        match self {
            Entry::Picture(picture) => {
                Some((Some(picture.fold), picture.layer_position, &picture.layer))
            }
            Entry::Mean(both) | Entry::Std(both) => Some((None, both.layer_position, &both.layer)),
            Entry::Sheet(_) => None,
        }
    }

    /// All else that says what the picture shows, its kind first.
    fn traits(self) -> Vec<(&'static str, String)> {
        let kind = |name: &str| (KIND, name.to_owned());
        match self {
            Entry::Picture(picture) => {
                let channel = picture.channel.map_or("all".to_owned(), |c| c.to_string());
                vec![
                    kind("picture"),
                    ("fold", picture.fold.to_string()),
                    ("position", picture.layer_position.to_string()),
                    ("view", picture.view.to_string()),
                    ("channel", channel),
                    ("reduction", picture.reduce.clone()),
                    ("operator", picture.operator.clone()),
                ]
            }
            Entry::Mean(both) => vec![kind("mean"), ("position", both.layer_position.to_string())],
            Entry::Std(both) => vec![kind("std"), ("position", both.layer_position.to_string())],
            Entry::Sheet(_) => vec![kind("sheet")],
        }
    }
}

/// Pictures of which the same is another.
struct Group<'a> {
    count: usize,
    first: &'a str,
    was: String,
    is: String,
    folds: BTreeSet<usize>,
}

/// What is another: something of the picture, or the name of the layer at a position.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What<'a> {
    Layer(usize, &'a str, &'a str),
    Trait(&'static str),
}

/// What pictures of the same name do not show any more. A thousand pictures make one note,
/// or one for each layer that has become another.
pub(super) fn notes(golden: &Manifest, new: &Manifest) -> Vec<Note> {
    let mut groups: BTreeMap<What, Group> = BTreeMap::new();
    each_difference(golden, new, |Difference { file, what, was, is, fold }| {
        let group = groups.entry(what).or_insert_with(|| Group {
            count: 0,
            first: file,
            was,
            is,
            folds: BTreeSet::new(),
        });
        group.count += 1;
        group.folds.extend(fold);
    });
    groups.into_iter().map(|(what, group)| note_of(&what, &group)).collect()
}

/// The pictures of the same name that show something else.
pub(super) fn others(golden: &Manifest, new: &Manifest) -> HashSet<String> {
    let mut others = HashSet::new();
    each_difference(golden, new, |difference| {
        others.insert(difference.file.to_owned());
    });
    others
}

/// Something that a picture showed, and what it shows now.
struct Difference<'a> {
    file: &'a str,
    what: What<'a>,
    was: String,
    is: String,
    /// Of the name of a layer, the fold in which it is another.
    fold: Option<usize>,
}

fn each_difference<'a>(
    golden: &'a Manifest,
    new: &'a Manifest,
    mut tell: impl FnMut(Difference<'a>),
) {
    let theirs: HashMap<&str, Entry> = Entry::all(new).collect();
    for (file, was) in Entry::all(golden) {
        let Some(is) = theirs.get(file).copied() else { continue };
        let mut differs = |what, was: &str, is: &str, fold| {
            tell(Difference { file, what, was: was.to_owned(), is: is.to_owned(), fold });
        };
        if let (Some((fold, b, was)), Some((_, _, is))) = (was.layer(), is.layer())
            && was != is
        {
            differs(What::Layer(b, was, is), was, is, fold);
        }
        let (ours, theirs) = (was.image(golden), is.image(new));
        if !is_same_image(ours, theirs) {
            differs(What::Trait("image"), path(ours), path(theirs), None);
        }
        // What is told of pictures of two kinds does not correspond.
        for ((what, was), (_, is)) in was.traits().into_iter().zip(is.traits()) {
            if was != is {
                differs(What::Trait(what), &was, &is, None);
                if what == KIND {
                    break;
                }
            }
        }
    }
}

/// An image is the same at another path, and so is one whose file was changed: that is told
/// of the image, not of its pictures.
fn is_same_image(golden: Option<&Image>, new: Option<&Image>) -> bool {
    match (golden, new) {
        (Some(golden), Some(new)) => golden.path == new.path || golden.sha256 == new.sha256,
        (golden, new) => golden.is_none() && new.is_none(),
    }
}

fn path(image: Option<&Image>) -> &str {
    image.map_or("none of the manifest's", |image| &image.path)
}

fn note_of(what: &What, group: &Group) -> Note {
    let Group { count, first, was, is, folds } = group;
    match what {
        What::Layer(b, ..) => {
            let folds: Vec<String> = folds.iter().map(ToString::to_string).collect();
            let folds = match folds.len() {
                0 => String::new(),
                _ => format!(" in fold {}", folds.join(", ")),
            };
            let text = format!(
                "layer {b} was {was}, is {is}{folds}: {}, the first is {first}",
                terminal::count(*count, "picture")
            );
            note("layers", text, true)
        }
        What::Trait(what) => {
            let text = format!(
                "{} another {what}, the first is {first}: {was} -> {is}",
                match count {
                    1 => "1 picture shows".to_owned(),
                    several => format!("{several} pictures show"),
                }
            );
            note("pictures", text, true)
        }
    }
}

/// Files that one manifest describes more than once: which entry is true is not known.
pub(super) fn duplicate_entries(name: &str, manifest: &Manifest) -> Option<Note> {
    let mut seen = HashSet::new();
    let twice: Vec<&str> =
        Entry::all(manifest).map(|(file, _)| file).filter(|file| !seen.insert(*file)).collect();
    let first = twice.first()?;
    let what = match twice.len() {
        1 => "1 entry for a file that it has described before:".to_owned(),
        several => {
            format!("{several} entries for files that it has described before, the first is")
        }
    };
    Some(note("manifest", format!("{name}'s manifest has {what} {first}"), true))
}
