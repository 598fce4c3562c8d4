//! Has the crate built again when a migration comes, goes or changes: they are compiled in.

#![expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
