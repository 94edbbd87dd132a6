//! `actviz render`: a heatmap for every chosen layer of every fold.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::{EXIT_DONE, EXIT_PARTLY, print_json};
use crate::args::RenderArgs;
use crate::engine::Engine;
use crate::interrupt::Interrupt;
use crate::manifest::{Failed, Flagged, Manifest, Picture};
use crate::maps::Flag;
use crate::plan::{self, Plan};
use crate::preview;
use crate::render::{Event, Rehearsal, Render};
use crate::terminal::{self, Reporter, count, line};

/// Carries out the plan, or says what it would do.
///
/// # Errors
/// Whatever leaves nothing to write, or ends all writing (a full disk).
pub fn run(
    args: &RenderArgs,
    plan: &Plan,
    engine: &dyn Engine,
    (reporter, interrupt): (&Reporter, &Interrupt),
    stdout: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let render = Render::new(plan, engine, reporter, interrupt);
    if args.dry_run {
        let would = render.rehearse()?;
        // A million lines are one after the other no reason to call the system a million times.
        let mut out = BufWriter::new(stdout);
        match args.json {
            true => print_rehearsal(would, &mut out)?,
            false => describe(would, plan, &mut out)?,
        }
        out.flush()?;
        return Ok(EXIT_DONE);
    }
    let mut sheets = Vec::new();
    let lines = Mutex::new(&mut *stdout);
    let watch = |event: Event<'_>| {
        if args.json_lines {
            let mut out = lines.lock().unwrap_or_else(PoisonError::into_inner);
            // What could not be written is told when all pictures are there.
            let _ = print_line(&mut **out, event);
        }
    };
    let manifest = render.run(&watch, |sheet| {
        if plan.preview {
            sheets.push(sheet.clone());
        }
    })?;
    warn_of_flags(&manifest, reporter);
    list_failures(&manifest, plan, reporter);
    // Interrupted before the first picture, there is no manifest.
    if !(manifest.interrupted && manifest.picture_count() == 0) {
        reporter.note(format!(
            "{} in {} ({} says what {} shows)",
            count(manifest.picture_count(), "picture"),
            plan.out.display(),
            manifest.file_name(),
            if manifest.picture_count() == 1 { "it" } else { "each one" }
        ));
    }
    if args.json {
        print_json(stdout, &manifest)?;
    }
    for sheet in &sheets {
        preview::show(sheet, reporter);
    }
    if let Some(code) = interrupt.exit_code() {
        reporter.warn("interrupted; the same command goes on from here");
        return Ok(code);
    }
    let unwanted = |flag: &Flag| plan.fail_on.contains(flag);
    let flagged = manifest.flagged().iter().any(|(_, map)| map.flags.iter().any(unwanted));
    let whole = manifest.failed.is_empty() && !flagged;
    Ok(if whole { EXIT_DONE } else { EXIT_PARTLY })
}

/// One line of `--json-lines`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum JsonEvent<'a> {
    /// A picture is there. `image` counts from 0 in the manifest's list.
    Picture {
        path: String,
        #[serde(flatten)]
        picture: &'a Picture,
    },
    Failed {
        #[serde(flatten)]
        failed: &'a Failed,
    },
}

fn print_line(out: &mut dyn Write, event: Event<'_>) -> std::io::Result<()> {
    let line = match event {
        Event::Picture(path, picture) => JsonEvent::Picture { path: plan::text(path), picture },
        Event::Failed(failed) => JsonEvent::Failed { failed },
    };
    writeln!(out, "{}", terminal::json_line(&line)?)?;
    out.flush()
}

/// What failed was said when it happened; among a thousand pictures that is long ago.
fn list_failures(manifest: &Manifest, plan: &Plan, reporter: &Reporter) {
    /// The manifest has all of them.
    const MOST: usize = 20;
    let failed: Vec<&Failed> = manifest.failed.iter().filter(|f| f.image.is_some()).collect();
    if failed.is_empty() || plan.listed < 2 {
        return;
    }
    let mut text = format!("{} of {} failed:", failed.len(), count(plan.images.len(), "image"));
    for Failed { fold, image, .. } in failed.iter().take(MOST) {
        let fold = fold.map(|fold| format!(" (fold {fold})")).unwrap_or_default();
        text += &format!("\n  {}{fold}", image.as_deref().unwrap_or_default());
    }
    if failed.len() > MOST {
        text += &format!("\n  and {} more, all in {}", failed.len() - MOST, manifest.file_name());
    }
    reporter.warn(text);
}

/// One line for each fold and layer with a map that shows nothing, or not all.
fn warn_of_flags(manifest: &Manifest, reporter: &Reporter) {
    let mut found: BTreeMap<(usize, usize, Flag), (String, Vec<&str>)> = BTreeMap::new();
    for (file, Flagged { fold, layer_position: b, layer, flags }) in manifest.flagged() {
        for flag in flags {
            let entry = found.entry((fold, b, flag));
            entry.or_insert_with(|| (layer.clone(), Vec::new())).1.push(file);
        }
    }
    for ((fold, _, flag), (layer, files)) in found {
        let what = match flag {
            Flag::Nan => "holds NaN (magenta checks)",
            Flag::Inf => "holds infinity (cyan checks)",
            Flag::Dead => "is dead: all values are zero (dark grey, rising lines)",
            Flag::Constant => "is constant (one colour, falling lines)",
        };
        let file = files.first().copied().unwrap_or_default();
        let others = match files.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        reporter.warn(format!("fold {fold}, layer {layer}: the map {what} in {file}{others}"));
    }
}

/// The plan in words, one line a file.
fn describe(would: Rehearsal<'_>, plan: &Plan, out: &mut dyn Write) -> std::io::Result<()> {
    for fold in &would.run.folds {
        writeln!(out, "read   {} (fold {})", line(&fold.file), fold.fold)?;
    }
    for image in &would.run.images {
        writeln!(out, "read   {}", line(&image.path))?;
    }
    would.each_picture(|picture| {
        let (layer, file) = (line(&picture.layer), plan.out.join(&picture.file));
        writeln!(out, "write  {}  fold {}  {layer}", line(file.display()), picture.fold)?;
        if let Some(raw) = &picture.raw {
            writeln!(out, "write  {}", line(plan.out.join(raw).display()))?;
        }
        Ok(())
    })
}

/// The manifest that a run would write, its pictures one by one.
fn print_rehearsal(would: Rehearsal<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    /// Where the pictures go. Names are quoted, so it can stand nowhere else.
    const PLACE: &str = "\n  \"pictures\": []";
    let text = serde_json::to_string_pretty(&would.run)?;
    let (before, after) = text.split_once(PLACE).unwrap_or((&text, ""));
    write!(out, "{before}{}", PLACE.trim_end_matches(']'))?;
    let mut is_first = true;
    would.each_picture(|picture| {
        let picture = serde_json::to_string_pretty(picture)?.replace('\n', "\n    ");
        let comma = if is_first { "" } else { "," };
        is_first = false;
        write!(out, "{comma}\n    {picture}")
    })?;
    writeln!(out, "{}]{after}", if is_first { "" } else { "\n  " })
}
