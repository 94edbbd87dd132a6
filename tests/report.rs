//! `actviz report`: what stands on the page, and how it behaves in a browser.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output};

use actviz::args::{Cli, Command};
use actviz::commands::insights::Subjects;
use actviz::commands::{EXIT_PARTLY, insights, render, report};
use actviz::fake::{FakeEngine, FakeNetwork, write_archive};
use actviz::interrupt::Interrupt;
use actviz::manifest::{Image, Manifest};
use actviz::plan::Plan;
use actviz::terminal::{Reporter, Verbosity};
use clap::Parser;

/// Browsers that are tried, after $ACTVIZ_CHROMIUM.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A folder with three folds, and pictures and figures of them in `out`.
struct Place(tempfile::TempDir);

impl Place {
    /// `image` is the name of the picture that is looked at.
    fn new(image: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        for fold in 1..=3 {
            write_archive(&place.path(&format!("fold_{fold}.pt")), None).unwrap();
        }
        let noise = |x: u32, y: u32| (x * 97 + y * 57 + x * y * 31) as u8;
        let picture = image::GrayImage::from_fn(32, 32, |x, y| image::Luma([noise(x, y)]));
        picture.save_with_format(place.path(image), image::ImageFormat::Png).unwrap();
        let engine = FakeEngine(|_: &Path| Ok(FakeNetwork { gain: 3.0, ..FakeNetwork::default() }));
        let reporter = &Reporter::new(Verbosity::Quiet);
        let common = |command: &str| {
            let words = ["actviz", command, "--input-size", "32", "--model"];
            words.map(str::to_owned).into_iter().chain([place.text("fold_{fold}.pt")])
        };
        let rest = ["-o".to_owned(), place.text("out"), place.text(image)];
        let Command::Render(args) = parse(common("render").chain(rest.clone())) else { panic!() };
        let plan = Plan::new(&args).unwrap();
        assert_eq!(
            render::run(&args, &plan, &engine, (reporter, &Interrupt::default()), &mut Vec::new())
                .unwrap(),
            0
        );
        let Command::Insights(args) = parse(common("insights").chain(rest)) else { panic!() };
        assert_eq!(
            insights::run(
                &args,
                &Subjects::find(&args).unwrap(),
                &engine,
                reporter,
                &mut Vec::new()
            )
            .unwrap(),
            0
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn report(&self) -> anyhow::Result<String> {
        self.report_code().map(drop)?;
        Ok(fs::read_to_string(self.path("out/report.html"))?)
    }

    fn report_code(&self) -> anyhow::Result<u8> {
        self.report_into(&[])
    }

    fn report_into(&self, flags: &[&str]) -> anyhow::Result<u8> {
        let words = ["actviz", "report", &self.text("out")].map(str::to_owned);
        let words = words.into_iter().chain(flags.iter().map(|flag| (*flag).to_owned()));
        let Command::Report(args) = parse(words) else { panic!() };
        report::run(&args, &Reporter::new(Verbosity::Quiet))
    }
}

fn parse(words: impl Iterator<Item = String>) -> Command {
    Cli::try_parse_from(words).unwrap().command
}

/// A page is passed on: it must not hold what a stranger's manifest points at.
#[test]
fn only_pictures_of_the_folder_get_on_the_page() {
    let place = Place::new("cat.png");
    let manifest = place.path("out/manifest.json");
    let whole = fs::read_to_string(&manifest).unwrap();
    fs::write(place.path("out/notes.txt"), "private").unwrap();
    for (name, problem) in [
        ("../cat.png", "not in its folder"),
        (&place.text("cat.png"), "not in its folder"),
        ("notes.txt", "no PNG"),
        #[cfg(unix)]
        ("linked.png", "not in its folder"),
    ] {
        #[cfg(unix)]
        if name == "linked.png" {
            std::os::unix::fs::symlink(place.path("cat.png"), place.path("out/linked.png"))
                .unwrap();
        }
        fs::write(&manifest, whole.replace("\"1_1.png\"", &format!("{name:?}"))).unwrap();
        let error = place.report().unwrap_err().to_string();
        assert!(error.contains(problem), "{name}: {error}");
    }
}

#[test]
fn the_page_has_every_picture_and_every_part() {
    let page = Place::new("cat.png").report().unwrap();
    assert_eq!(page.matches("<img tabindex").count(), 3 * 3);
    for part in [
        "Pictures of",
        "deeper layers show less detail",
        "Detail: finer",
        "Receptive field, theoretical",
        "Sparsity",
        "Where the blur comes from",
        "Agreement of folds",
        "What was run",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<svg").count(), 4);
    // Nothing is loaded from anywhere.
    for link in ["src=\"http", "url(", "@import", "file:"] {
        assert!(!page.contains(link), "{link}");
    }
    assert_eq!(page.matches("href=").count(), page.matches("href=\"#").count());
}

#[test]
fn names_that_hold_html_show_as_text() {
    let page = Place::new("<img src=x onerror=alert(1)>&.png").report().unwrap();
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;&amp;.png"));
    assert!(!page.contains("<img src=x"));
}

#[test]
fn a_page_without_figures_says_how_to_have_them() {
    let place = Place::new("cat.png");
    fs::remove_file(place.path("out/insights.json")).unwrap();
    let page = place.report().unwrap();
    assert!(page.contains("actviz insights --model") && !page.contains("<svg"));
}

#[test]
fn a_page_without_some_pictures_is_drawn_and_says_so() {
    let place = Place::new("cat.png");
    fs::remove_file(place.path("out/2_1.png")).unwrap();
    let words = ["actviz", "report", &place.text("out")].map(str::to_owned);
    let Command::Report(args) = parse(words.into_iter()) else { panic!() };
    assert_eq!(report::run(&args, &Reporter::new(Verbosity::Quiet)).unwrap(), EXIT_PARTLY);
    let page = fs::read_to_string(place.path("out/report.html")).unwrap();
    assert_eq!(page.matches("<img tabindex").count(), 3 * 3 - 1);
    assert!(page.contains("Missing in the folder: 2_1.png.") && page.contains(">missing<"));
}

#[test]
fn every_picture_that_is_promised_is_looked_at() {
    let place = Place::new("cat.png");
    let file = place.path("out/manifest.json");
    let whole: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let mut more = whole.clone();
    let mut overlay = whole["pictures"][0].clone();
    overlay["file"] = "1_1.overlay.png".into();
    overlay["view"] = "overlay".into();
    more["pictures"].as_array_mut().unwrap().push(overlay);
    more["sheets"] = serde_json::json!([{"file": "sheet.png", "image": 0}]);
    fs::write(&file, more.to_string()).unwrap();
    fs::write(place.path("out/1_1.overlay.png"), "no picture").unwrap();
    let cut = fs::read(place.path("out/2_1.png")).unwrap();
    fs::write(place.path("out/2_1.png"), &cut[..cut.len() / 2]).unwrap();
    assert_eq!(place.report_code().unwrap(), EXIT_PARTLY);
    let page = place.report().unwrap();
    assert!(page.contains("Missing in the folder: sheet.png."));
    assert!(page.contains("Damaged in the folder: 2_1.png, 1_1.overlay.png."));
    assert_eq!(page.matches("<img tabindex").count(), 3 * 3 - 1);
    assert!(page.contains("In the folder alone: 2 more pictures"));

    let mut other = whole.clone();
    other["pictures"][0]["image"] = 7.into();
    fs::write(&file, other.to_string()).unwrap();
    let error = place.report().unwrap_err().to_string();
    assert!(error.contains("of an image that it does not list"), "{error}");
}

#[test]
fn figures_of_other_networks_are_left_out_and_named() {
    let place = Place::new("cat.png");
    let file = place.path("out/insights.json");
    let whole: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let mut other_model = whole.clone();
    other_model["models"][0]["model"] = "other".into();
    let mut other_file = whole.clone();
    other_file["models"][0]["networks"][1]["sha256"] = "00".into();
    for (document, reason) in [
        (other_model, "The figures of other in insights.json are left out"),
        (other_file, "they are of another file of fold 2 than the pictures"),
    ] {
        fs::write(&file, document.to_string()).unwrap();
        let page = place.report().unwrap();
        assert!(page.contains(reason) && !page.contains("<svg"), "{reason}");
    }
    let mut both = whole.clone();
    both["models"].as_array_mut().unwrap().push(whole["models"][0].clone());
    both["models"][1]["model"] = "other".into();
    fs::write(&file, both.to_string()).unwrap();
    let page = place.report().unwrap();
    assert!(page.contains("The figures of other") && page.matches("<svg").count() == 4);
}

#[test]
fn a_folder_that_render_did_not_write_is_refused() {
    let place = Place::new("cat.png");
    fs::remove_file(place.path("out/manifest.json")).unwrap();
    let error = place.report().unwrap_err().to_string();
    assert!(error.contains("has no manifest.json"), "{error}");
}

#[cfg(unix)]
#[test]
fn figures_in_a_pipe_are_not_waited_for() {
    let place = Place::new("cat.png");
    let figures = place.path("out/insights.json");
    fs::remove_file(&figures).unwrap();
    assert!(Process::new("mkfifo").arg(&figures).status().unwrap().success());
    let (done, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(place.report().unwrap_err().to_string()));
    let error = answer.recv_timeout(std::time::Duration::from_secs(60)).expect("an answer");
    assert!(error.contains("insights.json") && error.contains("pipe"), "{error}");
}

#[test]
fn the_page_takes_no_other_file_s_place() {
    let place = Place::new("cat.png");
    fs::write(place.path("thesis.html"), "<title>mine</title>").unwrap();
    fs::write(place.path("out/report.html"), "mine").unwrap();
    let named = ["out/manifest.json", "out/insights.json", "out/1_1.png", "thesis.html"];
    let before = named.map(|name| fs::read(place.path(name)).unwrap());
    for name in named.into_iter().chain(["out/9_9.png", "out/9_9.npy"]) {
        let error = place.report_into(&["-o", &place.text(name)]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let error = place.report_into(&[]).unwrap_err().to_string();
    assert!(error.contains("is no page of actviz report"), "{error}");
    assert!(named.map(|name| fs::read(place.path(name)).unwrap()) == before);
    assert_eq!(fs::read_to_string(place.path("out/report.html")).unwrap(), "mine");
    // The second time over the page of the first.
    for _ in 0..2 {
        assert_eq!(place.report_into(&["-o", &place.text("page.html")]).unwrap(), 0);
    }
}

#[test]
fn damaged_documents_are_refused_with_a_way_out() {
    for name in ["insights.json", "manifest.json"] {
        let place = Place::new("cat.png");
        fs::write(place.path("out").join(name), "{").unwrap();
        let error = place.report().unwrap_err();
        let error = error.downcast_ref::<actviz::Error>().unwrap();
        assert!(error.to_string().contains(name) && error.hint().is_some(), "{error}");
    }
}

#[test]
fn render_may_follow_into_a_folder_with_a_report() {
    let place = Place::new("cat.png");
    place.report().unwrap();
    let flags = ["actviz", "render", "--input-size", "32", "--model"].map(str::to_owned);
    let rest =
        [place.text("fold_{fold}.pt"), "-o".into(), place.text("out"), place.text("cat.png")];
    let Command::Render(args) = parse(flags.into_iter().chain(rest)) else { panic!() };
    let engine = FakeEngine(|_: &Path| Ok(FakeNetwork::default()));
    let reporter = &Reporter::new(Verbosity::Quiet);
    let plan = Plan::new(&args).unwrap();
    assert_eq!(
        render::run(&args, &plan, &engine, (reporter, &Interrupt::default()), &mut Vec::new())
            .unwrap(),
        0
    );
}

// ---------------------------------------------------------------- in a browser

/// What a reader does, and what must then be seen; runs inside of the page and leaves
/// its verdict in the title.
const READER: &str = r#"<script>
const wrong = [];
window.addEventListener("error", (event) => wrong.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => wrong.push(event.blockedURI));
const must = (holds, what) => { if (!holds) wrong.push(what); };
const press = (key) => document.getElementById("large")
  .dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
window.addEventListener("load", () => {
  const dialog = document.getElementById("large");
  const title = dialog.querySelector("h2");
  const all = [...document.querySelectorAll(".matrix img")];
  must(all.length === 9 && all.every((one) => one.naturalWidth > 0), "9 pictures are there");
  for (const one of all) {
    one.click();
    must(dialog.open && title.textContent === one.alt, one.alt + " is enlarged");
    dialog.close();
  }
  all[0].click();
  press("ArrowDown");
  must(title.textContent === all[3].alt, "the next layer");
  press("ArrowRight");
  must(title.textContent === all[4].alt, "the next fold");
  press("ArrowUp");
  must(title.textContent === all[1].alt, "the layer before");
  const slider = dialog.querySelector("input");
  slider.value = 2;
  slider.dispatchEvent(new Event("input"));
  must(title.textContent === all[2].alt, "the slider moves between folds");
  dialog.close();
  const wide = document.documentElement.scrollWidth;
  must(wide <= window.innerWidth, "no sideways scrolling: " + wide + " of " + window.innerWidth);
  must(performance.getEntriesByType("resource").every((one) => one.name.startsWith("data:")), "no request");
  document.title = wrong.length ? "WRONG: " + wrong.join("; ") : "ALL WELL";
});
</script>"#;

/// The same on a page on which fold 1 lacks its second layer.
const READER_WITH_A_GAP: &str = r#"<script>
const wrong = [];
window.addEventListener("error", (event) => wrong.push(event.message));
const must = (holds, what) => { if (!holds) wrong.push(what); };
window.addEventListener("load", () => {
  const dialog = document.getElementById("large");
  const title = dialog.querySelector("h2");
  const press = (key) => dialog
    .dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const all = [...document.querySelectorAll(".matrix img")];
  must(all.length === 8, "eight pictures are there");
  all[1].click();
  press("ArrowDown");
  must(title.textContent === all[3].alt, "the next layer of fold 2");
  press("ArrowDown");
  must(title.textContent === all[6].alt, "the layer after that");
  document.title = wrong.length ? "WRONG: " + wrong.join("; ") : "ALL WELL";
});
</script>"#;

fn browse(arguments: &[&str], page: &Path) -> Option<Output> {
    let own = std::env::var("ACTVIZ_CHROMIUM").ok();
    let mut browsers = own.iter().map(String::as_str).chain(BROWSERS);
    let profile = page.parent()?.join("profile");
    browsers.find_map(|browser| {
        Process::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .output()
            .ok()
    })
}

#[test]
fn a_browser_shows_the_page_and_a_reader_finds_their_way() {
    let place = Place::new("cat.png");
    reader_finds_their_way(&place, READER);
}

/// The pages of real runs: as many pictures as there are, and a page that can be passed on.
#[test]
fn a_reader_finds_their_way_on_the_pages_of_both_bundles() {
    for (bundle, pictures) in [("cnn9", 9), ("resnet50", 147)] {
        let place = Place(tempfile::tempdir().unwrap());
        let out = place.text("out");
        let common = ["--model", bundle, "--folds", "3", "-o", &out, "examples/images/fox.png"];
        for own in [&["render", "--layers", "all"][..], &["insights", "--places", "1"]] {
            let mut actviz = assert_cmd::Command::cargo_bin("actviz").unwrap();
            actviz.current_dir(env!("CARGO_MANIFEST_DIR"));
            actviz.args(own).args(common).assert().success();
        }
        let reader = READER.replacen("=== 9", &format!("=== {pictures}"), 1);
        reader_finds_their_way(&place, &reader);
        let page = fs::metadata(place.path("out/report.html")).unwrap().len();
        assert!(page < 8 << 20, "{bundle}: {page} bytes");
    }
}

#[test]
fn a_reader_finds_their_way_around_a_missing_picture() {
    let place = Place::new("cat.png");
    fs::remove_file(place.path("out/1_2.png")).unwrap();
    reader_finds_their_way(&place, READER_WITH_A_GAP);
}

fn reader_finds_their_way(place: &Place, reader: &str) {
    let page = place.report().unwrap();
    let read = place.path("read.html");
    fs::write(&read, page.replacen("<script>", &format!("{reader}<script>"), 1)).unwrap();
    for size in ["--window-size=1280,900", "--window-size=500,900"] {
        let arguments = [size, "--dump-dom", "--virtual-time-budget=5000"];
        let Some(output) = browse(&arguments, &read) else {
            eprintln!("SKIPPED: there is no Chromium; set ACTVIZ_CHROMIUM to one");
            assert!(std::env::var_os("ACTVIZ_NEEDS_BROWSER").is_none(), "a browser is needed here");
            return;
        };
        let (dom, log) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
        assert_eq!(title, Some("ALL WELL"), "{log}");
        assert!(!log.contains("CONSOLE"), "{log}");
    }
}

#[test]
fn a_run_that_was_interrupted_says_so_first_and_is_no_success() {
    let place = Place::new("cat.png");
    assert_eq!(place.report_code().unwrap(), 0);
    let manifest = place.path("out/manifest.json");
    let mut found = Manifest::read(&place.path("out")).unwrap().unwrap();
    let whole = found.pictures.len();
    // Fold 1 of the first of two images is there.
    found.pictures.retain(|picture| picture.fold == 1);
    let there = found.pictures.len();
    assert_eq!(whole, 3 * there);
    found.images.push(Image { path: "dog.png".to_owned(), sha256: String::new() });
    found.interrupted = true;
    fs::write(&manifest, found.to_json()).unwrap();
    assert_eq!(place.report_code().unwrap(), EXIT_PARTLY);
    let page = place.report().unwrap();
    let text =
        format!("This run has not ended: {there} of {} pictures, of 1 of 2 images.", 6 * there);
    assert!(page.find(&text).unwrap() < page.find("Activation layers").unwrap(), "{page}");
    assert!(page.contains("Images: 1 of 2."));
    // A run that was killed had no time to say so.
    found.interrupted = false;
    fs::write(&manifest, found.to_json()).unwrap();
    assert_eq!(place.report_code().unwrap(), 0);
    fs::write(place.path("out/.actviz-run"), "").unwrap();
    assert_eq!(place.report_code().unwrap(), EXIT_PARTLY);
    assert!(place.report().unwrap().contains("This run has not ended"));
    fs::remove_file(&manifest).unwrap();
    let error = place.report_code().unwrap_err();
    let hint = error.downcast_ref::<actviz::Error>().unwrap().hint().unwrap();
    assert!(hint.contains("was interrupted"), "{hint}");
}
