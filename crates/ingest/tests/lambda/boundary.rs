//! What the function is made of.

use std::process::Command;

#[test]
#[expect(clippy::disallowed_methods, reason = "cargo says where it is")]
fn it_links_no_database_and_no_dashboard() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "--package", "daymark-ingest", "--edges", "normal"])
        .args(["--prefix", "none", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"lambda_runtime"), "it is the tree of the function");
    let foreign = ["postgres", "oliphaunt", "wasmer", "daymark-warehouse", "daymark-web", "axum"];
    let found: Vec<_> =
        names.iter().filter(|name| foreign.iter().any(|word| name.contains(word))).collect();
    assert!(found.is_empty(), "{found:?}");
}
