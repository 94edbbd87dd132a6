//! `actviz insights`: what the pictures show, in numbers.

mod csv;
mod tables;

use std::io::Write;
use std::path::PathBuf;

use super::{EXIT_DONE, EXIT_PARTLY, print_json, print_table};
use crate::args::InsightsArgs;
use crate::bundle::Model;
use crate::engine::Engine;
use crate::error::Error;
use crate::images;
use crate::insights::{self, Blur, Document, Measure, ModelInsights};
use crate::output;
use crate::plan::{self, InputPlan, refuse_0_to_255, refuse_networks};
use crate::terminal::{Reporter, line};

/// What is looked at: every model with its images.
pub struct Subjects {
    /// The models, in the order in which they were named.
    pub models: Vec<Model>,
    images: Vec<Vec<PathBuf>>,
    notes: Vec<String>,
}

impl Subjects {
    /// Finds the models and images that the flags mean.
    ///
    /// # Errors
    /// Those of [`Model::find`] and [`images::expand`]; [`Error::Usage`] if a model has no
    /// image.
    pub fn find(args: &InsightsArgs) -> Result<Subjects, Error> {
        refuse_networks(&args.images)?;
        let images::Found { files: given, notes } =
            images::expand(&args.images, args.out.as_deref())?;
        let (mut models, mut all) = (Vec::new(), Vec::new());
        for name in &args.model {
            let model = Model::find(name, args.folds, &args.fold)?;
            let mut files = given.clone();
            if args.images.is_empty() {
                files.extend(model.sample.clone());
            }
            if files.is_empty() {
                let what = format!("no image was given, and {} brings no sample", model.name);
                return Err(Error::usage_hint(what, "actviz insights --model ... photo.png"));
            }
            refuse_0_to_255(&args.input, &files)?;
            models.push(model);
            all.push(files);
        }
        Ok(Subjects { models, images: all, notes })
    }
}

/// Measures every model and prints the figures. Of several models, one that fails is told
/// of, and the others are measured.
///
/// # Errors
/// Whatever leaves all models without figures.
pub fn run(
    args: &InsightsArgs,
    subjects: &Subjects,
    engine: &dyn Engine,
    reporter: &Reporter,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    subjects.notes.iter().for_each(|note| reporter.note(note));
    let (mut models, mut last) = (Vec::new(), None);
    for (model, files) in subjects.models.iter().zip(&subjects.images) {
        let input = InputPlan::new(&args.input, model)?;
        let assumed = input.assumed_in_words(true);
        assumed.into_iter().for_each(|assumed| reporter.note(format!("{}: {assumed}", model.name)));
        reporter.start((files.len() * model.folds.len()) as u64, "images");
        let measure = Measure {
            input,
            reading: plan::reading(&args.input),
            model,
            images: files,
            layers: &args.layers,
            places: usize::from(args.places),
        };
        let measured = insights::measure(&measure, engine, reporter);
        reporter.stop();
        match measured {
            Ok(measured) => models.push(measured),
            Err(error) if subjects.models.len() > 1 => {
                reporter.failed(&error);
                last = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let all_measured = last.is_none();
    if let (true, Some(error)) = (models.is_empty(), last) {
        return Err(error.into());
    }
    let document = Document {
        schema: insights::SCHEMA,
        actviz: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: engine.runtime().version.clone(),
        comparisons: insights::comparisons(&models),
        models,
    };
    if let Some(folder) = &args.out {
        let mut text = serde_json::to_string_pretty(&document).map_err(std::io::Error::from)?;
        text.push('\n');
        output::write_result(&folder.join(insights::FILE_NAME), text.as_bytes())?;
    }
    if args.json {
        print_json(out, &document)?;
    } else if args.csv {
        csv::write(&document, out)?;
    } else {
        print(&document, out)?;
    }
    let whole = all_measured && document.models.iter().all(|model| model.failed.is_empty());
    Ok(if whole { EXIT_DONE } else { EXIT_PARTLY })
}

fn print(document: &Document, out: &mut dyn Write) -> std::io::Result<()> {
    if document.models.len() > 1 {
        print_table(out, &tables::side_by_side(&document.models))?;
        writeln!(out)?;
        print_table(out, &tables::observations(&document.models))?;
        for sentence in &document.comparisons {
            writeln!(out, "* {}", line(sentence))?;
        }
        writeln!(out)?;
    }
    for (place, model) in document.models.iter().enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", line(format!("{}: {}", model.model, scope(model))))?;
        print_table(out, &tables::layers(model))?;
        for blur in &model.blur {
            writeln!(out, "{}", line(lost(blur)))?;
        }
        for observation in &model.observations {
            writeln!(out, "* {}", line(&observation.text))?;
        }
    }
    Ok(())
}

fn lost(blur: &Blur) -> String {
    let shares = blur.shares.iter().filter(|share| share.operators > 0);
    let shares: Vec<String> =
        shares.map(|s| format!("{} {:+.2} ({})", s.kind, s.octaves, s.operators)).collect();
    format!(
        "fold {} loses {:.2} octaves up to {} (grid {:+.2}, fill {:+.2}): {}",
        blur.fold,
        blur.octaves,
        blur.layer,
        blur.grid,
        blur.octaves - blur.grid,
        shares.join(", ")
    )
}

fn scope(model: &ModelInsights) -> String {
    let detail = model.input_detail.map_or("none".to_owned(), |d| format!("{:.1}", d.mean));
    format!(
        "{}, {}, input {} x {} with a detail of {detail} cycles per image",
        count(model.folds.len(), "fold"),
        count(model.images.len(), "image"),
        model.input[0],
        model.input[1]
    )
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
