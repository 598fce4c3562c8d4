//! Tells the tests whether the recorded responses lie beside the repository, and where Prometheus's
//! `promtool` is.

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
    let promtool = if named.is_empty() { "/usr/bin/promtool".to_owned() } else { named };
    if std::path::Path::new(&promtool).is_file() {
        println!("cargo::rerun-if-changed={promtool}");
        println!("cargo::rustc-cfg=has_promtool");
        println!("cargo::rustc-env=PROMTOOL={promtool}");
    }
}
