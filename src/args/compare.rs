//! The flags of `actviz compare` and `actviz accept`.

use std::path::PathBuf;

use clap::Args;

use super::one_of;
use crate::compare::{Allowed, Profile, Tolerances, Window};

/// `actviz compare`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz compare golden/ out/                       nothing may differ
  actviz compare golden/ out/ --profile cross-cpu   on another processor
  actviz compare golden/ out/ --max-abs 4 --max-diff-ratio 0.01 --hard-max 40
  actviz compare golden/1_3.png out/1_3.png         two files
  actviz compare golden/ out/ --junit report.xml --html report.html --github

Exit codes: 0 the same; 1 different; 2 nothing could be compared, or wrong usage;
75 no room for what is written.
docs/compare.md explains the limits and the profiles.")]
pub struct CompareArgs {
    /// The pictures as they should be: a folder, or one file
    pub golden: PathBuf,
    /// The pictures as they are: a folder, or one file
    pub new: PathBuf,
    /// What may differ: exact (nothing), cross-cpu (what another processor's rounding
    /// does), gpu (what a GPU's does); the limits below replace those of the profile
    #[arg(long, value_name = "NAME", default_value_t, value_parser = one_of::<Profile>())]
    pub profile: Profile,
    /// A pixel differs if one of its channels differs by more than N (0 to 255)
    #[arg(long, value_name = "N")]
    pub max_abs: Option<u8>,
    /// At most this share of a picture's pixels may differ, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_diff_ratio: Option<f64>,
    /// No channel of any pixel may differ by more than N (0 to 255)
    #[arg(long, value_name = "N")]
    pub hard_max: Option<u8>,
    /// The root mean square of all differences may be at most this, 0 to 255
    #[arg(long, value_name = "LIMIT", value_parser = positive)]
    pub rmse: Option<f64>,
    /// In no window of N x N pixels may more than K pixels differ
    #[arg(long, value_name = "N:K")]
    pub window: Option<Window>,
    /// Raw maps (.npy) and the values in manifests (range, mean, standard deviation):
    /// |new - golden| may be at most ATOL + RTOL * |golden|
    #[arg(long, value_parser = positive)]
    pub rtol: Option<f64>,
    /// See --rtol
    #[arg(long, value_parser = positive)]
    pub atol: Option<f64>,
    /// Do not fail for pictures that are: missing, extra, unreadable, empty, of another
    /// size, or (range) the same but for the values behind their colours
    #[arg(long, value_name = "WHAT,..", value_delimiter = ',', value_parser = one_of::<Allowed>())]
    pub allow: Vec<Allowed>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Also write a JUnit report, one test case a picture
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Also write one self-contained HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Also write each failed picture side by side: expected, actual, ten times the
    /// difference
    #[arg(long, value_name = "DIR")]
    pub diff_dir: Option<PathBuf>,
    /// On GitHub: annotations, at most 10, and a table in the job's summary
    #[arg(long)]
    pub github: bool,
}

impl CompareArgs {
    /// The limits that were set by themselves.
    pub fn limits(&self) -> Tolerances {
        Tolerances {
            max_abs: self.max_abs,
            max_diff_ratio: self.max_diff_ratio,
            hard_max: self.hard_max,
            rmse: self.rmse,
            window: self.window,
            rtol: self.rtol,
            atol: self.atol,
        }
    }
}

/// `actviz accept`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz accept golden/ out/                       all that changed
  actviz accept golden/ out/ 1_3.png 2_3.png       these alone
  actviz accept golden/ out/ --prune --dry-run     what would go, too

Accepting is a person's decision: where the variable CI is set, it needs --force.")]
pub struct AcceptArgs {
    /// The folder of the pictures as they should be
    pub golden: PathBuf,
    /// The folder of the pictures that are accepted
    pub new: PathBuf,
    /// These pictures alone, named as in the folder; default: all
    #[arg(value_name = "PICTURES")]
    pub pictures: Vec<String>,
    /// Remove what GOLDEN's manifest lists and NEW has not
    #[arg(long, conflicts_with = "pictures")]
    pub prune: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Accept although CI is set
    #[arg(long)]
    pub force: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it is a number from 0 to 1".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..f64::INFINITY).contains(&number) => Ok(number),
        _ => Err("it is a number from 0".to_owned()),
    }
}
