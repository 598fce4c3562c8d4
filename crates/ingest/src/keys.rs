//! The keys of the raw layer (DESIGN.md section 6): one enum owns them, nobody else formats a path.
//!
//! In: ids, dates, hashes; all of types that hold no character a key could trip over (a
//! [`SourceId`] is `[a-z0-9_]`), so there is nothing to escape. Out: keys that sort as they should.
//! Deliberately absent: what stands under them.

use std::fmt;

use daymark_plan::SourceId;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use object_store::path::Path;
use uuid::Uuid;

/// The instant of a manifest's key: UTC, fixed width, so that text order is time order.
const INSTANT: &str = "%Y%m%dT%H%M%S.%6fZ";

/// What the bytes of an object look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// JSON, or what starts like it: a truncated response is still best looked at as JSON.
    Json,
    /// CSV, or TSV.
    Csv,
    /// Anything else, which can only be the evidence of a refused response.
    Txt,
}

impl Extension {
    /// The extension for a body.
    pub fn of(body: &[u8]) -> Self {
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => Self::Json,
            _ => Self::Txt,
        }
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Txt => "txt",
        })
    }
}

/// A key of the raw layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawKey<'a> {
    /// A distinct body ever received; written once.
    Archive {
        /// Whose it is.
        source: &'a SourceId,
        /// The day it was fetched for.
        data_date: Date,
        /// The SHA-256 of the body, in hexadecimal.
        sha256: &'a str,
        /// What it looks like.
        extension: Extension,
    },
    /// The latest accepted bytes of a day, for people and other tools; may be overwritten.
    Raw {
        /// Whose they are.
        source: &'a SourceId,
        /// The day they were fetched for.
        data_date: Date,
        /// The entity.
        entity: Option<&'a str>,
        /// The page, from 1.
        page: Option<u32>,
        /// What they look like.
        extension: Extension,
    },
    /// The commit mark of a fetch; written last.
    Manifest {
        /// Whose it is.
        source: &'a SourceId,
        /// When the fetch ended.
        fetched_at: Timestamp,
        /// The day it was for.
        data_date: Date,
        /// The entity.
        entity: Option<&'a str>,
        /// The run it was part of.
        run_id: Uuid,
    },
    /// What was decided about a fetch; written once.
    Verdict {
        /// Whose it is.
        source: &'a SourceId,
        /// The fetch.
        fetch_id: Uuid,
        /// When.
        at: Timestamp,
    },
    /// A cursor that a person set.
    Cursor {
        /// Whose it is.
        source: &'a SourceId,
        /// When.
        at: Timestamp,
        /// The entity.
        entity: Option<&'a str>,
    },
}

/// What the name of a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestName {
    /// Whose it is.
    pub source: SourceId,
    /// When the fetch ended.
    pub fetched_at: Timestamp,
    /// The day it was for.
    pub data_date: Date,
    /// The entity.
    pub entity: Option<String>,
    /// The run it was part of.
    pub run_id: Uuid,
}

impl fmt::Display for RawKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive { source, data_date, sha256, extension } => {
                write!(f, "archive/{source}/{data_date}/{sha256}.{extension}")
            }
            Self::Raw { source, data_date, entity, page, extension } => {
                write!(f, "raw/{source}/{source}_{data_date}")?;
                if let Some(entity) = entity {
                    write!(f, "_{entity}")?;
                }
                if let Some(page) = page {
                    write!(f, "_p{page}")?;
                }
                write!(f, ".{extension}")
            }
            Self::Manifest { source, fetched_at, data_date, entity, run_id } => {
                let at = fetched_at.strftime(INSTANT);
                write!(f, "manifests/{source}/{at}_{data_date}_")?;
                if let Some(entity) = entity {
                    write!(f, "{entity}_")?;
                }
                write!(f, "{run_id}.json")
            }
            Self::Verdict { source, fetch_id, at } => {
                write!(f, "verdicts/{source}/{fetch_id}/{}.json", at.strftime(INSTANT))
            }
            Self::Cursor { source, at, entity } => {
                write!(f, "cursors/{source}/{}", at.strftime(INSTANT))?;
                if let Some(entity) = entity {
                    write!(f, "_{entity}")?;
                }
                write!(f, ".json")
            }
        }
    }
}

impl RawKey<'_> {
    /// The key as the store wants it.
    pub(crate) fn path(&self) -> Path {
        Path::from(self.to_string())
    }

    /// What every manifest key of a source starts with.
    pub(crate) fn manifests_of(source: &SourceId) -> Path {
        Path::from(format!("manifests/{source}"))
    }

    /// The key after which the manifests of a source from an instant on stand.
    pub fn manifests_from(source: &SourceId, at: Timestamp) -> String {
        format!("manifests/{source}/{}", Self::name_from(at))
    }

    /// What the names of manifests from an instant on come after.
    pub(crate) fn name_from(at: Timestamp) -> String {
        at.strftime(INSTANT).to_string()
    }

    /// The instant a manifest's name starts with.
    pub(crate) fn instant_of_name(name: &str) -> Option<Timestamp> {
        instant(name.split_once('_')?.0)
    }

    /// What every key of a verdict on a fetch starts with.
    pub(crate) fn verdicts_on(source: &SourceId, fetch_id: Uuid) -> Path {
        Path::from(format!("verdicts/{source}/{fetch_id}"))
    }

    /// Whether a key is of a verdict.
    pub(crate) fn is_verdict(key: &str) -> bool {
        let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
        name.strip_suffix(".json").and_then(instant).is_some()
    }

    /// What every cursor key of a source starts with.
    pub(crate) fn cursors_of(source: &SourceId) -> Path {
        Path::from(format!("cursors/{source}"))
    }

    /// Whether a key is of a cursor that a person set for an entity.
    pub(crate) fn is_cursor_of(key: &str, entity: Option<&str>) -> bool {
        let name = key.strip_prefix("cursors/").and_then(|rest| rest.split_once('/'));
        let name = name.and_then(|(_, name)| name.strip_suffix(".json")).unwrap_or_default();
        let (at, found) = match name.split_once('_') {
            Some((at, entity)) => (at, Some(entity)),
            None => (name, None),
        };
        instant(at).is_some() && found == entity
    }

    /// What a manifest's key says; `None` for a file that is not a manifest of ours.
    pub fn parse_manifest(key: &str) -> Option<ManifestName> {
        let (source, name) = key.strip_prefix("manifests/")?.split_once('/')?;
        let (at, rest) = name.strip_suffix(".json")?.split_once('_')?;
        let (data_date, rest) = rest.split_once('_')?;
        let (entity, run_id) = match rest.rsplit_once('_') {
            Some((entity, run_id)) => (Some(entity.to_owned()), run_id),
            None => (None, rest),
        };
        Some(ManifestName {
            source: SourceId::new(source)?,
            fetched_at: instant(at)?,
            data_date: data_date.parse().ok()?,
            entity,
            run_id: run_id.parse().ok()?,
        })
    }

    /// The `fetched_at` of a manifest's key; `None` for a file that is not a manifest of ours.
    pub fn fetched_at(key: &str) -> Option<Timestamp> {
        Self::parse_manifest(key).map(|name| name.fetched_at)
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    let at = DateTime::strptime(INSTANT, text).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(at.timestamp())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn keys_are_those_of_the_design() {
        let source = &SourceId::new("sp500").unwrap();
        let data_date = date(2026, 11, 20);
        let run_id = "0193a2b4-0000-7000-8000-000000000001".parse().unwrap();
        let fetched_at = "2026-11-23T13:00:00Z".parse().unwrap();
        let sha256 = "ab12";
        let extension = Extension::Json;
        let keys = [
            RawKey::Archive { source, data_date, sha256, extension },
            RawKey::Archive { source, data_date, sha256, extension: Extension::Txt },
            RawKey::Raw { source, data_date, entity: None, page: None, extension },
            RawKey::Raw { source, data_date, entity: Some("dc"), page: Some(2), extension },
            RawKey::Manifest { source, fetched_at, data_date, entity: None, run_id },
            RawKey::Manifest { source, fetched_at, data_date, entity: Some("dc"), run_id },
            RawKey::Cursor { source, at: fetched_at, entity: Some("dc") },
            RawKey::Verdict { source, fetch_id: run_id, at: fetched_at },
        ];
        insta::assert_snapshot!(keys.map(|key| key.to_string()).join("\n"), @r"
        archive/sp500/2026-11-20/ab12.json
        archive/sp500/2026-11-20/ab12.txt
        raw/sp500/sp500_2026-11-20.json
        raw/sp500/sp500_2026-11-20_dc_p2.json
        manifests/sp500/20261123T130000.000000Z_2026-11-20_0193a2b4-0000-7000-8000-000000000001.json
        manifests/sp500/20261123T130000.000000Z_2026-11-20_dc_0193a2b4-0000-7000-8000-000000000001.json
        cursors/sp500/20261123T130000.000000Z_dc.json
        verdicts/sp500/0193a2b4-0000-7000-8000-000000000001/20261123T130000.000000Z.json
        ");
        // The store escapes nothing in them.
        assert!(keys.iter().all(|key| key.path().as_ref() == key.to_string()));
    }

    #[test]
    fn a_manifest_key_gives_its_instant_back() {
        let source = &SourceId::new("weather").unwrap();
        let fetched_at: Timestamp = "2026-11-23T13:00:00.000001Z".parse().unwrap();
        let run_id = Uuid::nil();
        let data_date = date(2026, 11, 23);
        let key = RawKey::Manifest { source, fetched_at, data_date, entity: None, run_id };
        assert_eq!(RawKey::fetched_at(&key.to_string()), Some(fetched_at));
        assert!(RawKey::manifests_from(source, fetched_at) < key.to_string());
        // One with an entity, as later versions write them.
        let entity = "manifests/w/20261123T130000.000001Z_2026-11-23_berlin_\
                      00000000-0000-0000-0000-000000000000.json";
        assert_eq!(RawKey::fetched_at(entity), Some(fetched_at));
        for foreign in
            ["manifests/w/notes.json", "raw/w/w_2026-11-23.json", "manifests/w/a_b_c.json"]
        {
            assert_eq!(RawKey::fetched_at(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn text_order_is_time_order() {
        let source = &SourceId::new("w").unwrap();
        let at = |text: &str| RawKey::manifests_from(source, text.parse().unwrap());
        assert!(at("2026-11-23T13:00:00Z") < at("2026-11-23T13:00:00.000001Z"));
        assert!(at("2026-11-23T13:00:00.999999Z") < at("2026-11-23T13:00:01Z"));
    }

    #[test]
    fn evidence_that_is_not_json_is_text() {
        assert_eq!(Extension::of(b" \n{\"a\":"), Extension::Json);
        assert_eq!(Extension::of(b"<html>"), Extension::Txt);
        assert_eq!(Extension::of(b""), Extension::Txt);
    }
}
