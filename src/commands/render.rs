//! `actviz render`: a heatmap for every chosen layer of every fold.

use std::collections::BTreeMap;
use std::io::Write;

use super::{EXIT_DONE, EXIT_PARTLY, print_json};
use crate::args::RenderArgs;
use crate::engine::Engine;
use crate::manifest::{Flagged, Manifest};
use crate::maps::Flag;
use crate::plan::Plan;
use crate::preview;
use crate::render::Render;
use crate::talk::Talk;

/// Carries out the plan, or says what it would do.
///
/// # Errors
/// Whatever leaves nothing to write, or ends all writing (a full disk).
pub fn run(
    args: &RenderArgs,
    plan: &Plan,
    engine: &dyn Engine,
    talk: &mut Talk,
    stdout: &mut dyn Write,
) -> anyhow::Result<u8> {
    if args.dry_run {
        let would = Render::new(plan, engine, talk).rehearse()?;
        if args.json {
            print_json(stdout, &would)?;
        } else {
            describe(&would, plan, stdout)?;
        }
        return Ok(EXIT_DONE);
    }
    let mut sheets = Vec::new();
    let manifest = Render::new(plan, engine, talk).run(|sheet| {
        if plan.preview {
            sheets.push(sheet.clone());
        }
    })?;
    warn_of_flags(&manifest, talk);
    talk.note(format!(
        "{} pictures in {} (manifest.json says what each one shows)",
        manifest.picture_count(),
        plan.out.display()
    ));
    if args.json {
        print_json(stdout, &manifest)?;
    }
    for sheet in &sheets {
        preview::show(sheet, talk);
    }
    let unwanted = |flag: &Flag| plan.fail_on.contains(flag);
    let flagged = manifest.flagged().iter().any(|(_, map)| map.flags.iter().any(unwanted));
    let whole = manifest.failed.is_empty() && !flagged;
    Ok(if whole { EXIT_DONE } else { EXIT_PARTLY })
}

/// One line for each fold and layer with a map that shows nothing, or not all.
fn warn_of_flags(manifest: &Manifest, talk: &Talk) {
    let mut found: BTreeMap<(usize, usize, Flag), (String, Vec<&str>)> = BTreeMap::new();
    for (file, Flagged { fold, b, layer, flags }) in manifest.flagged() {
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
        talk.warn(format!("fold {fold}, layer {layer}: the map {what} in {file}{others}"));
    }
}

/// The plan in words, one line a file.
fn describe(would: &Manifest, plan: &Plan, out: &mut dyn Write) -> std::io::Result<()> {
    for fold in &would.folds {
        writeln!(out, "read   {} (fold {})", fold.file, fold.fold)?;
    }
    for image in &would.images {
        writeln!(out, "read   {}", image.path)?;
    }
    for picture in &would.pictures {
        let (layer, file) = (&picture.layer, plan.out.join(&picture.file));
        writeln!(out, "write  {}  fold {}  {layer}", file.display(), picture.fold)?;
        if let Some(raw) = &picture.raw {
            writeln!(out, "write  {}", plan.out.join(raw).display())?;
        }
    }
    Ok(())
}
