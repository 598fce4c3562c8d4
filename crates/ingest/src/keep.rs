//! Keeps what a fetch brought: archive, then raw, then manifest, so that a crash in between leaves at
//! worst objects that no manifest names, never a manifest without its objects (DESIGN.md section 6).
//!
//! In: pages as they come, and how they were asked for. Out: the stored manifest. Deliberately absent:
//! deciding whether a fetch is accepted.

use std::collections::BTreeMap;

use daymark_extract::Outline;
use daymark_plan::{CursorType, Entity, EntityId, Layout, Source, sha256_hex};
use jiff::Timestamp;
use uuid::{NoContext, Uuid};

use crate::answer::Answer;
use crate::error::IngestError;
use crate::fetch::{FetchOrder, Ingest, Prepared, Reach};
use crate::history::later_than;
use crate::keys::{Extension, RawKey};
use crate::manifest::{
    Attempt, MANIFEST_FORMAT, MAX_REJECTS, Manifest, Outcome, Page, RowCounts, SentRequest,
    StoredManifest,
};
use crate::request::PROGRAM;
use crate::scrub::Scrubber;
use crate::spool::Spooled;
use crate::verify::{Looked, Refusal};

/// A page to be kept: its number, none for an only one, and its address as it may be shown.
pub(crate) struct Kept {
    pub(crate) number: Option<u32>,
    pub(crate) url: String,
}

/// What a fetch has brought so far.
pub(crate) struct Collected<'f> {
    source: &'f Source,
    entity: Option<&'f Entity>,
    order: &'f FetchOrder,
    request: SentRequest,
    attempts: Vec<Attempt>,
    status: Option<u16>,
    headers: BTreeMap<String, String>,
    pages: Vec<Page>,
    /// The body of an only page, which need not be read again.
    only: Option<Spooled>,
    /// What it is archived as, where that is still to be done: together with the raw object.
    to_archive: Option<Extension>,
    rows: Option<RowCounts>,
    outline: Option<Outline>,
    page_hashes: Vec<String>,
    cursor_before: Option<String>,
    cursor: Option<String>,
    refusal: Option<Refusal>,
}

impl<'f> Collected<'f> {
    pub(crate) fn new(
        source: &'f Source,
        entity: Option<&'f Entity>,
        order: &'f FetchOrder,
        cursor: Option<String>,
        request: SentRequest,
    ) -> Self {
        Self {
            source,
            entity,
            order,
            request,
            attempts: Vec::new(),
            status: None,
            headers: BTreeMap::new(),
            pages: Vec::new(),
            only: None,
            to_archive: None,
            rows: None,
            outline: None,
            page_hashes: Vec::new(),
            cursor_before: cursor.clone(),
            cursor,
            refusal: None,
        }
    }

    /// Takes note of the requests made for a page.
    pub(crate) fn attempts(&mut self, page: u32, attempts: Vec<Attempt>) {
        self.attempts.extend(attempts.into_iter().map(|attempt| Attempt { page, ..attempt }));
    }

    /// Takes note of an answer.
    pub(crate) fn answer(&mut self, answer: &Answer, scrubber: &Scrubber) {
        self.status = Some(answer.status.as_u16());
        let kept = answer.kept_headers().into_iter();
        self.headers = kept.map(|(name, value)| (name, scrubber.scrub(&value))).collect();
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Refuses the fetch, unless it is already.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        if let Some(last) = self.attempts.last_mut()
            && last.error_kind.is_none()
        {
            last.error_kind = Some(refusal.kind);
            last.message = Some(refusal.message.clone());
        }
        self.refusal.get_or_insert(refusal);
    }

    /// What extraction found on all pages.
    pub(crate) fn rows(&self) -> Option<&RowCounts> {
        self.rows.as_ref()
    }

    /// Adds the rows of a page; the rejects' rows count on from page to page.
    fn add_rows(&mut self, page: RowCounts) {
        self.page_hashes.push(page.rows_sha256.clone());
        let Some(all) = &mut self.rows else {
            self.rows = Some(page);
            return;
        };
        let before = i64::try_from(all.extracted + all.rejected).unwrap_or(i64::MAX);
        let room = MAX_REJECTS.saturating_sub(all.rejects.len());
        all.rejects.extend(page.rejects.into_iter().take(room).map(|mut reject| {
            reject.row += before;
            reject
        }));
        all.extracted += page.extracted;
        all.rejected += page.rejected;
        all.rows_sha256 = sha256_hex(self.page_hashes.join("\n").as_bytes());
    }

    /// Moves the cursor on.
    fn move_cursor(&mut self, found: Option<String>) {
        let (Some(incremental), Some(found)) = (&self.source.incremental, found) else { return };
        let further = self.cursor.as_deref().is_none_or(|cursor| {
            CursorType::compare(incremental.cursor_type, &found, cursor).is_gt()
        });
        if self.order.reach == Reach::Forward && further {
            self.cursor = Some(found);
        }
    }

    fn entity_id(&self) -> Option<&'f EntityId> {
        self.entity.map(|entity| &entity.id)
    }
}

impl Ingest {
    /// Archives a page, unless it is the only one, which [`Self::keep`] does, and takes note of it.
    pub(crate) async fn keep_page(
        &self,
        collected: &mut Collected<'_>,
        page: Kept,
        answer: Option<&Answer>,
        looked: Looked,
        scrubber: &Scrubber,
    ) -> Result<(), IngestError> {
        let rows = looked.rows.as_ref().map(|rows| rows.extracted + rows.rejected);
        if let Some(rows) = looked.rows {
            collected.add_rows(rows);
        }
        if let Some(outline) = looked.outline {
            match &mut collected.outline {
                Some(all) => all.merge(outline),
                None => collected.outline = Some(outline),
            }
        }
        collected.move_cursor(looked.cursor);
        let accepted = looked.refusal.is_none();
        if let Some(Refusal { kind, message }) = looked.refusal {
            collected.refuse(Refusal { kind, message: scrubber.scrub(&message) });
        }
        let Some(body) = answer.and_then(|answer| answer.body.as_ref()).filter(|b| b.len() > 0)
        else {
            return Ok(());
        };
        let source = collected.source;
        let extension = if accepted {
            extension_of(source.rows.layout)
        } else {
            Extension::of(body.starts_with())
        };
        let archive = archive_key(source, collected.order, body.sha256(), extension);
        let archive_version = if page.number.is_none() && collected.pages.is_empty() {
            collected.to_archive = Some(extension);
            None
        } else {
            self.store.archive(&archive, body).await?.version
        };
        collected.only = if collected.pages.is_empty() { Some(body.clone()) } else { None };
        collected.pages.push(Page {
            archive_key: archive.to_string(),
            archive_version,
            raw_key: None,
            sha256: body.sha256().to_owned(),
            bytes: body.len(),
            number: page.number,
            url: Some(page.url),
            rows,
            encoding: looked.encoding.map(str::to_owned),
        });
        Ok(())
    }

    /// Writes the raw objects of an accepted fetch, and the manifest of every fetch.
    pub(crate) async fn keep(
        &self,
        mut collected: Collected<'_>,
        prepared: &Prepared,
    ) -> Result<StoredManifest, IngestError> {
        let (source, order) = (collected.source, collected.order);
        let entity = collected.entity_id();
        let accepted = !collected.is_refused();
        let to_archive = collected.to_archive.take();
        for page in &mut collected.pages {
            let raw = RawKey::Raw {
                source: &source.id,
                data_date: order.data_date,
                entity: entity.map(EntityId::as_str),
                page: page.number,
                extension: extension_of(source.rows.layout),
            };
            match (to_archive, &collected.only) {
                (Some(extension), Some(body)) => {
                    let archive = archive_key(source, order, body.sha256(), extension);
                    let archived = if accepted {
                        self.store.archive_and_overwrite(&archive, &raw, body).await
                    } else {
                        self.store.archive(&archive, body).await
                    };
                    page.archive_version = archived?.version;
                }
                _ if !accepted => {}
                (None, Some(body)) => {
                    self.store.overwrite(&raw, body).await?;
                }
                (_, None) => self.store.copy(&page.archive_key, &raw).await?,
            }
            page.raw_key = accepted.then(|| raw.to_string());
        }
        let newest = prepared.history.newest(entity).await?;
        let fetched_at = later_than(self.clock.now(), newest);
        let unchanged = match &collected.rows {
            Some(rows) if accepted => {
                let before = prepared.history.last_accepted(entity).await?;
                let before = before.and_then(|before| before.rows);
                before.is_some_and(|before| before.rows_sha256 == rows.rows_sha256)
            }
            _ => false,
        };
        let key = RawKey::Manifest {
            source: &source.id,
            fetched_at,
            data_date: order.data_date,
            entity: entity.map(EntityId::as_str),
            run_id: order.run_id,
        };
        let refusal = collected.refusal.map(|Refusal { kind, message }| (message, kind));
        let (reason, error_kind) = refusal.unzip();
        let entity_fields = collected.entity.map(|entity| {
            let named = source.entities.named(entity).into_iter();
            named.skip(1).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        });
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            id: id_at(fetched_at),
            source: source.id.clone(),
            data_date: order.data_date,
            entity: entity.cloned(),
            entity_fields: entity_fields.unwrap_or_default(),
            scheduled_at: order.scheduled_at,
            run_id: order.run_id,
            fetched_at,
            outcome: if accepted { Outcome::Accepted } else { Outcome::Refused },
            reason,
            error_kind,
            request: collected.request,
            status: collected.status,
            headers: collected.headers,
            attempts: collected.attempts,
            pages: collected.pages,
            rows: collected.rows,
            outline: collected.outline.filter(|_| accepted),
            unchanged,
            cursor_before: collected.cursor_before,
            // What was refused moves nothing.
            cursor: collected.cursor.filter(|_| accepted),
            program: PROGRAM.to_owned(),
            source_file_sha256: source.file_sha256.clone(),
        };
        self.store.create(&key, manifest.to_json().into()).await?;
        Ok(StoredManifest { key: key.to_string(), manifest })
    }
}

fn archive_key<'k>(
    source: &'k Source,
    order: &FetchOrder,
    sha256: &'k str,
    extension: Extension,
) -> RawKey<'k> {
    RawKey::Archive { source: &source.id, data_date: order.data_date, sha256, extension }
}

/// The extension of accepted bodies.
fn extension_of(layout: Layout) -> Extension {
    match layout {
        Layout::Csv => Extension::Csv,
        Layout::Columns | Layout::Records | Layout::Keyed | Layout::Grid | Layout::Ndjson => {
            Extension::Json
        }
    }
}

/// A `UUIDv7` (RFC 9562 section 5.7) of an instant.
fn id_at(at: Timestamp) -> Uuid {
    let nanoseconds = u32::try_from(at.subsec_nanosecond()).unwrap_or(0);
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_the_time_of_the_fetch() {
        let id = id_at("2026-11-23T13:00:00.123456Z".parse().unwrap());
        assert_eq!(id.get_version_num(), 7);
        let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanoseconds), (1_795_438_800, 123_000_000));
    }
}
