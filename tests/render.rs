//! `actviz render` on the fake engine: plan, folds, files, manifest, failures.
#![allow(clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use actviz::args::{Cli, Command};
use actviz::commands::{EXIT_DONE, EXIT_PARTLY, render};
use actviz::engine::Engine;
use actviz::error::Error;
use actviz::fake::{FakeEngine, FakeNetwork, write_archive};
use actviz::interrupt::Interrupt;
use actviz::manifest::Manifest;
use actviz::plan::Plan;
use actviz::terminal::{Reporter, Verbosity};
use clap::Parser;

/// A folder with three folds and some images.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a temporary folder"));
        for fold in 1..=3 {
            write_archive(&place.path(&format!("fold_{fold}.pt")), None).expect("a file");
        }
        place.image("cat.png", 40);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A gradient that starts at the grey value `start`.
    fn image(&self, name: &str, start: u8) {
        let picture = image::GrayImage::from_fn(16, 16, |x, y| {
            image::Luma([start.saturating_add((x * 3 + y * 5) as u8)])
        });
        picture.save(self.path(name)).expect("a picture");
    }

    /// Runs `actviz render` on the engine, with names relative to this place.
    fn render(&self, engine: &dyn Engine, flags: &str) -> (anyhow::Result<u8>, String) {
        let model = self.path("fold_{fold}.pt");
        let out = self.path("out");
        let fixed = ["actviz", "render", "--input-size", "16", "--model"];
        let words = flags.split_whitespace().map(|word| match word.strip_prefix('^') {
            Some(name) => self.path(name).to_string_lossy().into_owned(),
            None => word.to_owned(),
        });
        let all = fixed
            .into_iter()
            .map(str::to_owned)
            .chain([text(&model), "-o".to_owned(), text(&out)])
            .chain(words);
        let Command::Render(args) = Cli::try_parse_from(all).expect("flags").command else {
            unreachable!("the first word is render");
        };
        let mut stdout = Vec::new();
        let reporter = Reporter::new(Verbosity::Quiet);
        let result = Plan::new(&args).map_err(anyhow::Error::from).and_then(|plan| {
            render::run(&args, &plan, engine, (&reporter, &Interrupt::default()), &mut stdout)
        });
        (result, String::from_utf8(stdout).expect("text"))
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.path("out")).expect("readable").expect("a manifest")
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect(&self.path("out"), &self.path("out"), &mut files);
        files.sort();
        files
    }
}

fn collect(top: &Path, folder: &Path, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(top, &path, files);
        } else {
            files.push(text(path.strip_prefix(top).expect("below")));
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn plain() -> impl Engine {
    FakeEngine(|_: &Path| Ok(FakeNetwork::default()))
}

fn done(result: &anyhow::Result<u8>) -> u8 {
    match result {
        Ok(code) => *code,
        Err(error) => panic!("{error:#}"),
    }
}

fn failed(result: &anyhow::Result<u8>) -> &Error {
    result.as_ref().expect_err("an error").downcast_ref().expect("an error of ours")
}

#[test]
fn every_fold_and_layer_gets_a_picture_named_a_b() {
    let place = Place::new();
    let (result, stdout) = place.render(&plain(), "--folds 3 ^cat.png");
    assert_eq!((done(&result), stdout.as_str()), (EXIT_DONE, ""));
    let expected = [
        "1_1.png",
        "1_2.png",
        "1_3.png",
        "2_1.png",
        "2_2.png",
        "2_3.png",
        "3_1.png",
        "3_2.png",
        "3_3.png",
        "manifest.json",
    ];
    assert_eq!(place.files(), expected);
    let manifest = place.manifest();
    let files: Vec<&str> = manifest.pictures.iter().map(|p| p.file.as_str()).collect();
    assert_eq!(files, expected[..9]);
    let third = &manifest.pictures[2];
    assert_eq!((third.layer.as_str(), third.height, third.width), ("block3.relu", 4, 4));
    assert_eq!(manifest.images[0].sha256.len(), 64);
    assert_eq!(manifest.folds[2].sha256.len(), 64);
}

#[test]
fn the_picture_shows_the_map_between_its_lowest_and_highest_value() {
    let place = Place::new();
    let flags = "--folds 1 --colormap gray --size native --mean 0 --std 1 --raw ^cat.png";
    done(&place.render(&plain(), flags).0);
    let picture = image::open(place.path("out/1_1.png")).expect("a picture").to_luma8();
    // The gradient runs from 40 to 40 + 15 * 8: black to white over the whole range.
    assert_eq!((picture.get_pixel(0, 0).0[0], picture.get_pixel(15, 15).0[0]), (0, 255));
    let manifest = place.manifest();
    let first = &manifest.pictures[0];
    assert!((first.low - 40.0 / 255.0).abs() < 1e-6 && (first.high - 160.0 / 255.0).abs() < 1e-6);
    let raw: ndarray::Array2<f32> =
        ndarray_npy::read_npy(place.path("out/1_1.npy")).expect("a NumPy file");
    assert_eq!((raw.dim(), raw[[0, 0]], raw[[15, 15]]), ((16, 16), first.low, first.high));
}

#[test]
fn several_images_get_a_folder_each_and_a_bad_one_does_not_stop_the_rest() {
    let place = Place::new();
    place.image("dog.png", 90);
    fs::write(place.path("broken.png"), b"not a picture").expect("a file");
    let (result, _) =
        place.render(&plain(), "--fold 2 --folds 3 ^cat.png ^broken.png ^gone.png ^dog.png");
    assert_eq!(done(&result), EXIT_PARTLY);
    let manifest = place.manifest();
    let files: Vec<&str> = manifest.pictures.iter().map(|p| p.file.as_str()).collect();
    assert_eq!(
        files,
        ["cat/2_1.png", "cat/2_2.png", "cat/2_3.png", "dog/2_1.png", "dog/2_2.png", "dog/2_3.png"]
    );
    assert_eq!(manifest.pictures[3].image, 3);
    let problems: Vec<&str> = manifest.failed.iter().map(|f| f.problem.as_str()).collect();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].contains("broken.png") && problems[1].contains("gone.png"), "{problems:?}");
}

#[test]
fn an_image_that_the_network_refuses_is_missing_alone() {
    let place = Place::new();
    place.image("bright.png", 200);
    place.image("dim.png", 10);
    let picky = FakeNetwork { refuses_above: 0.6, ..FakeNetwork::default() };
    let engine = FakeEngine(move |_: &Path| Ok(picky.clone()));
    let flags = "--folds 1 --mean 0 --std 1 ^cat.png ^bright.png ^dim.png";
    assert_eq!(done(&place.render(&engine, flags).0), EXIT_PARTLY);
    let manifest = place.manifest();
    assert_eq!(manifest.pictures.len(), 6);
    assert_eq!(manifest.failed.len(), 1);
    assert_eq!(manifest.failed[0].fold, Some(1));
}

#[test]
fn a_fold_with_other_layers_is_reported_and_the_others_are_drawn() {
    let place = Place::new();
    let engine = FakeEngine(|file: &Path| {
        let second = file.ends_with("fold_2.pt");
        let operators = if second { vec!["relu", "gelu", "relu"] } else { vec!["relu"; 3] };
        Ok(FakeNetwork { operators, ..FakeNetwork::default() })
    });
    assert_eq!(done(&place.render(&engine, "--folds 3 ^cat.png").0), EXIT_PARTLY);
    let manifest = place.manifest();
    assert_eq!(manifest.pictures.len(), 6);
    let problem = &manifest.failed[0].problem;
    assert!(problem.contains("folds 1 and 2") && problem.contains("layer 2"), "{problem}");
}

#[test]
fn when_nothing_can_be_read_nothing_is_written_and_the_exit_code_is_two() {
    let place = Place::new();
    let (result, _) = place.render(&plain(), "--folds 1 ^gone.png");
    assert_eq!(failed(&result).exit_code(), 2);
    assert!(failed(&result).to_string().contains("gone.png"));
    let (result, _) = place.render(&plain(), "--folds 1 ^gone.png ^gone2.png");
    assert_eq!(failed(&result).exit_code(), 2);
    assert!(!place.path("out").exists());
}

#[test]
fn a_dry_run_names_every_file_and_writes_none() {
    let place = Place::new();
    let (result, stdout) = place.render(&plain(), "--folds 2 --dry-run --raw ^cat.png");
    assert_eq!(done(&result), EXIT_DONE);
    assert_eq!(stdout.matches("write").count(), 12);
    assert!(stdout.contains("2_3.npy") && stdout.contains("block3.relu"), "{stdout}");
    assert!(!place.path("out").exists());
}

#[test]
fn the_same_command_may_run_twice_and_gives_the_same_bytes() {
    let place = Place::new();
    done(&place.render(&plain(), "--folds 2 ^cat.png").0);
    let first: Vec<_> = place.files().iter().map(|f| fs::read(place.path("out").join(f))).collect();
    done(&place.render(&plain(), "--folds 2 ^cat.png").0);
    for (file, bytes) in place.files().iter().zip(first) {
        let again = fs::read(place.path("out").join(file)).expect("a file");
        assert_eq!(again, bytes.expect("a file"), "{file}");
    }
}

#[test]
fn another_command_replaces_the_pictures_only_if_forced() {
    let place = Place::new();
    done(&place.render(&plain(), "--folds 2 ^cat.png").0);
    let (result, _) = place.render(&plain(), "--folds 1 ^cat.png");
    assert!(failed(&result).to_string().contains("another run"));
    fs::write(place.path("out/notes.txt"), b"mine").expect("a file");
    done(&place.render(&plain(), "--folds 1 --force ^cat.png").0);
    assert_eq!(place.files(), ["1_1.png", "1_2.png", "1_3.png", "manifest.json", "notes.txt"]);
}

#[test]
fn json_prints_the_manifest_that_is_written() {
    let place = Place::new();
    let (result, stdout) = place.render(&plain(), "--folds 1 --json ^cat.png");
    assert_eq!(done(&result), EXIT_DONE);
    let printed: Manifest = serde_json::from_str(&stdout).expect("a manifest");
    assert_eq!(printed, place.manifest());
}

#[test]
fn a_vector_is_drawn_if_asked_for() {
    let place = Place::new();
    done(&place.render(&plain(), "--folds 1 --layers head.relu ^cat.png").0);
    let manifest = place.manifest();
    let picture = &manifest.pictures[0];
    assert_eq!((picture.channels, picture.height, picture.width), (1, 2, 2));
}

#[test]
fn a_network_of_four_channels_is_refused_with_the_number() {
    let place = Place::new();
    let engine =
        FakeEngine(|_: &Path| Ok(FakeNetwork { channels: Some(4), ..FakeNetwork::default() }));
    let (result, _) = place.render(&engine, "--folds 1 ^cat.png");
    assert!(failed(&result).to_string().contains("takes 4 channels"));
}

#[test]
fn a_grey_network_gets_grey_pictures() {
    let place = Place::new();
    let engine =
        FakeEngine(|_: &Path| Ok(FakeNetwork { channels: Some(1), ..FakeNetwork::default() }));
    done(&place.render(&engine, "--folds 1 ^cat.png").0);
    assert_eq!(place.manifest().options.mean.len(), 1);
}

#[test]
fn an_image_may_not_be_overwritten_by_its_own_picture() {
    let place = Place::new();
    fs::create_dir(place.path("out")).expect("a folder");
    place.image("out/1_1.png", 3);
    let (result, _) = place.render(&plain(), "--folds 1 --force ^out/1_1.png");
    assert!(failed(&result).to_string().contains("1_1.png"));
    assert_eq!(place.files(), ["1_1.png"]);
}

/// Names of files are bytes that others have chosen.
#[test]
#[cfg(unix)]
fn odd_names_of_pictures_neither_leave_the_folder_nor_touch_the_pictures() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let place = Place::new();
    let long = format!("{}.png", "n".repeat(251));
    let names: Vec<OsString> = [
        "two\nlines.png",
        "quote\"'.png",
        "..hidden.png",
        "con.png",
        "a:b*?.png",
        "trailing. .png",
        "\u{1b}[2J.png",
        long.as_str(),
    ]
    .map(OsString::from)
    .into_iter()
    .chain([OsString::from_vec(b"not-\xFF-utf8.png".to_vec())])
    .collect();
    let folder = place.path("pictures");
    fs::create_dir(&folder).expect("a folder");
    for name in &names {
        fs::copy(place.path("cat.png"), folder.join(name)).expect("a picture");
    }
    // Hidden files of a folder are left out, but not those that are named.
    let (result, _) = place.render(&plain(), "--folds 1 ^pictures ^pictures/..hidden.png");
    assert_eq!(done(&result), EXIT_DONE);
    let folders: Vec<_> = fs::read_dir(place.path("out"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    assert_eq!(folders.len(), names.len());
    assert!(folders.iter().all(|folder| folder.join("1_1.png").is_file()), "{folders:?}");
    // Beside the three networks, the picture and its copies nothing has come about.
    assert_eq!(fs::read_dir(place.0.path()).expect("a folder").count(), 6);
    let whole = fs::read(place.path("cat.png")).expect("a picture");
    for name in &names {
        assert_eq!(fs::read(folder.join(name)).expect("a picture"), whole, "{name:?}");
    }
}

#[test]
#[cfg(unix)]
fn a_linked_folder_in_the_output_is_not_followed() {
    let place = Place::new();
    place.image("dog.png", 80);
    fs::create_dir(place.path("elsewhere")).expect("a folder");
    fs::create_dir(place.path("out")).expect("a folder");
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("out/dog")).expect("a link");
    let (result, _) = place.render(&plain(), "--folds 1 --force ^cat.png ^dog.png");
    assert!(failed(&result).to_string().contains("symbolic link"), "{}", failed(&result));
    assert_eq!(fs::read_dir(place.path("elsewhere")).expect("a folder").count(), 0);
}

#[test]
fn the_plan_as_json_is_a_manifest() {
    let place = Place::new();
    place.image("dog.png", 80);
    let flags = "--folds 2 --dry-run --json ^cat.png ^dog.png";
    let (result, stdout) = place.render(&plain(), flags);
    assert_eq!(done(&result), EXIT_DONE);
    let plan: Manifest = serde_json::from_str(&stdout).expect("a manifest");
    done(&place.render(&plain(), "--folds 2 ^cat.png ^dog.png").0);
    let files = |manifest: &Manifest| -> Vec<String> {
        manifest.pictures.iter().map(|picture| picture.file.clone()).collect()
    };
    let written = Manifest::read(&place.path("out")).expect("readable").expect("a manifest");
    assert_eq!(files(&plan), files(&written));
    // Written in pieces, and yet as if at once.
    assert_eq!(stdout, serde_json::to_string_pretty(&plan).expect("JSON") + "\n");
}

#[test]
fn a_data_set_in_folders_is_mirrored() {
    let place = Place::new();
    for name in ["set/cat/1.png", "set/dog/1.png", "set/dog/._1.png"] {
        fs::create_dir_all(place.path(name).parent().expect("a folder")).expect("a folder");
        fs::copy(place.path("cat.png"), place.path(name)).expect("a file");
    }
    assert_eq!(done(&place.render(&plain(), "--folds 1 ^set").0), EXIT_DONE);
    let files = place.files();
    assert!(files.contains(&"cat/1/1_1.png".to_owned()), "{files:?}");
    assert!(files.contains(&"dog/1/1_3.png".to_owned()), "{files:?}");
    assert_eq!(files.len(), 7, "{files:?}");
}

#[test]
fn a_damaged_image_does_not_end_the_run() {
    let place = Place::new();
    let odd = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd");
    for name in ["damaged.jpg", "lab.tif", "planar.tif"] {
        fs::copy(odd.join(name), place.path(name)).expect("a file");
    }
    let flags = "--folds 1 ^damaged.jpg ^lab.tif ^planar.tif ^cat.png";
    let (result, _) = place.render(&plain(), flags);
    assert_eq!(done(&result), EXIT_PARTLY);
    let manifest = Manifest::read(&place.path("out")).expect("readable").expect("a manifest");
    let failed: Vec<_> = manifest.failed.iter().filter_map(|f| f.image.as_deref()).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(place.files().contains(&"planar/1_1.png".to_owned()));
}

#[test]
fn a_network_of_four_channels_is_drawn_from_an_array_over_all_folds() {
    let place = Place::new();
    let odd = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd");
    fs::copy(odd.join("bands_chw.npy"), place.path("bands.npy")).expect("a file");
    let engine =
        FakeEngine(|_: &Path| Ok(FakeNetwork { channels: Some(4), ..FakeNetwork::default() }));
    let flags = "--folds 2 --view heat,overlay,sheet ^bands.npy";
    assert_eq!(done(&place.render(&engine, flags).0), EXIT_DONE);
    let manifest = Manifest::read(&place.path("out")).expect("readable").expect("a manifest");
    let mean = |fold| manifest.pictures.iter().find(|p| p.fold == fold).map(|p| p.mean);
    assert_eq!(mean(1), mean(2), "the second fold sees the same values");
    let error = failed(&place.render(&engine, "--force --folds 1 ^cat.png").0).to_string();
    assert!(error.contains("the network takes 4"), "{error}");
}

#[test]
fn every_frame_is_an_image_of_its_own() {
    let place = Place::new();
    let odd = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd");
    fs::copy(odd.join("animated.gif"), place.path("film.gif")).expect("a file");
    let flags = "--folds 1 --frame all ^film.gif ^cat.png";
    assert_eq!(done(&place.render(&plain(), flags).0), EXIT_DONE);
    let manifest = Manifest::read(&place.path("out")).expect("readable").expect("a manifest");
    let names: Vec<_> = manifest.images.iter().map(|i| i.path.rsplit('/').next()).collect();
    assert_eq!(names, [Some("film.gif#1"), Some("film.gif#2"), Some("cat.png")]);
    let files = place.files();
    assert!(files.contains(&"film.1/1_1.png".to_owned()), "{files:?}");
    assert!(files.contains(&"film.2/1_1.png".to_owned()), "{files:?}");
}

#[test]
fn channels_are_what_the_flags_say_where_nobody_else_does() {
    let place = Place::new();
    let engine =
        FakeEngine(|_: &Path| Ok(FakeNetwork { channels: None, ..FakeNetwork::default() }));
    let count = |flags: &str| {
        done(&place.render(&engine, &format!("--force --folds 1 {flags} ^cat.png")).0);
        let manifest = Manifest::read(&place.path("out")).expect("readable").expect("a manifest");
        manifest.options.mean.len()
    };
    assert_eq!(count(""), 3);
    assert_eq!(count("--channels 1"), 1);
    assert_eq!(count("--mean 0.5"), 1);
    assert_eq!(count("--mean 0.5,0.4,0.3"), 3);
}
