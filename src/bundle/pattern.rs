//! Patterns of files with `{fold}` in them: which numbers are there, and in which files.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What stands for the fold's number in a pattern.
pub const PLACE: &str = "{fold}";

/// `runs/fold_{fold}.pt`, or `runs/fold_{fold:02}.pt` for numbers of at least two digits.
#[derive(Debug)]
pub struct Pattern {
    /// With [`PLACE`] wherever the number stands.
    text: String,
    /// At least so many digits, filled up with zeros; `None`: however they are written.
    width: Option<usize>,
}

/// The files that a pattern means, by the number in their names.
pub type Found = BTreeMap<usize, PathBuf>;

impl Pattern {
    /// Reads a pattern; `None` if there is no `{fold}` in it.
    ///
    /// # Errors
    /// [`Error::Usage`] if something else than a width stands behind the colon.
    pub fn parse(text: &str) -> Result<Option<Pattern>, Error> {
        let mut rest = text;
        let (mut plain, mut width) = (String::new(), None);
        let mut is_pattern = false;
        while let Some(start) = rest.find("{fold") {
            let after = &rest[start + "{fold".len()..];
            let Some(end) = after.find('}') else { break };
            let format = &after[..end];
            plain += &rest[..start];
            plain += PLACE;
            rest = &after[end + 1..];
            is_pattern = true;
            if !format.is_empty() {
                width = Some(digits(format).ok_or_else(|| {
                    Error::usage_hint(
                        format!("--model {text}: {{fold{format}}} is not understood"),
                        "{fold} stands for the fold's number, {fold:02} for one of two digits",
                    )
                })?);
            }
        }
        plain += rest;
        Ok(is_pattern.then_some(Pattern { text: plain, width }))
    }

    /// The name of a fold's file, written as those in `found` are: with as many digits.
    pub fn file_like(&self, fold: usize, found: &Found) -> PathBuf {
        let written = |width: &usize| {
            let like = |(number, file): (&usize, &PathBuf)| {
                self.with(&format!("{number:0width$}")) == *file
            };
            found.iter().all(like)
        };
        let width = self.width.or((1..=MOST_DIGITS).find(written)).unwrap_or(1);
        self.with(&format!("{fold:0width$}"))
    }

    /// Every file that is there, by its number. Numbers may begin with zeros.
    ///
    /// # Errors
    /// [`Error::Usage`] if two files have one number.
    pub fn find(&self) -> Result<Found, Error> {
        // Where the first number stands, a folder is listed; further ones are the same.
        let place = self.text.find(PLACE).unwrap_or(0);
        let start = self.text[..place].rfind(is_separator).map_or(0, |at| at + 1);
        let end = self.text[place..].find(is_separator).map_or(self.text.len(), |at| place + at);
        let (folder, name) = (&self.text[..start], &self.text[start..end]);
        let mut found = Found::new();
        for entry in list(Path::new(if folder.is_empty() { "." } else { folder })) {
            for written in numbers(&entry, name) {
                let Ok(fold) = written.parse::<usize>() else { continue };
                let is_meant = self.width.is_none_or(|width| format!("{fold:0width$}") == written);
                let file = self.with(written);
                if !is_meant || !file.is_file() {
                    continue;
                }
                if let Some(other) = found.insert(fold, file.clone()) {
                    return Err(Error::usage_hint(
                        format!(
                            "fold {fold} has two files: {} and {}",
                            other.display(),
                            file.display()
                        ),
                        "{fold:02} in --model takes numbers of two digits alone, {fold:01} those \
                         without a zero before them",
                    ));
                }
            }
        }
        Ok(found)
    }

    fn with(&self, number: &str) -> PathBuf {
        PathBuf::from(self.text.replace(PLACE, number))
    }
}

/// More digits than any number that is looked for has.
const MOST_DIGITS: usize = 20;

/// `:02`, `:2`, `:02d` and `:d`, as Python's format has them.
fn digits(format: &str) -> Option<usize> {
    let format = format.strip_prefix(':')?;
    let width = format.strip_suffix('d').unwrap_or(format);
    let width = if width.is_empty() { 1 } else { width.parse().ok()? };
    (1..=MOST_DIGITS).contains(&width).then_some(width)
}

/// The numbers, as they are written, with which `pattern` becomes `name`.
fn numbers<'a>(name: &'a str, pattern: &str) -> Vec<&'a str> {
    let before = pattern.find(PLACE).unwrap_or(0);
    if !name.starts_with(&pattern[..before]) {
        return Vec::new();
    }
    let number = &name[before..];
    let length = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    // What follows the number may begin with a digit, too.
    (1..=length)
        .map(|length| &number[..length])
        .filter(|written| pattern.replace(PLACE, written) == name)
        .collect()
}

fn is_separator(c: char) -> bool {
    std::path::is_separator(c)
}

/// The names in a folder; of one that cannot be read, none.
fn list(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The numbers that are missing among `folds` (rising), from 1, or 0 if that is there.
pub fn missing(folds: impl IntoIterator<Item = usize>) -> Vec<RangeInclusive<usize>> {
    let mut missing = Vec::new();
    let mut next = 1;
    for fold in folds {
        if fold > next {
            missing.push(next..=fold - 1);
        }
        next = fold.saturating_add(1);
    }
    missing
}

/// `0, 1, 2 and 4`; of many, the first ones and how many there are.
pub fn in_words(folds: &[usize]) -> String {
    /// More are not named one by one.
    const MOST: usize = 8;
    match folds {
        [] => "none".to_owned(),
        [one] => one.to_string(),
        _ if folds.len() > MOST => {
            let first: Vec<String> = folds.iter().take(MOST).map(usize::to_string).collect();
            format!("{} and {} more", first.join(", "), folds.len() - MOST)
        }
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(usize::to_string).collect();
            format!("{} and {last}", most.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern").expect("a pattern")
    }

    fn found(files: &[&str], text: &str) -> Result<Vec<(usize, String)>, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, b"").expect("a file");
        }
        let text = folder.path().join(text).to_string_lossy().into_owned();
        let name = |file: &Path| {
            let below = file.strip_prefix(folder.path()).expect("a path below");
            below.to_string_lossy().into_owned()
        };
        let found = pattern(&text).find()?;
        Ok(found.iter().map(|(fold, file)| (*fold, name(file))).collect())
    }

    #[test]
    fn files_are_found_by_their_numbers_from_0_and_with_zeros_before_them() {
        let named = |pairs: &[(usize, &str)]| -> Vec<(usize, String)> {
            pairs.iter().map(|(fold, file)| (*fold, (*file).to_owned())).collect()
        };
        let files = ["f_0.pt", "f_1.pt", "f_10.pt", "f_2.txt", "f_.pt", "f_x.pt", "f_1b.pt"];
        assert_eq!(
            found(&files, "f_{fold}.pt").expect("files"),
            named(&[(0, "f_0.pt"), (1, "f_1.pt"), (10, "f_10.pt")])
        );
        let files = ["f_01.pt", "f_02.pt", "f_10.pt", "f_100.pt", "f_3.pt"];
        let padded = named(&[(1, "f_01.pt"), (2, "f_02.pt"), (10, "f_10.pt"), (100, "f_100.pt")]);
        assert_eq!(found(&files, "f_{fold:02}.pt").expect("files"), padded);
        assert_eq!(found(&files, "f_{fold:02d}.pt").expect("files"), padded);
        assert_eq!(found(&files[..2], "f_{fold}.pt").expect("files"), padded[..2]);
    }

    #[test]
    fn the_number_may_stand_in_folders_and_more_than_once() {
        let files = ["run1/net_1.pt", "run2/net_2.pt", "run3/net_2.pt"];
        let found = found(&files, "run{fold}/net_{fold}.pt").expect("files");
        let folds: Vec<usize> = found.iter().map(|(fold, _)| *fold).collect();
        assert_eq!(folds, [1, 2]);
    }

    #[test]
    fn digits_behind_the_number_are_no_part_of_it() {
        let found = found(&["net10.pt", "net20.pt", "net3.pt"], "net{fold}0.pt").expect("files");
        assert_eq!(found.iter().map(|(fold, _)| *fold).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn two_files_with_one_number_are_both_named() {
        let error = found(&["f_1.pt", "f_01.pt"], "f_{fold}.pt").expect_err("two").to_string();
        assert!(error.contains("f_1.pt") && error.contains("f_01.pt"), "{error}");
        assert_eq!(found(&["f_1.pt", "f_01.pt"], "f_{fold:1}.pt").expect("one").len(), 1);
    }

    #[test]
    fn what_no_width_is_is_refused() {
        for text in ["a{fold:x}", "a{fold:0}", "a{fold:99}", "a{folds}"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        for text in ["a", "a{fold", "a{id}"] {
            assert!(Pattern::parse(text).expect("no pattern").is_none(), "{text}");
        }
    }

    #[test]
    fn a_missing_file_is_named_as_the_others_are_written() {
        let pattern = pattern("f_{fold}.pt");
        let found = |numbers: &[&str]| -> Found {
            let file = |text: &&str| (text.parse().expect("a number"), pattern.with(text));
            numbers.iter().map(file).collect()
        };
        assert_eq!(pattern.file_like(3, &found(&["1", "12"])), Path::new("f_3.pt"));
        assert_eq!(pattern.file_like(3, &found(&["01", "12"])), Path::new("f_03.pt"));
    }

    #[test]
    fn gaps_are_counted_from_1_or_from_0_if_that_is_there() {
        assert_eq!(missing([0, 1, 2]), []);
        assert_eq!(missing([1, 2, 5, 7]), [3..=4, 6..=6]);
        assert_eq!(missing([3, 4]), [1..=2]);
        assert_eq!(missing([0, 2]), [1..=1]);
    }
}
