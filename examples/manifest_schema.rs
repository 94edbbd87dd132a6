//! Prints the JSON Schema of manifest.json:
//! `cargo run --no-default-features --example manifest_schema > docs/manifest.schema.json`

fn main() {
    print!("{}", actviz::manifest::json_schema());
}
