//! Tells the tests whether the recorded responses lie beside the repository, and where Prometheus's
//! `promtool` is: where it is named, where Debian puts it, or where `scripts/setup.sh` does.

#[expect(clippy::disallowed_methods, reason = "this variable is for tests only")]
fn main() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");
    println!("cargo::rustc-check-cfg=cfg(has_shared)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={fixtures}");
    if std::path::Path::new(fixtures).is_dir() {
        println!("cargo::rustc-cfg=has_shared");
    }
    println!("cargo::rustc-check-cfg=cfg(has_promtool)");
    println!("cargo::rerun-if-env-changed=DAYMARK_TEST_PROMTOOL");
    let named = std::env::var("DAYMARK_TEST_PROMTOOL").unwrap_or_default();
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/promtool");
    let places = if named.is_empty() {
        vec!["/usr/bin/promtool".to_owned(), fetched.to_owned()]
    } else {
        vec![named]
    };
    // A place where nothing is yet is not watched, or this would be built anew every time; setup.sh touches this file.
    let is_there = |place: &String| std::path::Path::new(place).is_file();
    if let Some(promtool) = places.into_iter().find(is_there) {
        println!("cargo::rerun-if-changed={promtool}");
        println!("cargo::rustc-cfg=has_promtool");
        println!("cargo::rustc-env=PROMTOOL={promtool}");
    }
}
