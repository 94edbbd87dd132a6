//! Which images of a run belong to which of its shards.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One of several parts of a run that are made apart, perhaps on other machines.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// Shard `index`, from 1, of `count`; `None` if there is no such shard.
    pub fn new(index: usize, count: usize) -> Option<Shard> {
        (1..=count).contains(&index).then_some(Shard { index, count })
    }

    /// From 1.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// Whether an image with this name belongs here: the first eight bytes of the name's
    /// SHA-256, as a big-endian number, modulo the count. So other images move none.
    pub fn holds(self, name: &str) -> bool {
        let digest = Sha256::digest(name);
        let number = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        number % self.count as u64 == self.index as u64 - 1
    }

    /// For names of files: `2-of-4`.
    pub fn in_file_names(self) -> String {
        format!("{}-of-{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        text.split_once('/')
            .and_then(|(index, count)| Shard::new(index.parse().ok()?, count.parse().ok()?))
            .ok_or_else(|| "it is I/N: the shard, from 1, of how many, e.g. 2/4".to_owned())
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Shard, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shards_that_exist_are_read() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 2, count: 4 }));
        for text in ["", "/", "/4", "2/", "0/4", "5/4", "2", "a/b", "-1/4"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_image_is_in_one_shard_and_the_shards_are_about_as_large() {
        let mut sizes = [0; 4];
        for image in 0..1000 {
            let name = format!("photo{image}");
            let held: Vec<usize> = (1..=4)
                .filter(|index| Shard::new(*index, 4).is_some_and(|shard| shard.holds(&name)))
                .collect();
            assert_eq!(held.len(), 1, "{name}");
            sizes[held[0] - 1] += 1;
        }
        assert!(sizes.iter().all(|size| (200..300).contains(size)), "{sizes:?}");
    }

    #[test]
    fn where_an_image_belongs_does_not_change_with_the_version() {
        // printf fox | sha256sum begins with 776cb326ab0cd5f0.
        let place = 0x776c_b326_ab0c_d5f0_u64 % 7;
        assert!(Shard { index: place as usize + 1, count: 7 }.holds("fox"));
    }
}
