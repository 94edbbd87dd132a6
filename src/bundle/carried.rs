//! What a TorchScript file says about its own input.

use std::path::Path;

use serde::Deserialize;

use super::{Description, Input, ResizeRule};
use crate::archive::{Carried, EXTRA, ULTRALYTICS};
use crate::error::Error;

/// The part of Ultralytics' metadata that tells what the network is fed with.
#[derive(Deserialize)]
struct Ultralytics {
    /// Height and width, or the side of a square.
    imgsz: Sides,
    #[serde(default, alias = "ch")]
    channels: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Sides {
    Square(usize),
    Each([usize; 2]),
}

/// Input and default layers of what `file` carries; `None` if it is a file of that name
/// which says something else.
///
/// # Errors
/// [`Error::Json`] if a description does not hold what it should.
pub fn read(carried: &Carried, file: &Path) -> Result<Option<(Input, Vec<String>)>, Error> {
    match carried {
        Carried::Description(text) => {
            let own = Description::parse(text, &file.join(EXTRA))?;
            Ok(Some((own.input, own.layers)))
        }
        // Anybody may call a file so: what has no size in it is of somebody else.
        Carried::Ultralytics(text) => {
            let Ok(own) = serde_json::from_str::<Ultralytics>(text) else { return Ok(None) };
            let [height, width] = match own.imgsz {
                Sides::Square(side) => [side, side],
                Sides::Each(sides) => sides,
            };
            let channels = own.channels.unwrap_or(3);
            // Their images are divided by 255, and no more.
            let (mean, std) = (vec![0.0; channels], vec![1.0; channels]);
            let resize = ResizeRule::default();
            let input = Input { channels, width, height, mean, std, resize };
            input
                .check()
                .map_err(|problem| Error::Json { file: file.join(ULTRALYTICS), problem })?;
            Ok(Some((input, Vec::new())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<Input>, Error> {
        let found = read(&Carried::Ultralytics(text.to_owned()), Path::new("net.torchscript"))?;
        Ok(found.map(|(input, _)| input))
    }

    #[test]
    fn ultralytics_says_size_and_channels_and_feeds_0_to_1() {
        let text = r#"{"description": "YOLO", "stride": 32, "batch": 1, "imgsz": [480, 640],
                       "channels": 3, "names": {"0": "cat"}, "args": {"half": false}}"#;
        let input = of(text).expect("read").expect("an input");
        assert_eq!((input.channels, input.width, input.height), (3, 640, 480));
        assert_eq!((input.mean, input.std), (vec![0.0; 3], vec![1.0; 3]));
        let input = of(r#"{"imgsz": 64, "ch": 1}"#).expect("read").expect("an input");
        assert_eq!((input.channels, input.width, input.height), (1, 64, 64));
    }

    #[test]
    fn another_s_config_txt_is_no_description() {
        for text in ["", "lr=0.1", "{}", r#"{"imgsz": "big"}"#] {
            assert_eq!(of(text).expect("nothing"), None, "{text}");
        }
    }

    #[test]
    fn an_impossible_size_is_refused() {
        for text in [r#"{"imgsz": 0}"#, r#"{"imgsz": [1000000, 1000000]}"#] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
