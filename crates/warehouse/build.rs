//! Has the crate built again when a migration comes, goes or changes: they are compiled in.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
