//! `actviz show`: what a picture says of itself.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use super::{EXIT_DONE, print_json};
use crate::args::ShowArgs;
use crate::error::Error;
use crate::picture::png;
use crate::terminal::line;

/// Prints what each file carries.
///
/// # Errors
/// [`Error::Picture`] if a file is no picture of ours.
pub fn run(args: &ShowArgs, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut all = Vec::new();
    for file in &args.files {
        let about = read(file)?;
        if !args.json {
            if args.files.len() > 1 {
                writeln!(out, "{}:", line(file.display()))?;
            }
            print(&about, 0, out)?;
        }
        all.push(about);
    }
    if args.json {
        match &all[..] {
            [one] => print_json(out, one)?,
            several => print_json(out, &several)?,
        }
    }
    Ok(EXIT_DONE)
}

fn read(file: &Path) -> Result<Value, Error> {
    let bad = |problem: String| Error::Picture { path: file.to_owned(), problem };
    let text = png::about(&png::read(file).map_err(bad)?)
        .map_err(bad)?
        .ok_or_else(|| bad("the picture was not made by actviz, or lost its text".to_owned()))?;
    serde_json::from_str(&text).map_err(|error| bad(format!("its text is damaged: {error}")))
}

/// One line a value, nested ones indented.
fn print(value: &Value, depth: usize, out: &mut dyn Write) -> std::io::Result<()> {
    let indent = "  ".repeat(depth);
    let Value::Object(fields) = value else { return Ok(()) };
    for (name, value) in fields {
        let name = line(name);
        match value {
            Value::Object(_) => {
                writeln!(out, "{indent}{name}")?;
                print(value, depth + 1, out)?;
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for item in items {
                    writeln!(out, "{indent}{name}")?;
                    print(item, depth + 1, out)?;
                }
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(plain).collect();
                writeln!(out, "{indent}{name:<14} {}", items.join(", "))?;
            }
            _ => writeln!(out, "{indent}{name:<14} {}", plain(value))?,
        }
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    line(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}
