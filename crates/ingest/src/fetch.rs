//! One fetch of a source, told top to bottom: ask page by page, look at each page, keep it.
//!
//! In: a source and what the fetch is for. Out: the manifest, stored, of an accepted or a refused
//! fetch, one for each entity. Of an answer that is not accepted the whole body of the last attempt is
//! kept as evidence, whatever its status; a body that broke off or was too large was never received
//! and is not. Deliberately absent: whether a fetch is due; the order of objects, which is `keep.rs`'s.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use daymark_plan::{
    Clock, CursorType, Entity, EntityId, Environment, Moment, Plan, Rate, Secrets, Source,
    SourceId, Values,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use tokio::sync::Semaphore;
use tracing::Instrument;
use uuid::Uuid;

use crate::answer::Answer;
use crate::auth::Tokens;
use crate::buffers::Buffers;
use crate::client::{Clients, Connections};
use crate::error::{ErrorKind, IngestError};
use crate::history::History;
use crate::keep::{Collected, Kept};
use crate::manifest::StoredManifest;
use crate::pages::{After, PageBrought, Pager};
use crate::rate::Limits;
use crate::request::Outgoing;
use crate::scrub::Scrubber;
use crate::secrets;
use crate::store::{READ_AT_ONCE, RawStore};
use crate::turns::Turns;
use crate::verify::{About, Looked, Refusal, enough, look_into, look_through};

/// How far this machine's clock may be from an API's or a store's (DESIGN.md section 6).
pub(crate) const MAX_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// How much of the bodies being looked at is held in memory at once, in MiB; a larger body that cannot
/// be read a piece at a time is looked at alone.
const LOOKED_AT_MIB: u32 = 4;

/// How many entities may be on their way for each that is being asked for: the disk syncs what one
/// brought while the API is asked for another.
const KEPT_BESIDE_ASKED: usize = 4;

/// What a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOrder {
    /// The day it is for.
    pub data_date: Date,
    /// The scheduled instant it answers to; none when someone asked for it by hand.
    pub scheduled_at: Option<Timestamp>,
    /// The run it is part of.
    pub run_id: Uuid,
    /// What part of an incremental source is asked for.
    pub reach: Reach,
}

/// What part of an incremental source is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// From the cursor on; an accepted fetch moves it.
    Forward,
    /// The data date only; the cursor stays where it is.
    ByDay,
}

/// What a fetch is doing, for progress shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEvent {
    /// A request is sent.
    Attempt {
        /// Counted from 1.
        number: u32,
        /// How many there may be.
        of: u32,
    },
    /// Bytes have come.
    Received {
        /// So far, after content decoding.
        bytes: u64,
        /// In all, when the server said so.
        announced: Option<u64>,
    },
    /// A request failed and another will be sent.
    Waiting {
        /// After so long.
        wait: Duration,
        /// What failed.
        why: String,
    },
    /// A page is asked for, beyond the first.
    Page {
        /// Counted from 1.
        number: u32,
    },
    /// Something happened to the fetch of an entity.
    Of {
        /// Whose.
        entity: EntityId,
        /// What happened.
        event: Box<FetchEvent>,
    },
    /// The fetch of an entity ended.
    Entity {
        /// Whose.
        entity: EntityId,
        /// How many of the source's have ended.
        done: usize,
        /// How many there are.
        of: usize,
    },
}

impl FetchEvent {
    /// What happened, whichever entity it happened to.
    pub fn plain(&self) -> &Self {
        match self {
            Self::Of { event, .. } => event.plain(),
            event => event,
        }
    }
}

/// What came of one entity of a source, or of a source without entities.
#[derive(Debug)]
pub struct Fetched {
    /// The entity.
    pub entity: Option<EntityId>,
    /// The manifest of an accepted or refused fetch; an error means that nothing could be recorded.
    pub outcome: Result<StoredManifest, IngestError>,
    /// Whether it was there already: a scheduled instant that is answered twice is fetched once.
    pub fetched_before: bool,
}

/// Fetches sources into a raw store.
#[derive(Debug)]
pub struct Ingest {
    pub(crate) store: RawStore,
    pub(crate) clock: Clock,
    pub(crate) clients: Clients,
    pub(crate) tokens: Tokens,
    pub(crate) limits: Limits,
    pub(crate) environment: Environment,
    zone: TimeZone,
    looked_at: Semaphore,
    buffers: Buffers,
    pub(crate) turns: Turns,
}

/// What every fetch of a source needs, looked up once.
pub(crate) struct Prepared {
    pub(crate) secrets: Secrets,
    pub(crate) history: History,
    /// How many may ask at once.
    pub(crate) asking: Semaphore,
    /// Whether a body came as fast as it could be taken.
    pub(crate) comes_fast: AtomicBool,
}

impl Ingest {
    /// Fetches into `store`, in UTC, without secrets and limits. HTTP clients are made when a source
    /// first needs one.
    pub fn new(store: RawStore, clock: Clock) -> Self {
        Self::made(store, clock, Environment::default(), TimeZone::UTC, [])
    }

    /// Fetches the sources of a plan into `store`.
    pub fn of(store: RawStore, clock: Clock, plan: &Plan) -> Self {
        let settings = &plan.settings;
        let hosts = settings.hosts.iter().map(|(host, rate)| (host.clone(), *rate));
        Self::made(store, clock, plan.environment.clone(), settings.zone.clone(), hosts)
    }

    fn made(
        store: RawStore,
        clock: Clock,
        environment: Environment,
        zone: TimeZone,
        hosts: impl IntoIterator<Item = (String, Rate)>,
    ) -> Self {
        Self {
            store,
            clock,
            clients: Clients::default(),
            tokens: Tokens::default(),
            limits: Limits::new(hosts),
            environment,
            zone,
            looked_at: Semaphore::new(LOOKED_AT_MIB as usize),
            buffers: Buffers::default(),
            turns: Turns::default(),
        }
    }

    /// The same with the variables that secrets are taken from.
    #[must_use]
    pub fn with_environment(self, environment: Environment) -> Self {
        Self { environment, ..self }
    }

    /// The store fetched into.
    pub fn store(&self) -> &RawStore {
        &self.store
    }

    /// One fetch of every entity of a source, a few at once, or the one fetch of a source without. One
    /// that fails stops no other. `only` says which entities to fetch. Dropping the future ends the fetches and leaves at worst objects that
    /// no manifest names.
    pub async fn fetch_all(
        &self,
        source: &Source,
        order: &FetchOrder,
        only: &(dyn Fn(Option<&EntityId>) -> bool + Sync),
        watch: &(dyn Fn(FetchEvent) + Sync),
    ) -> Result<Vec<Fetched>, IngestError> {
        self.fetch_each(source, order, only, watch, &|fetched| fetched).await
    }

    /// The same, of which only what `take` makes of each is kept: of thousands of entities the manifests are
    /// much.
    pub async fn fetch_each<T>(
        &self,
        source: &Source,
        order: &FetchOrder,
        only: &(dyn Fn(Option<&EntityId>) -> bool + Sync),
        watch: &(dyn Fn(FetchEvent) + Sync),
        take: &(dyn Fn(Fetched) -> T + Sync),
    ) -> Result<Vec<T>, IngestError> {
        let prepared = self.prepare(source).await?;
        let before = self.fetched_before(source, order).await?;
        let entities: Vec<Option<&Entity>> = match source.entities.rows.as_slice() {
            [] => vec![None],
            rows => rows.iter().map(Some).collect(),
        };
        let entities: Vec<_> =
            entities.into_iter().filter(|entity| only(entity.map(|entity| &entity.id))).collect();
        let of = entities.len();
        let done = AtomicUsize::new(0);
        let fetches = entities.into_iter().map(|entity| {
            let (prepared, before, done) = (&prepared, &before, &done);
            async move {
                let id = entity.map(|entity| entity.id.clone());
                let span = match &id {
                    Some(entity) => tracing::error_span!("entity", %entity),
                    None => tracing::Span::none(),
                };
                let fetch = || self.fetch_one(source, entity, order, prepared, watch);
                let (outcome, fetched_before) = match before.get(&id) {
                    Some(key) => (self.store.manifest(key).await, true),
                    None => (fetch().instrument(span).await, false),
                };
                if let Some(entity) = id.clone() {
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    watch(FetchEvent::Entity { entity, done, of });
                }
                take(Fetched { entity: id, outcome, fetched_before })
            }
        });
        let at_once = source.entities.concurrency.max(1) * KEPT_BESIDE_ASKED;
        // As they end, so that one that is asked again and again holds up no other.
        let fetches = fetches.enumerate().map(|(at, fetch)| async move { (at, fetch.await) });
        let mut ended: Vec<_> = stream::iter(fetches).buffer_unordered(at_once).collect().await;
        ended.sort_by_key(|(at, _)| *at);
        Ok(ended.into_iter().map(|(_, fetched)| fetched).collect())
    }

    /// One fetch of a source without entities, or of its first entity. Gives the manifest of an accepted
    /// and of a refused fetch alike; an error means that nothing could be recorded.
    pub async fn fetch(
        &self,
        source: &Source,
        order: &FetchOrder,
        watch: &(dyn Fn(FetchEvent) + Sync),
    ) -> Result<StoredManifest, IngestError> {
        let prepared = self.prepare(source).await?;
        self.fetch_one(source, source.entities.rows.first(), order, &prepared, watch).await
    }

    async fn prepare(&self, source: &Source) -> Result<Prepared, IngestError> {
        let secrets = secrets::look_up(source, &self.environment).await?;
        if let Some(store) = self.store.server_time().await {
            let clock = self.clock.now();
            if clock.duration_since(store).abs() > MAX_SKEW {
                let (clock, other) = (whole_seconds(clock), store);
                let whose = format!("the raw store `{}`", self.store);
                return Err(IngestError::ClockSkew { whose, clock, other });
            }
        }
        let history = History::new(self.store.clone(), source.id.clone(), self.clock.now());
        let asking = Semaphore::new(source.entities.concurrency.max(1));
        Ok(Prepared { secrets, history, asking, comes_fast: false.into() })
    }

    /// What was accepted for the same scheduled instant before: a fire that is delivered twice, or tried
    /// again because the database was away, does not ask the API again. Gives the first manifest's key of each
    /// entity.
    async fn fetched_before(
        &self,
        source: &Source,
        order: &FetchOrder,
    ) -> Result<BTreeMap<Option<EntityId>, String>, IngestError> {
        let mut before = BTreeMap::new();
        let Some(scheduled_at) = order.scheduled_at else { return Ok(before) };
        let after = crate::RawKey::manifests_from(&source.id, scheduled_at);
        let keys = self.store.manifest_keys(&source.id, Some(&after)).await?;
        let mut reading =
            stream::iter(&keys).map(|key| self.store.manifest(key)).buffered(READ_AT_ONCE);
        while let Some(StoredManifest { key, manifest }) = reading.try_next().await? {
            if manifest.is_accepted()
                && manifest.scheduled_at == order.scheduled_at
                && manifest.data_date == order.data_date
            {
                before.entry(manifest.entity).or_insert(key);
            }
        }
        Ok(before)
    }

    async fn fetch_one(
        &self,
        source: &Source,
        entity: Option<&Entity>,
        order: &FetchOrder,
        prepared: &Prepared,
        watch: &(dyn Fn(FetchEvent) + Sync),
    ) -> Result<StoredManifest, IngestError> {
        let of_entity = |event: FetchEvent| match entity {
            Some(entity) => {
                watch(FetchEvent::Of { entity: entity.id.clone(), event: Box::new(event) });
            }
            None => watch(event),
        };
        let watch: &(dyn Fn(FetchEvent) + Sync) = &of_entity;
        let cursor = self.position(source, entity, order, prepared).await?;
        let values = self.values(source, entity, order, cursor.as_deref(), &prepared.secrets)?;
        let outgoing = Outgoing::build(source, &values)?;
        let url = outgoing.url.clone();
        let mut client = self.clients.for_source(source, &url, &values, Connections::UsedAgain)?;
        let (mut pager, mut next) =
            Pager::new(&source.pagination, &source.request.redirect_hosts, outgoing);
        let mut collected = Collected::new(source, entity, order, cursor, next.shown());
        let mut scrubber = Scrubber::default();
        loop {
            let turn = prepared.asking.acquire().await.ok();
            if prepared.comes_fast.load(Ordering::Relaxed) && !source.request.cookies {
                // A connection keeps the large buffers it has grown (`turns.rs`).
                client = self.clients.for_source(source, &url, &values, Connections::UsedOnce)?;
            }
            let asked = self.ask(&client, source, &next, &values, watch).await;
            if asked.answer.as_ref().is_some_and(|answer| answer.came_fast) {
                prepared.comes_fast.store(true, Ordering::Relaxed);
            }
            // A large body keeps its turn until it is kept: few of them are in memory at once.
            let is_large = asked.answer.as_ref().is_some_and(Answer::is_large);
            let _turn = turn.filter(|_| is_large);
            clocks_agree(&source.id, asked.answer.as_ref())?;
            scrubber.add_all(&asked.scrubber);
            collected.attempts(pager.number(), asked.attempts);
            if let Some(answer) = &asked.answer {
                collected.answer(answer, &scrubber);
            }
            let (refusal, answer) = (asked.refusal, asked.answer);
            let mut looked = Looked { refusal, ..Looked::default() };
            let mut after = After::End;
            if let Some(answer) = &answer
                && looked.refusal.is_none()
            {
                looked = self.look_at(source, answer, &scrubber).await?;
                after = match after_page(&mut looked, &mut pager, answer) {
                    Ok(after) => after,
                    Err(message) => {
                        looked.refuse(ErrorKind::Refused, message);
                        After::End
                    }
                };
            }
            let url = scrubber.scrub(&next.shown_url());
            let page = Kept { number: pager_page(source, &pager, &after), url };
            self.keep_page(&mut collected, page, answer.as_ref(), looked, &scrubber).await?;
            match after {
                After::Page(page) if !collected.is_refused() => next = *page,
                _ => break,
            }
            watch(FetchEvent::Page { number: pager.number() });
        }
        if !collected.is_refused()
            && let Some(message) = enough(source, collected.rows())
        {
            let message = scrubber.scrub(&message);
            collected.refuse(Refusal { kind: ErrorKind::Refused, message });
        }
        self.keep(collected, prepared).await
    }

    /// Looks into a successful answer, off the runtime's threads: a large body takes a while.
    pub(crate) async fn look_at(
        &self,
        source: &Source,
        answer: &Answer,
        scrubber: &Scrubber,
    ) -> Result<Looked, IngestError> {
        let Some(spooled) = &answer.body else { return Ok(Looked::default()) };
        let mib = u32::try_from(spooled.len() >> 20).unwrap_or(u32::MAX).saturating_add(1);
        let about = About {
            rows: source.rows.clone(),
            expect: source.expect.clone(),
            incremental: source.incremental.clone(),
            content_type: answer.content_type().map(str::to_owned),
        };
        if spooled.file().is_some() && about.needs_only_lines() && !source.pagination.reads_bodies()
        {
            let held = self.looked_at.acquire().await.ok();
            let (spooled, about) = (spooled.clone(), about.clone());
            let looked = blocking(move || look_through(&about, || spooled.reader())).await;
            drop(held);
            // What is told of a body that repeats a secret is told from the body without it.
            if let Some(looked) = looked.map_err(IngestError::Spool)?
                && (looked.is_taken_as_it_is() || scrubber.is_empty())
            {
                return Ok(outline_told(looked, scrubber));
            }
        }
        let held = self.looked_at.acquire_many(mib.min(LOOKED_AT_MIB)).await.ok();
        let (spooled, buffers, scrubber) =
            (spooled.clone(), self.buffers.clone(), scrubber.clone());
        let looked = blocking(move || {
            let body = spooled.read_from(&buffers)?;
            Ok(outline_told(look_into(&about, &body, &scrubber), &scrubber))
        })
        .await;
        drop(held);
        looked.map_err(IngestError::Spool)
    }

    /// Where the cursor of an incremental source stands.
    pub(crate) async fn position(
        &self,
        source: &Source,
        entity: Option<&Entity>,
        order: &FetchOrder,
        prepared: &Prepared,
    ) -> Result<Option<String>, IngestError> {
        let (Some(incremental), Reach::Forward) = (&source.incremental, order.reach) else {
            return Ok(None);
        };
        let found = prepared.history.cursor(entity.map(|entity| &entity.id)).await?;
        Ok(Some(found.map_or_else(|| incremental.initial.clone(), |found| found.cursor)))
    }

    /// What the templates of a fetch can name.
    pub(crate) fn values<'v>(
        &self,
        source: &'v Source,
        entity: Option<&'v Entity>,
        order: &FetchOrder,
        cursor: Option<&str>,
        secrets: &'v Secrets,
    ) -> Result<Values<'v>, IngestError> {
        let data_date = order.data_date;
        let wrong = |reason: String| IngestError::BadRequest {
            source_id: source.id.clone(),
            template: "incremental".to_owned(),
            reason,
        };
        let midnight = |date: Date| {
            let zoned = date.to_zoned(self.zone.clone());
            zoned.map(|zoned| zoned.timestamp()).map_err(|error| wrong(error.to_string()))
        };
        let back = i64::from(source.window.days) - 1;
        let first_day = data_date.checked_sub(back.days()).map_err(|e| wrong(e.to_string()))?;
        let (mut window_start, mut window_end) = (Moment::Date(first_day), Moment::Date(data_date));
        let mut day_start = window_end.clone();
        let mut asked_for = None;
        if let Some(incremental) = &source.incremental {
            if incremental.cursor_type == CursorType::Timestamp {
                let next_day = data_date.tomorrow().map_err(|error| wrong(error.to_string()))?;
                window_start = Moment::Instant(midnight(first_day)?);
                window_end = Moment::Instant(midnight(next_day)?);
                day_start = Moment::Instant(midnight(data_date)?);
            }
            let dated = matches!(incremental.cursor_type, CursorType::Date | CursorType::Timestamp);
            asked_for = match cursor {
                Some(cursor) => {
                    let moment = incremental.asked_for(cursor).map_err(wrong)?;
                    if dated {
                        // A cursor can be ahead of the day, as a forecast's is: the window is never
                        // turned round.
                        window_start = earlier(&moment, &day_start).clone();
                    }
                    Some(moment)
                }
                None if dated => Some(window_start.clone()),
                None => {
                    return Err(wrong(
                        "its cursor is no date, so it cannot be asked about a day".to_owned(),
                    ));
                }
            };
        }
        let entity = entity.map(|entity| source.entities.named(entity)).unwrap_or_default();
        let zone = self.zone.clone();
        let cursor = asked_for;
        Ok(Values { data_date, window_start, window_end, cursor, entity, zone, secrets })
    }
}

/// Takes the secrets out of the outline.
fn outline_told(mut looked: Looked, scrubber: &Scrubber) -> Looked {
    let outline = looked.outline.take();
    looked.outline = outline.map(|outline| outline.told(|text| scrubber.scrub(text)));
    looked
}

/// The earlier of two dates, or of two instants.
fn earlier<'m>(a: &'m Moment, b: &'m Moment) -> &'m Moment {
    match (a, b) {
        (Moment::Date(first), Moment::Date(second)) if second < first => b,
        (Moment::Instant(first), Moment::Instant(second)) if second < first => b,
        _ => a,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// The number a page is kept under: none when there is only one by its nature.
fn pager_page(source: &Source, pager: &Pager<'_>, after: &After) -> Option<u32> {
    let turned = u32::from(matches!(after, After::Page(_)));
    source.pagination.is_some().then(|| pager.number() - turned)
}

/// Refuses to go on with a clock that is far from the API's. An API that sends no `Date` is believed
/// to agree.
pub(crate) fn clocks_agree(
    source_id: &SourceId,
    answer: Option<&Answer>,
) -> Result<(), IngestError> {
    let Some(answer) = answer else { return Ok(()) };
    let (Some(api), clock) = (answer.server_time(), answer.received_at) else { return Ok(()) };
    if clock.duration_since(api).abs() <= MAX_SKEW {
        return Ok(());
    }
    let whose = format!("the API of `{source_id}`");
    Err(IngestError::ClockSkew { whose, clock: whole_seconds(clock), other: api })
}

/// Shown in whole seconds, which is what `Date` has.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// What follows a page that was looked into.
pub(crate) fn after_page(
    looked: &mut Looked,
    pager: &mut Pager<'_>,
    answer: &Answer,
) -> Result<After, String> {
    let text = std::mem::take(&mut looked.text);
    let (None, Some(body)) = (&looked.refusal, &answer.body) else { return Ok(After::End) };
    let rows = looked.rows.as_ref().map_or(0, |rows| rows.extracted + rows.rejected);
    pager.after(PageBrought {
        headers: &answer.headers,
        url: &answer.url,
        body: &text,
        sha256: body.sha256(),
        rows,
    })
}
