//! What monitoring counts: the totals of the ledger, and how things stand now.
//!
//! In: the [`Figures`] read before, if any. Out: the figures of now. Totals only ever grow, and come from the
//! ledger's rows, so that they are the same after a restart and in every process. They are read on from those
//! before: of runs that have ended since, of publishes and fires behind the last; only a process's first read
//! counts all rows there are. A run counts when it has ended. Deliberately absent: how they are shown
//! (`daymark_web`), and when they are read.

use std::collections::BTreeMap;

use daymark_plan::Plan;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::error::WarehouseError;
use crate::lease::{self, Leader};
use crate::reader::Reader;
use crate::{days, fires, retries};

/// The days whose states are counted: so many, up to today.
pub const DAYS: u32 = 30;
/// The states are worked out again after so long, and when a run has ended.
const DAYS_FRESH: SignedDuration = SignedDuration::from_secs(60);
/// The first read of a process counts all rows.
const TIMEOUT: &str = "set local statement_timeout = '2min'";

/// Runs that have ended and were not counted yet: $1, $2 and $3 are [`Marks`].
const NEW: &str = "(select run_id from daymark.run where finished_at is not null
     and (started_at >= coalesce($1, '-infinity'::timestamptz) or run_id = any($2)) and run_id <> all($3))";

/// What a publish does with rows, as columns of `publish_table`.
const ROW_KINDS: [&str; 4] = ["inserted", "updated", "unchanged", "deleted"];

/// How often something was seen, by what the metric is labelled with.
pub type Counts<const N: usize> = BTreeMap<[String; N], u64>;

/// Totals and states of the ledger.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What only ever grows.
    pub totals: Totals,
    /// The last [`DAYS`] days, by source and state.
    pub days: Counts<2>,
    /// What is known of each source's published days.
    pub sources: BTreeMap<String, SourceFigures>,
    /// Runs that have not ended.
    pub runs_open: u64,
    /// The newest run that ended.
    pub last_run: Option<RunFigures>,
    /// The newest publish.
    pub last_publish: Option<PublishFigures>,
    /// Who keeps the schedule, or kept it last; none when nobody ever did.
    pub leader: Option<LeaderFigures>,
    /// Fires that are due or being run.
    pub fires_open: u64,
    /// Days that were given up and wait for a person, by source.
    pub days_given_up: Counts<1>,
    /// Pauses that hold.
    pub pauses: u64,
    /// Marts that PostgreSQL refused.
    pub marts_refused: u64,
    /// Alerts; none when the ledger has none.
    pub alerts: Option<AlertFigures>,
    marks: Marks,
}

/// What only ever grows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Runs that ended, by kind and outcome.
    pub runs: Counts<2>,
    /// Steps that ended, by source, stage and outcome.
    pub steps: Counts<3>,
    /// Steps that went wrong in a way that has a name, by source, stage and error.
    pub failures: Counts<3>,
    /// Requests, by source, outcome and error (`""`: none).
    pub requests: Counts<3>,
    /// How long requests took, by source: how many are known, and their milliseconds.
    pub request_time: BTreeMap<String, (u64, u64)>,
    /// Bytes received, by source.
    pub received: Counts<1>,
    /// Rows of publishes, by table and kind.
    pub rows: Counts<2>,
    /// Rows set aside, by source and by what: `extraction` or `check`.
    pub rejected: Counts<2>,
    /// Fires that came to an end, by source and state.
    pub fires: Counts<2>,
    /// Fires that nobody acted on in time, by source.
    pub fires_missed: Counts<1>,
    /// Publishes.
    pub publishes: u64,
}

/// What is known of a source's published days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFigures {
    /// When one was last published.
    pub published_at: Timestamp,
    /// The newest of them.
    pub newest: Date,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFigures {
    /// Why it was started.
    pub kind: String,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// A publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishFigures {
    /// When it was made.
    pub at: Timestamp,
    /// How long it took; none when no step of its run tells.
    pub took: Option<SignedDuration>,
    /// Its rows, by table and kind.
    pub rows: Counts<2>,
}

/// Who keeps the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaderFigures {
    /// The row.
    pub leader: Leader,
    /// Whether it is this process.
    pub is_this: bool,
    /// Seconds since its last sign of life, by the clock it was written with.
    pub age: f64,
}

/// What is told of what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFigures {
    /// Alerts that are not resolved, by event.
    pub open: Counts<1>,
    /// Messages that are not delivered yet, by channel; `""` is not decided yet.
    pub pending: Counts<1>,
    /// Messages that were given up, by channel.
    pub given_up: Counts<1>,
}

/// Up to where the totals go.
#[derive(Debug, Clone, Default)]
struct Marks {
    /// Runs that began before this were counted, but for those that were at work.
    from: Option<Timestamp>,
    /// Runs that were at work.
    open: Vec<Uuid>,
    /// Runs that began after `from` and were counted.
    counted: Vec<Uuid>,
    publish: i64,
    reject: i64,
    /// Fires below this have come to their end and were counted.
    fire: i64,
    /// Those, of which the totals of later reads are made.
    fires: (Counts<2>, Counts<1>),
    days_at: Option<Timestamp>,
}

impl Reader {
    /// The figures of now, read on from those before. It takes one session for a moment.
    pub async fn figures(
        &self,
        plan: &Plan,
        before: Option<&Figures>,
    ) -> Result<Figures, WarehouseError> {
        let doing = WarehouseError::statement("reading what monitoring counts");
        let mut session = self.warehouse.session("monitoring").await?;
        let mut figures = before.cloned().unwrap_or_default();
        let now = self.clock().now();
        let transaction = session
            .client()
            .build_transaction()
            .read_only(true)
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start()
            .await
            .map_err(&doing)?;
        transaction.batch_execute(TIMEOUT).await.map_err(&doing)?;
        let ended = runs(&transaction, &mut figures).await?;
        publishes(&transaction, &mut figures).await?;
        schedule(&transaction, &mut figures).await?;
        figures.days_given_up.clear();
        for row in &retries::count_given_up(&transaction).await? {
            add(&mut figures.days_given_up, row);
        }
        figures.alerts = alerts(&transaction).await?;
        let count = "select count(*) from daymark.mart where refused is not null";
        figures.marts_refused =
            unsigned(transaction.query_one(count, &[]).await.map_err(&doing)?.get(0));
        let at = figures.marks.days_at;
        if ended || at.is_none_or(|at| now.duration_since(at).abs() >= DAYS_FRESH) {
            let today = now.to_zoned(plan.settings.zone.clone()).date();
            let first = today.saturating_sub((i64::from(DAYS) - 1).days());
            figures.days.clear();
            for source in days::days(&transaction, plan, first, today, now).await? {
                for day in source.days {
                    let key = [source.source.to_string(), day.state.as_str().to_owned()];
                    *figures.days.entry(key).or_default() += 1;
                }
            }
            figures.marks.days_at = Some(now);
        }
        transaction.rollback().await.map_err(&doing)?;

        let at = lease::at(self.clock());
        let leader = lease::leader(&mut session, at).await?;
        figures.leader = match leader {
            None => None,
            Some(leader) => {
                let age = "select extract(epoch from coalesce($1::timestamptz, clock_timestamp()) - $2)::float8";
                let row = session.client().query_one(age, &[&at, &leader.seen_at]).await;
                let age: f64 = row.map_err(&doing)?.get(0);
                let is_this = leader.holder == self.warehouse.holder() && !leader.is_stopped;
                Some(LeaderFigures { leader, is_this, age: age.max(0.0) })
            }
        };
        let pauses = fires::pauses(&mut session).await?;
        let held = pauses.iter().filter(|pause| pause.is_open(now)).count();
        figures.pauses = u64::try_from(held).unwrap_or(0);
        Ok(figures)
    }
}

/// Counts the runs that have ended since, and all that hangs on them. Gives whether there were any.
async fn runs(
    transaction: &Transaction<'_>,
    figures: &mut Figures,
) -> Result<bool, WarehouseError> {
    let doing = WarehouseError::statement("counting the runs");
    let Figures { totals, marks, .. } = figures;
    let new: [&(dyn ToSql + Sync); 3] = [&marks.from, &marks.open, &marks.counted];
    let of_new =
        async |sql: &str| transaction.query(&sql.replace("{NEW}", NEW), &new).await.map_err(&doing);
    let ended = of_new(
        "select kind, outcome, count(*) from daymark.run where run_id in {NEW} group by 1, 2",
    )
    .await?;
    for row in &ended {
        add(&mut totals.runs, row);
    }
    let steps = of_new(
        "select source_id, stage, outcome, count(*), coalesce(error_kind, ''),
                max(ended_at) filter (where stage = 'publish' and outcome = 'published'),
                max(data_date) filter (where stage = 'publish' and outcome = 'published')
         from daymark.step where outcome is not null and run_id in {NEW} group by 1, 2, 3, 5",
    )
    .await?;
    for row in &steps {
        add(&mut totals.steps, row);
        let [source, stage, _]: [String; 3] = labels(row);
        let error: String = row.get(4);
        if !error.is_empty() {
            *totals.failures.entry([source.clone(), stage, error]).or_default() +=
                unsigned(row.get(3));
        }
        if let (Some(published_at), Some(newest)) = (row.get(5), row.get(6)) {
            let known =
                figures.sources.entry(source).or_insert(SourceFigures { published_at, newest });
            known.published_at = known.published_at.max(published_at);
            known.newest = known.newest.max(newest);
        }
    }
    let requests = of_new(
        "select source_id, outcome, coalesce(error_kind, ''), count(*), coalesce(sum(bytes), 0)::bigint,
                count(duration_ms), coalesce(sum(duration_ms), 0)::bigint
         from daymark.attempt where run_id in {NEW} group by 1, 2, 3",
    )
    .await?;
    for row in &requests {
        add(&mut totals.requests, row);
        let source: String = row.get(0);
        let time = totals.request_time.entry(source.clone()).or_default();
        time.0 += unsigned(row.get(5));
        time.1 += unsigned(row.get(6));
        *totals.received.entry([source]).or_default() += unsigned(row.get(4));
    }
    let rejected = of_new(
        "select source_id, 'extraction', coalesce(sum(rejected), 0)::bigint from daymark.fetch
         where fetch_id in (select fetch_id from daymark.attempt where run_id in {NEW}) group by 1",
    )
    .await?;
    for row in &rejected {
        add(&mut totals.rejected, row);
    }
    // A day of overlap: the clocks of two machines that run the pipeline may be apart.
    let rows = transaction
        .query(
            "select run_id, finished_at is not null,
                    (select max(started_at) - interval '24 hours' from daymark.run)
             from daymark.run
             where finished_at is null
                or started_at >= (select max(started_at) - interval '24 hours' from daymark.run)",
            &[],
        )
        .await
        .map_err(&doing)?;
    if let Some(row) = rows.first() {
        marks.from = row.get(2);
    }
    let (counted, open): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.get(1));
    let ids = |rows: &[&Row]| rows.iter().map(|row| row.get(0)).collect::<Vec<Uuid>>();
    (marks.counted, marks.open) = (ids(&counted), ids(&open));
    figures.runs_open = u64::try_from(marks.open.len()).unwrap_or(0);
    let last = transaction
        .query_opt(
            "select kind, outcome, started_at, finished_at from daymark.run
             where finished_at is not null order by started_at desc limit 1",
            &[],
        )
        .await
        .map_err(&doing)?;
    figures.last_run = last.map(|row| RunFigures {
        kind: row.get(0),
        succeeded: row.get::<_, Option<&str>>(1) == Some("succeeded"),
        started_at: row.get(2),
        finished_at: row.get(3),
    });
    Ok(!ended.is_empty())
}

/// Counts the publishes made since. They are made one after the other, in the order of their numbers.
async fn publishes(
    transaction: &Transaction<'_>,
    figures: &mut Figures,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("counting the publishes");
    let Figures { totals, marks, .. } = figures;
    let rejected = transaction
        .query(
            "select source_id, 'check', count(*), max(reject_id) from daymark.reject
             where reject_id > $1 and check_name is not null group by 1",
            &[&marks.reject],
        )
        .await
        .map_err(&doing)?;
    for row in &rejected {
        add(&mut totals.rejected, row);
        marks.reject = marks.reject.max(row.get(3));
    }
    let newest = transaction
        .query_opt(
            "select publish_id, published_at,
                    (select extract(epoch from max(ended_at) - min(started_at))::float8 from daymark.step
                     where step.run_id = publish.run_id and stage = 'publish')
             from daymark.publish order by publish_id desc limit 1",
            &[],
        )
        .await
        .map_err(&doing)?;
    let Some(newest) = newest else { return Ok(()) };
    let publish_id: i64 = newest.get(0);
    if publish_id == marks.publish {
        // Its run may have told of its steps only now.
        if let Some(last) = &mut figures.last_publish {
            last.took = seconds(newest.get(2));
        }
        return Ok(());
    }
    let sums = ROW_KINDS.map(|kind| format!("sum({kind})::bigint")).join(", ");
    let read = async |condition: &str, given: i64| {
        let sql = format!(
            "select table_name, {sums} from daymark.publish_table where {condition} group by 1"
        );
        let rows = transaction.query(&sql, &[&given]).await.map_err(&doing)?;
        let mut counts = Counts::<2>::new();
        for row in &rows {
            for (index, kind) in ROW_KINDS.iter().enumerate() {
                let key = [row.get(0), (*kind).to_owned()];
                *counts.entry(key).or_default() += unsigned(row.get(index + 1));
            }
        }
        Ok::<_, WarehouseError>(counts)
    };
    for (key, count) in read("publish_id > $1", marks.publish).await? {
        *totals.rows.entry(key).or_default() += count;
    }
    let made = "select count(*) from daymark.publish where publish_id > $1";
    let made = transaction.query_one(made, &[&marks.publish]).await.map_err(&doing)?;
    totals.publishes += unsigned(made.get(0));
    figures.last_publish = Some(PublishFigures {
        at: newest.get(1),
        took: seconds(newest.get(2)),
        rows: read("publish_id = $1", publish_id).await?,
    });
    marks.publish = publish_id;
    Ok(())
}

/// Counts the fires. Those below the first that is open do not change any more.
async fn schedule(
    transaction: &Transaction<'_>,
    figures: &mut Figures,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("counting the fires");
    let marks = &mut figures.marks;
    let row = transaction
        .query_one(
            "select count(*), coalesce(min(fire_id), (select max(fire_id) + 1 from daymark.fire), 0)
             from daymark.fire where state in ('due', 'claimed')",
            &[],
        )
        .await
        .map_err(&doing)?;
    figures.fires_open = unsigned(row.get(0));
    let settled: i64 = row.get(1);
    let rows = transaction
        .query(
            "select source_id, state, count(*), count(*) filter (where missed), fire_id < $2
             from daymark.fire where fire_id >= $1 and state not in ('due', 'claimed') group by 1, 2, 5",
            &[&marks.fire, &settled],
        )
        .await
        .map_err(&doing)?;
    let sum = |(fires, missed): &mut (Counts<2>, Counts<1>), row: &Row| {
        add(fires, row);
        *missed.entry([row.get(0)]).or_default() += unsigned(row.get(3));
    };
    let (ended, later): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.get(4));
    for row in ended {
        sum(&mut marks.fires, row);
    }
    marks.fire = marks.fire.max(settled);
    let mut all = marks.fires.clone();
    for row in later {
        sum(&mut all, row);
    }
    (figures.totals.fires, figures.totals.fires_missed) = all;
    Ok(())
}

/// The alerts, of a ledger that has them.
async fn alerts(transaction: &Transaction<'_>) -> Result<Option<AlertFigures>, WarehouseError> {
    let doing = WarehouseError::statement("counting the alerts");
    let known = "select to_regclass('daymark.alert_delivery') is not null";
    if !transaction.query_one(known, &[]).await.map_err(&doing)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let mut figures = AlertFigures::default();
    for (counts, sql) in [
        (
            &mut figures.open,
            "select event, count(*) from daymark.alert where resolved_at is null group by 1",
        ),
        (
            &mut figures.pending,
            "select channel, count(*) from daymark.alert_delivery where state = 'pending' group by 1
             union all
             select '', count(*) from daymark.alert_outbox where planned_at is null having count(*) > 0",
        ),
        (
            &mut figures.given_up,
            "select channel, count(*) from daymark.alert_delivery where state = 'given_up' group by 1",
        ),
    ] {
        for row in &transaction.query(sql, &[]).await.map_err(&doing)? {
            add(counts, row);
        }
    }
    Ok(Some(figures))
}

/// The texts a row begins with.
fn labels<const N: usize>(row: &Row) -> [String; N] {
    std::array::from_fn(|index| row.get(index))
}

/// Adds a row of labels and a count behind them.
fn add<const N: usize>(counts: &mut Counts<N>, row: &Row) {
    *counts.entry(labels(row)).or_default() += unsigned(row.get(N));
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn seconds(seconds: Option<f64>) -> Option<SignedDuration> {
    seconds.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok())
}
