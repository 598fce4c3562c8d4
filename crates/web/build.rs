//! Makes the folder of the built charts when nobody has built them, so that this crate always
//! compiles (its pages then say so), and builds again when its files change.

use std::path::Path;

fn main() -> std::io::Result<()> {
    std::fs::create_dir_all(Path::new("dist"))?;
    println!("cargo::rerun-if-changed=dist");
    println!("cargo::rerun-if-changed=templates");
    Ok(())
}
