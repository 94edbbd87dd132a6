//! Prints the JSON Schema of `manifest.json` or of what `actviz compare --json` prints:
//! `cargo run --no-default-features --example json_schema manifest > docs/manifest.schema.json`

use actviz::compare::Report;
use actviz::manifest::Manifest;
use actviz::schema;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("manifest") => print!("{}", schema::text_of::<Manifest>()),
        Some("compare") => print!("{}", schema::text_of::<Report>()),
        _ => {
            eprintln!("usage: json_schema manifest|compare");
            std::process::exit(2);
        }
    }
}
