//! One request of a source, looked at from all sides, and nothing of it stored.
//!
//! In: a source and what a fetch would be for. Out: a [`Preview`]: what was asked, what came, whether it
//! would be taken and why not, what would be asked next. Everything that can be found out is, also of an
//! answer that would be refused: who writes a source wants to see why. Deliberately absent: writing to
//! the store, and trying again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use daymark_extract::{
    Sample, Scalar, Shape, same_length, sample, scalars_at, shape, shape_of_lines,
};
use daymark_plan::{CursorType, Entity, EntityId, Expect, JsonPath, Layout, Retry, Source};
use serde::Serialize;
use tokio::time::Instant;

use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::client::Connections;
use crate::error::{ErrorKind, IngestError};
use crate::fetch::{FetchEvent, FetchOrder, Ingest, Prepared, Reach, after_page, clocks_agree};
use crate::history::{CursorPosition, History};
use crate::manifest::{RowCounts, SentRequest};
use crate::pages::{After, Pager};
use crate::request::Outgoing;
use crate::scrub::Scrubber;
use crate::secrets;
use crate::verify::{Looked, Refusal, enough};
use crate::words::{chain, short};

/// How much of a body that is no JSON is shown, in characters.
const START: usize = 300;

/// The headers shown beside those that manifests keep.
const SHOWN_HEADERS: [&str; 4] = ["cache-control", "link", "location", "server"];

/// What is wanted of a preview.
#[derive(Debug, Clone, Copy)]
pub struct PreviewOrder {
    /// What a fetch would be for.
    pub fetch: FetchOrder,
    /// The page to look at, from 1; those before it are asked for on the way.
    pub page: u32,
    /// How many rows to show.
    pub rows: usize,
}

/// What one request brought.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// The entity asked about.
    pub entity: Option<EntityId>,
    /// The page looked at; an earlier one than was wanted when the pages ended before.
    pub page: u32,
    /// What was asked; secrets are `***`.
    pub request: SentRequest,
    /// The status; none when there was no answer.
    pub status: Option<u16>,
    /// How long it took.
    pub timing: Timing,
    /// The headers worth showing.
    pub headers: BTreeMap<String, String>,
    /// The bytes of the body, after content decoding; none when it did not come whole.
    pub bytes: Option<u64>,
    /// Their SHA-256.
    pub sha256: Option<String>,
    /// The encoding the body was converted from.
    pub encoding: Option<String>,
    /// How the body starts, when it is no JSON.
    pub starts_with: Option<String>,
    /// What the body looks like, when it is JSON.
    pub shape: Option<Shape>,
    /// The expectations, each with what was found.
    pub expectations: Vec<Expectation>,
    /// What extraction found; none when it failed.
    pub rows: Option<RowCounts>,
    /// The first rows.
    pub sample: Option<Sample>,
    /// Why there are none.
    pub rows_error: Option<String>,
    /// Why the body is refused; none of one that would be taken.
    pub refusal: Option<RefusedBecause>,
    /// What would be asked next.
    pub next: NextPage,
    /// Where the cursor stands and would stand; none for a source without.
    pub cursor: Option<CursorMove>,
}

/// How long a request took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Until the first bytes of the body were here.
    pub first_byte_ms: Option<f64>,
    /// Until all of them were, or the failure.
    pub total_ms: f64,
}

/// Why an answer would not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedBecause {
    /// The kind.
    pub kind: ErrorKind,
    /// In a sentence.
    pub reason: String,
}

/// An expectation and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// What is expected, as in the source's file: `absent`, `min_rows`, ...
    pub rule: &'static str,
    /// Of what: paths, a number.
    pub of: String,
    /// Whether it is so.
    pub verdict: Met,
    /// What was found.
    pub found: String,
}

/// Whether an expectation is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// That could not be found out, or other pages decide it, too.
    Open,
}

/// What would be asked next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NextPage {
    /// Nothing: the source has no pages.
    NoPages,
    /// Nothing: this was the last page.
    Last,
    /// Another page.
    Page {
        /// Its number.
        number: u32,
        /// Its request.
        request: SentRequest,
    },
    /// That cannot be told of an answer that is refused.
    Unknown,
}

/// What would become of the cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CursorMove {
    /// Where it stands; none when only the data date is asked for.
    pub before: Option<String>,
    /// Who put it there; none when it is the `initial` of the source's file.
    pub set: Option<CursorPosition>,
    /// The furthest in this page.
    pub found: Option<String>,
    /// Where it would stand.
    pub after: Option<String>,
}

impl Preview {
    /// Whether a fetch would take it, as far as one page can tell.
    pub fn is_accepted(&self) -> bool {
        self.refusal.is_none()
    }
}

impl Ingest {
    /// Asks a source once, or once per page up to the one that is wanted, and stores nothing.
    pub async fn preview(
        &self,
        source: &Source,
        entity: Option<&EntityId>,
        order: &PreviewOrder,
    ) -> Result<Preview, IngestError> {
        let once = Retry { attempts: 1, ..source.retry };
        let source = &Source { retry: once, ..source.clone() };
        let entity = match entity {
            Some(id) => source.entities.get(id),
            None => source.entities.rows.first(),
        };
        let secrets = secrets::look_up(source, &self.environment).await?;
        let history = History::new(self.store.clone(), source.id.clone(), self.clock.now());
        let prepared =
            Prepared { secrets, history, asking: Semaphore::new(1), comes_fast: false.into() };
        let standing = self.standing(source, entity, &order.fetch, &prepared).await?;
        let before = standing.as_ref().and_then(|cursor| cursor.before.as_deref());
        let values = self.values(source, entity, &order.fetch, before, &prepared.secrets)?;
        let outgoing = Outgoing::build(source, &values)?;
        let client =
            self.clients.for_source(source, &outgoing.url, &values, Connections::UsedAgain)?;
        let (mut pager, mut next) =
            Pager::new(&source.pagination, &source.request.redirect_hosts, outgoing);
        let mut scrubber = Scrubber::default();
        loop {
            let watch = Stopwatch::default();
            let asked = self.ask(&client, source, &next, &values, &|e| watch.sees(&e)).await;
            let timing = watch.timing();
            scrubber.add_all(&asked.scrubber);
            let page = pager.number();
            let answer = asked.answer;
            let mut looked = Looked { refusal: asked.refusal, ..Looked::default() };
            let came = looked.refusal.is_none();
            if let (Some(answer), true) = (&answer, came) {
                looked = self.look_at(source, answer, &scrubber).await?;
                if let Err(error) = clocks_agree(&source.id, Some(answer)) {
                    looked.refuse(error.kind(), daymark_plan::one_line(&error));
                }
            }
            let body = body_of(answer.as_ref(), came).await?;
            let (text, encoding) = body.unzip();
            let mut after = After::End;
            if let Some(answer) = &answer
                && looked.refusal.is_none()
            {
                match after_page(&mut looked, &mut pager, answer) {
                    Ok(found) => after = found,
                    Err(message) => looked.refuse(ErrorKind::Refused, message),
                }
            }
            let wanted = page < order.page && looked.refusal.is_none();
            match after {
                After::Page(request) if wanted => {
                    next = *request;
                    continue;
                }
                _ => {}
            }
            let more = matches!(after, After::Page(_));
            if let (true, false, Some(message)) =
                (page == 1, more, enough(source, looked.rows.as_ref()))
            {
                looked.refuse(ErrorKind::Refused, message);
            }
            let scrub = |text: &str| scrubber.scrub(text);
            let content_type = answer.as_ref().and_then(Answer::content_type);
            let found =
                text.as_ref().map(|text| Found { content_type, text, more: more || page > 1 });
            let mut preview = Preview {
                entity: entity.map(|entity| entity.id.clone()),
                page,
                request: next.shown(),
                status: answer.as_ref().map(|answer| answer.status.as_u16()),
                timing,
                headers: answer.as_ref().map(shown_headers).unwrap_or_default(),
                bytes: None,
                sha256: None,
                encoding: encoding.flatten().map(str::to_owned),
                starts_with: None,
                shape: None,
                expectations: expectations(&source.expect, found.as_ref(), looked.rows.as_ref()),
                rows: looked.rows,
                sample: None,
                rows_error: None,
                refusal: None,
                next: match &after {
                    _ if !source.pagination.is_some() => NextPage::NoPages,
                    _ if looked.refusal.is_some() => NextPage::Unknown,
                    After::End => NextPage::Last,
                    After::Page(next) => NextPage::Page { number: page + 1, request: next.shown() },
                },
                cursor: standing.map(|cursor| moved(source, &order.fetch, cursor, looked.cursor)),
            };
            if let Some(spooled) = answer.as_ref().and_then(|answer| answer.body.as_ref()) {
                preview.bytes = Some(spooled.len());
                preview.sha256 = Some(spooled.sha256().to_owned());
            }
            if let Some(text) = text {
                preview.look_closer(source, text, order.rows).await;
            }
            preview.refusal = looked
                .refusal
                .map(|Refusal { kind, message }| RefusedBecause { kind, reason: message });
            preview.scrub(&scrub);
            return Ok(preview);
        }
    }

    /// Where the cursor of a source stands.
    async fn standing(
        &self,
        source: &Source,
        entity: Option<&Entity>,
        order: &FetchOrder,
        prepared: &Prepared,
    ) -> Result<Option<CursorMove>, IngestError> {
        let Some(incremental) = &source.incremental else { return Ok(None) };
        let set = match order.reach {
            Reach::Forward => prepared.history.cursor(entity.map(|entity| &entity.id)).await?,
            Reach::ByDay => None,
        };
        let before = match (&set, order.reach) {
            (Some(set), _) => Some(set.cursor.clone()),
            (None, Reach::Forward) => Some(incremental.initial.clone()),
            (None, Reach::ByDay) => None,
        };
        Ok(Some(CursorMove { before, set, found: None, after: None }))
    }
}

impl Preview {
    /// Shape and first rows, whatever the verdict is; off the runtime's threads, for a large body takes a
    /// while.
    async fn look_closer(&mut self, source: &Source, text: Bytes, limit: usize) {
        let rows = source.rows.clone();
        let looking = move || {
            let shape = match rows.layout {
                Layout::Csv => None,
                Layout::Ndjson => shape_of_lines(&text).ok(),
                Layout::Columns | Layout::Records | Layout::Keyed | Layout::Grid => {
                    shape(&text).ok()
                }
            };
            // An error page of a table's API may well be JSON.
            let shape = shape.or_else(|| shape_of_json(&text));
            let starts = shape.is_none().then(|| {
                let start =
                    String::from_utf8_lossy(&text[..text.len().min(4 * START)]).into_owned();
                start.chars().take(START).collect::<String>()
            });
            (shape, starts, sample(&rows, &text, limit))
        };
        match tokio::task::spawn_blocking(looking).await {
            Ok((shape, starts, sample)) => {
                (self.shape, self.starts_with) = (shape, starts);
                match sample {
                    Ok(sample) => self.sample = Some(sample),
                    Err(error) => self.rows_error = Some(short(&chain(&error))),
                }
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Hides the secrets of the request in all that the server said: servers like to repeat them.
    fn scrub(&mut self, scrub: &dyn Fn(&str) -> String) {
        let texts =
            self.headers.values_mut().chain(&mut self.starts_with).chain(&mut self.rows_error);
        let texts = texts.chain(self.refusal.iter_mut().map(|refusal| &mut refusal.reason));
        let texts = texts.chain(self.expectations.iter_mut().map(|e| &mut e.found));
        let shapes = self.shape.iter_mut().flat_map(|shape| &mut shape.paths);
        let examples = shapes.flat_map(|path| {
            std::iter::once(&mut path.path).chain(&mut path.example).chain(&mut path.first_name)
        });
        let values = self.sample.iter_mut().flat_map(|sample| sample.rows.iter_mut().flatten());
        let rejects = self.rows.iter_mut().flat_map(|rows| &mut rows.rejects);
        let rejects = rejects.map(|reject| &mut reject.value);
        for text in texts.chain(examples).chain(values.flatten()).chain(rejects) {
            *text = scrub(text);
        }
    }
}

fn shape_of_json(text: &[u8]) -> Option<Shape> {
    let opens = text.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(opens, Some(b'{' | b'[')).then(|| shape(text).ok()).flatten()
}

/// The body in UTF-8, as extraction sees it, and the encoding it was converted from. Of a body that
/// cannot be converted, and of one that a failure brought, the bytes as they are.
async fn body_of(
    answer: Option<&Answer>,
    came: bool,
) -> Result<Option<(Bytes, Option<&'static str>)>, IngestError> {
    let Some(spooled) = answer.and_then(|answer| answer.body.as_ref()) else { return Ok(None) };
    let body = spooled.read().await.map_err(IngestError::Spool)?;
    if body.is_empty() {
        return Ok(None);
    }
    let charset = answer.and_then(Answer::content_type).and_then(crate::verify::charset);
    let text = match daymark_extract::to_utf8(&body, charset.as_deref()) {
        Ok((text, encoding)) if came => (Bytes::copy_from_slice(&text), encoding),
        _ => (body, None),
    };
    Ok(Some(text))
}

fn shown_headers(answer: &Answer) -> BTreeMap<String, String> {
    let mut headers = answer.kept_headers();
    for name in SHOWN_HEADERS {
        let values: Vec<_> = answer
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        if !values.is_empty() {
            headers.insert(name.to_owned(), values.join(", "));
        }
    }
    headers
}

fn moved(
    source: &Source,
    order: &FetchOrder,
    cursor: CursorMove,
    found: Option<String>,
) -> CursorMove {
    let kind = source.incremental.as_ref().map(|incremental| incremental.cursor_type);
    let further = match (&found, &cursor.before, kind) {
        (Some(found), Some(before), Some(kind)) => CursorType::compare(kind, found, before).is_gt(),
        (found, before, _) => found.is_some() && before.is_none(),
    };
    let moves = order.reach == Reach::Forward && further;
    let after = if moves { found.clone() } else { cursor.before.clone() };
    CursorMove { found, after, ..cursor }
}

/// A body that expectations are held against.
struct Found<'f> {
    content_type: Option<&'f str>,
    text: &'f [u8],
    /// Whether rows of other pages count, too.
    more: bool,
}

fn expectations(
    expect: &Expect,
    found: Option<&Found<'_>>,
    rows: Option<&RowCounts>,
) -> Vec<Expectation> {
    let mut all = Vec::new();
    let mut say = |rule, of: String, verdict: Met, what: String| {
        all.push(Expectation { rule, of, verdict, found: what });
    };
    let met = |yes: bool| if yes { Met::Yes } else { Met::No };
    let nothing = || (Met::Open, "there is no body".to_owned());
    if let Some(accepted) = &expect.content_type {
        let (verdict, what) = found.map_or_else(nothing, |found| {
            let said = found.content_type.unwrap_or_default();
            let start = said.get(..accepted.len());
            let fits = start.is_some_and(|start| start.eq_ignore_ascii_case(accepted));
            (met(fits), if said.is_empty() { "none".to_owned() } else { short(said) })
        });
        say("content_type", accepted.clone(), verdict, what);
    }
    for (rule, paths) in [("absent", &expect.absent), ("present", &expect.present)] {
        for path in paths {
            let (verdict, what) =
                found.map_or_else(nothing, |found| at_path(path, found.text, rule));
            say(rule, path.text().to_owned(), verdict, what);
        }
    }
    if !expect.same_length.is_empty() {
        let paths: Vec<&str> = expect.same_length.iter().map(JsonPath::text).collect();
        let (verdict, what) = found.map_or_else(nothing, |found| {
            match same_length(&expect.same_length, found.text) {
                Ok(None) => (Met::Yes, "they are".to_owned()),
                Ok(Some(lengths)) => {
                    let lengths = lengths.iter().map(|(path, length)| format!("{path} {length}"));
                    (Met::No, lengths.collect::<Vec<_>>().join(", "))
                }
                Err(error) => (Met::Open, short(&chain(&error))),
            }
        });
        say("same_length", paths.join(", "), verdict, what);
    }
    let more = found.is_some_and(|found| found.more);
    let (verdict, what) = match rows {
        None => (Met::Open, "no rows could be extracted".to_owned()),
        Some(rows) if rows.extracted < expect.min_rows && more => {
            (Met::Open, format!("{} on this page; those of other pages count, too", rows.extracted))
        }
        Some(rows) => (met(rows.extracted >= expect.min_rows), rows.extracted.to_string()),
    };
    say("min_rows", expect.min_rows.to_string(), verdict, what);
    let (verdict, what) = match rows {
        None => (Met::Open, "no rows could be extracted".to_owned()),
        Some(rows) => {
            let all = rows.extracted + rows.rejected;
            // Counts of rows are far below 2^52, where a float stops being exact.
            #[expect(clippy::cast_precision_loss, reason = "a ratio for a threshold")]
            let ratio = if all == 0 { 0.0 } else { rows.rejected as f64 / all as f64 };
            let fits = ratio <= expect.max_reject_ratio;
            let verdict = if !fits && more { Met::Open } else { met(fits) };
            (verdict, format!("{} of {all} rejected", rows.rejected))
        }
    };
    say("max_reject_ratio", expect.max_reject_ratio.to_string(), verdict, what);
    all
}

/// What stands at a path that must be absent or present; null is nothing.
fn at_path(path: &JsonPath, text: &[u8], rule: &str) -> (Met, String) {
    match daymark_extract::matches_value(path, text) {
        Err(error) => (Met::Open, short(&chain(&error))),
        Ok(there) => {
            let scalar = scalars_at(path, text).ok().and_then(|scalars| {
                scalars.into_iter().find(|scalar| *scalar != Scalar::Null || !there)
            });
            let what = match scalar {
                Some(Scalar::Null) => "null".to_owned(),
                Some(Scalar::Text(text)) => format!("\"{}\"", short(&text)),
                Some(Scalar::Number(text)) => text,
                Some(Scalar::Boolean(value)) => value.to_string(),
                None if there => "an array or object".to_owned(),
                None => "nothing".to_owned(),
            };
            let fits = there == (rule == "present");
            (if fits { Met::Yes } else { Met::No }, what)
        }
    }
}

/// Takes the times of a request. What was waited for before it, such as a rate limit, does not count.
#[derive(Debug, Default)]
struct Stopwatch {
    times: Mutex<(Option<Instant>, Option<Instant>)>,
}

impl Stopwatch {
    fn sees(&self, event: &FetchEvent) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            FetchEvent::Attempt { .. } => *times = (Some(Instant::now()), None),
            FetchEvent::Received { .. } => {
                times.1.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
    }

    fn timing(&self) -> Timing {
        let (sent, first) = *self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |from: Instant, to: Instant| milliseconds(to.duration_since(from));
        let Some(sent) = sent else { return Timing::default() };
        Timing {
            first_byte_ms: first.map(|first| since(sent, first)),
            total_ms: since(sent, Instant::now()),
        }
    }
}

fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 10_000.0).round() / 10.0
}
