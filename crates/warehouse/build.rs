//! Has the crate built again when a migration comes, goes or changes: they are compiled in. And tells the
//! tests whether the recorded responses lie beside the repository.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=migrations");
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");
    println!("cargo::rustc-check-cfg=cfg(has_shared)");
    println!("cargo::rerun-if-changed={fixtures}");
    if std::path::Path::new(fixtures).is_dir() {
        println!("cargo::rustc-cfg=has_shared");
    }
}
