//! Prints the JSON Schema of `manifest.json`, or of what `actviz compare --json` or
//! `actviz insights --json` prints:
//! `cargo run --release --example json_schema manifest > docs/manifest.schema.json`

use actviz::compare::Report;
use actviz::insights::Document;
use actviz::manifest::Manifest;
use actviz::schema;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("manifest") => print!("{}", schema::text_of::<Manifest>()),
        Some("compare") => print!("{}", schema::text_of::<Report>()),
        Some("insights") => print!("{}", schema::text_of::<Document>()),
        _ => {
            eprintln!("usage: json_schema manifest|compare|insights");
            std::process::exit(2);
        }
    }
}
