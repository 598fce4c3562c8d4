//! Checks: what has to hold before rows are shown (DESIGN.md section 7).
//!
//! In: the staged rows of one fetch, right after its model ran. Out: rows set aside (`reject`), a reason why
//! the fetch leaves staging (`block`), and a [`CheckResult`] of every check. A check sees the relations
//! `staged`, `this_fetch`, `staged_beside_published` and `calendar_days`, which are put before its query,
//! and any table. Rejects come first, in the order of the file; the others judge what is left.
//!
//! A `block` or `reject` check whose SQL fails makes its fetch a failed one: nothing is shown that was not
//! checked, and it is tried again when the file changes. A `warn` check whose SQL fails is told and stops
//! nothing. Deliberately absent: the built-in rules' SQL (`built_in`), the ledger's rows (`record`).

mod built_in;
mod record;
mod relations;
mod verdict;

use daymark_plan::{Check, Model, Reads, Rule, Severity, Source, one_line, sha256_hex};
use jiff::civil::Date;
use serde::Serialize;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::stage::{Tail, staged_table};
use super::{Context, NotDone, Statement, savepoint};
use crate::error::{Failure, WarehouseError};
use crate::sql::{ident, qualified};

pub(crate) use built_in::makes_no_sense;
pub(super) use record::{
    extraction_rejects, forget_rejects, forget_rejects_of, rejects_published, results,
};
use relations::Seen;
pub(crate) use relations::check_over_nothing;
pub use verdict::{Answer, KeepVerdicts, ReadVerdicts, Verdict, Verdicts};

/// Why a fetch is staged, which decides what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be published: every check is asked.
    Publish,
    /// It is published, and a late fetch has it applied again: only what shapes its rows is.
    Again,
    /// The tables are made anew: verdicts are obeyed, and asked for once more if so wished.
    Rebuild {
        /// Whether checks that look beyond the fetch are asked again.
        recheck: bool,
    },
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// No row offended.
    Passed,
    /// Rows offended.
    Failed,
    /// Rows offend, and a person let the fetch through.
    Released,
    /// It could not be asked.
    Error,
}

impl CheckOutcome {
    /// Its word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Error => "error",
        }
    }
}

/// What a check said of a fetch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckResult {
    /// The manifest of the fetch.
    pub manifest_key: String,
    /// The fetch.
    pub fetch_id: Uuid,
    /// The day it is for.
    pub data_date: Date,
    /// Its entity; `""` of a source without.
    pub entity: String,
    /// The table.
    pub table: String,
    /// The check.
    pub check: String,
    /// What follows.
    pub severity: Severity,
    /// What it came to.
    pub outcome: CheckOutcome,
    /// Rows that were staged.
    pub rows: i64,
    /// Rows that offended.
    pub failing: i64,
    /// The first of them.
    pub sample: Vec<serde_json::Value>,
    /// Its SQL, unless it passed.
    pub sql: Option<String>,
    /// More in words: what PostgreSQL said, or who decided.
    pub reason: Option<String>,
}

/// The checks of one fetch, over all its models.
pub(super) struct Asked {
    purpose: Purpose,
    pub(super) results: Vec<CheckResult>,
    /// Why the fetch is held back.
    blocked: Vec<String>,
    /// What the raw store has, once it was looked for.
    known: Option<Vec<Verdict>>,
    /// New verdicts.
    given: Vec<Verdict>,
}

/// What a query found.
struct Found {
    failing: i64,
    sample: Vec<serde_json::Value>,
}

/// The staged rows of a fetch, of one model.
struct Over<'o> {
    context: &'o Context<'o>,
    source: &'o Source,
    model: &'o Model,
    statement: &'o Statement,
    tail: &'o Tail,
}

impl Asked {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self { purpose, results: Vec::new(), blocked: Vec::new(), known: None, given: Vec::new() }
    }

    /// Asks the checks of a model, and gives how many of its staged rows are left and how many were set
    /// aside. The inner error is why the fetch cannot be staged.
    pub(super) async fn of_model(
        &mut self,
        transaction: &Transaction<'_>,
        context: &Context<'_>,
        source: &Source,
        model: &Model,
        statement: &Statement,
        tail: &Tail,
    ) -> Result<Result<i64, NotDone>, WarehouseError> {
        let over = Over { context, source, model, statement, tail };
        let clear = clear(transaction, &over).await?;
        let mut rows = tail.rows;
        let mut rejected = 0;
        for check in in_turn(model) {
            let is_reject = check.severity == Severity::Reject;
            if self.purpose == Purpose::Again && !is_reject {
                continue;
            }
            // How many rows there are is known.
            let counted = matches!(check.rule, Rule::RowCount { .. }) && holds_of(check, rows);
            let is_clear = counted || clear.contains(&check.name.as_str());
            match self.one(transaction, &over, check, rows, is_clear).await? {
                Ok(failing) if is_reject => {
                    rejected += failing;
                    rows -= failing;
                }
                Ok(_) => {}
                Err(not_done) => return Ok(Err(not_done)),
            }
        }
        Ok(Ok(rejected))
    }

    /// Asks one check, or obeys the verdict on it. Gives how many rows were set aside.
    async fn one(
        &mut self,
        transaction: &Transaction<'_>,
        over: &Over<'_>,
        check: &Check,
        rows: i64,
        is_clear: bool,
    ) -> Result<Result<i64, NotDone>, WarehouseError> {
        let sql = built_in::sql(over.model, check);
        let question = sha256_hex(sql.as_bytes());
        let by_verdict = check.severity == Severity::Block && check.reads == Reads::More;
        if by_verdict {
            let found = match self.verdict_on(over, check).await {
                Ok(found) => found.cloned(),
                Err(postponed) => return Ok(Err(postponed)),
            };
            match (found, self.purpose) {
                (Some(found), purpose)
                    if found.answer == Answer::Released
                        || (found.check_sha256 == question
                            && purpose != (Purpose::Rebuild { recheck: true })) =>
                {
                    self.obey(over, check, sql, rows, found);
                    return Ok(Ok(0));
                }
                // It was published before there was such a check.
                (_, Purpose::Rebuild { recheck: false }) => return Ok(Ok(0)),
                _ => {}
            }
        }
        let asked = if is_clear {
            Ok(Found { failing: 0, sample: Vec::new() })
        } else {
            ask(transaction, over, check, &sql).await?
        };
        let found = match asked {
            Ok(found) => found,
            Err(failure) => {
                let reason = format!("the check `{}` could not be asked: {failure}", check.name);
                let mut result = over.result(check, CheckOutcome::Error, rows);
                result.sql = Some(sql);
                result.reason = Some(failure.with_hint());
                self.results.push(result);
                return Ok(match check.severity {
                    Severity::Warn => Ok(0),
                    Severity::Block | Severity::Reject => Err(NotDone::Failed(reason)),
                });
            }
        };
        let passed = found.failing == 0;
        if by_verdict {
            self.given.push(Verdict {
                table: over.model.table.clone(),
                check: check.name.clone(),
                check_sha256: question,
                answer: if passed { Answer::Passed } else { Answer::Blocked },
                failing: found.failing,
                sample: found.sample.clone(),
                at: over.context.now,
                by: "daymark".to_owned(),
                why: None,
            });
        }
        let mut result = over.result(
            check,
            if passed { CheckOutcome::Passed } else { CheckOutcome::Failed },
            rows,
        );
        let mut set_aside = 0;
        if !passed {
            result.failing = found.failing;
            result.sample = found.sample;
            result.sql = Some(sql);
            match check.severity {
                Severity::Warn => {}
                Severity::Reject => {
                    let sql = result.sql.as_deref().unwrap_or_default();
                    set_aside = record::reject(transaction, over, check, sql).await?;
                    result.failing = set_aside;
                }
                Severity::Block => {
                    // A person's word counts for checks of the staged rows as well.
                    let released = match self.verdict_on(over, check).await {
                        Ok(found) => {
                            found.filter(|found| found.answer == Answer::Released).cloned()
                        }
                        Err(postponed) => return Ok(Err(postponed)),
                    };
                    match released {
                        Some(released) => {
                            result.outcome = CheckOutcome::Released;
                            result.reason = Some(released.in_words());
                        }
                        None => self.blocked.push(blocked(over.model, &result, check)),
                    }
                }
            }
        }
        self.results.push(result);
        Ok(Ok(set_aside))
    }

    /// Takes an earlier verdict for the answer.
    fn obey(&mut self, over: &Over<'_>, check: &Check, sql: String, rows: i64, found: Verdict) {
        let outcome = match found.answer {
            Answer::Passed => CheckOutcome::Passed,
            Answer::Blocked => CheckOutcome::Failed,
            Answer::Released => CheckOutcome::Released,
        };
        let mut result = over.result(check, outcome, rows);
        if outcome != CheckOutcome::Passed {
            result.reason = Some(found.in_words());
            result.failing = found.failing;
            result.sample = found.sample;
            result.sql = Some(sql);
        }
        if outcome == CheckOutcome::Failed {
            self.blocked.push(blocked(over.model, &result, check));
        }
        self.results.push(result);
    }

    /// The latest verdict of a check on the fetch; a person's counts more than any of a check.
    async fn verdict_on(
        &mut self,
        over: &Over<'_>,
        check: &Check,
    ) -> Result<Option<&Verdict>, NotDone> {
        if self.known.is_none() {
            let read = over.context.verdicts.read;
            let known = read(over.source.id.clone(), over.statement.fetch_id).await;
            self.known = Some(known.map_err(|error| {
                NotDone::Postponed(format!(
                    "the verdicts on it cannot be read: {}",
                    one_line(error.as_ref())
                ))
            })?);
        }
        let known = self.known.as_deref().unwrap_or_default();
        let mut of_check = known
            .iter()
            .filter(|found| found.table == over.model.table && found.check == check.name);
        let released = of_check.clone().rfind(|found| found.answer == Answer::Released);
        Ok(released.or_else(|| of_check.next_back()))
    }

    /// Keeps what was decided, and says whether the fetch may be shown.
    pub(super) async fn settle(
        &mut self,
        context: &Context<'_>,
        source: &Source,
        statement: &Statement,
    ) -> Result<(), NotDone> {
        if !self.given.is_empty() && context.is_kept {
            let keep = context.verdicts.keep;
            let given = std::mem::take(&mut self.given);
            keep(source.id.clone(), statement.fetch_id, given).await.map_err(|error| {
                NotDone::Postponed(format!(
                    "the verdicts on it cannot be kept: {}",
                    one_line(error.as_ref())
                ))
            })?;
        }
        match self.blocked.as_slice() {
            [] => Ok(()),
            reasons => Err(NotDone::Quarantined(reasons.join("; "))),
        }
    }
}

/// The checks of a model as they are asked: those that set rows aside first.
fn in_turn(model: &Model) -> impl Iterator<Item = &Check> {
    let (first, then): (Vec<&Check>, Vec<&Check>) =
        model.checks.iter().partition(|check| check.severity == Severity::Reject);
    first.into_iter().chain(then)
}

/// Whether a check can be answered row by row, or by how many there are.
pub(super) fn is_of_a_row(check: &Check) -> bool {
    matches!(check.rule, Rule::RowCount { .. }) || built_in::offends(check).is_some()
}

/// The condition by which a row offends a check that can be answered row by row.
pub(super) fn offends(check: &Check) -> Option<String> {
    built_in::offends(check)
}

/// Whether a check of how many rows there are holds of so many; any other one does.
pub(super) fn holds_of(check: &Check, rows: i64) -> bool {
    match check.rule {
        Rule::RowCount { min, max } => {
            min.is_none_or(|min| rows >= i64::from(min))
                && max.is_none_or(|max| rows <= i64::from(max))
        }
        _ => true,
    }
}

/// What the checks of a model said of a fetch, when no row offends any of them.
pub(super) fn all_passed<'m>(
    model: &'m Model,
    statement: &'m Statement,
    rows: i64,
) -> impl Iterator<Item = CheckResult> + 'm {
    in_turn(model).map(move |check| result_of(model, statement, check, CheckOutcome::Passed, rows))
}

fn result_of(
    model: &Model,
    statement: &Statement,
    check: &Check,
    outcome: CheckOutcome,
    rows: i64,
) -> CheckResult {
    CheckResult {
        manifest_key: statement.manifest_key.clone(),
        fetch_id: statement.fetch_id,
        data_date: statement.data_date,
        entity: statement.entity.clone(),
        table: model.table.clone(),
        check: check.name.clone(),
        severity: check.severity,
        outcome,
        rows,
        failing: 0,
        sample: Vec::new(),
        sql: None,
        reason: None,
    }
}

/// Why a fetch is held back, in one sentence.
fn blocked(model: &Model, result: &CheckResult, check: &Check) -> String {
    let rows = if result.failing == 1 { "1 row" } else { "rows" };
    let count = if result.failing == 1 { String::new() } else { format!("{} ", result.failing) };
    let mut reason =
        format!("{}:{}: the check `{}` found {count}{rows}", model.file, check.line, check.name);
    if let Some(first) = result.sample.first() {
        reason.push_str(&format!(", such as {}", shortened(&first.to_string())));
    }
    reason
}

/// A sample without the columns of our own, where all of a row was selected: which fetch it is of is told
/// beside it.
fn of_the_contract(mut sample: serde_json::Value) -> serde_json::Value {
    const OWN: [&str; 7] = [
        "_fetch_id",
        "_fetch_row",
        "_settled",
        "_data_date",
        "_fetched_at",
        "_entity",
        "_published_settled",
    ];
    if let Some(row) = sample.as_object_mut()
        && row.contains_key("_fetch_id")
    {
        row.retain(|name, _| !OWN.contains(&name.as_str()));
    }
    sample
}

/// At most 200 characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Over<'_> {
    fn result(&self, check: &Check, outcome: CheckOutcome, rows: i64) -> CheckResult {
        result_of(self.model, self.statement, check, outcome, rows)
    }

    /// What a check sees of it.
    fn seen(&self) -> Seen<'_> {
        let Self { context, source, model, statement, tail } = self;
        let table = qualified(&context.schema, &model.table);
        Seen {
            model,
            fetch_id: statement.fetch_id.to_string(),
            source: source.id.as_str(),
            data_date: statement.data_date.to_string(),
            fetched_at: statement.fetched_at.to_string(),
            entity: &statement.entity,
            rows: tail.from(),
            published: format!("{table} as published"),
        }
    }

    /// The relations a check sees.
    fn relations(&self, check: &Check, dates: Option<&[Date]>) -> String {
        self.seen().relations(check, dates)
    }

    /// The dates that the source's calendar has data on, as far as the staged rows reach.
    async fn calendar(
        &self,
        transaction: &Transaction<'_>,
        check: &Check,
    ) -> Result<Option<Vec<Date>>, tokio_postgres::Error> {
        let Rule::NoGaps { column, .. } = &check.rule else { return Ok(None) };
        let reach = format!(
            "select min({0})::date, max({0})::date from {1}",
            ident(column),
            self.tail.from()
        );
        let row = transaction.query_one(&reach, &[]).await?;
        let (Some(first), Some(last)): (Option<Date>, Option<Date>) = (row.get(0), row.get(1))
        else {
            return Ok(Some(Vec::new()));
        };
        let days = first.series(jiff::Span::new().days(1)).take_while(|date| *date <= last);
        Ok(Some(days.filter(|date| self.source.calendar.has_data_on(*date)).collect()))
    }
}

/// The checks that no row offends, found by one look at the rows for all those checks that each row passes
/// or fails by itself. The others are asked one by one, and so is each of these when they cannot be asked
/// together: then it is told which of them is wrong.
async fn clear<'o>(
    transaction: &Transaction<'_>,
    over: &Over<'o>,
) -> Result<Vec<&'o str>, WarehouseError> {
    let doing = WarehouseError::statement("asking the checks");
    let (names, counts): (Vec<&str>, Vec<String>) = over
        .model
        .checks
        .iter()
        .filter_map(|check| Some((check.name.as_str(), built_in::offends(check)?)))
        .map(|(name, offends)| (name, format!("count(*) filter (where {offends})")))
        .unzip();
    if names.is_empty() {
        return Ok(names);
    }
    let look = format!("select {} from {}", counts.join(", "), over.tail.from());
    savepoint::set(transaction, "all_checks").await.map_err(&doing)?;
    match transaction.query_one(&look, &[]).await {
        Ok(row) => {
            savepoint::release(transaction, "all_checks").await.map_err(&doing)?;
            let clear = names.into_iter().enumerate().filter(|(at, _)| row.get::<_, i64>(*at) == 0);
            Ok(clear.map(|(_, name)| name).collect())
        }
        Err(error) => {
            Failure::of(error, &over.model.file, &look, "", 0).map_err(&doing)?;
            savepoint::undo(transaction, "all_checks").await.map_err(&doing)?;
            Ok(Vec::new())
        }
    }
}

/// Runs a check's query. The inner error is what PostgreSQL said of it.
async fn ask(
    transaction: &Transaction<'_>,
    over: &Over<'_>,
    check: &Check,
    sql: &str,
) -> Result<Result<Found, Failure>, WarehouseError> {
    let doing = WarehouseError::statement("asking a check");
    savepoint::set(transaction, "one_check").await.map_err(&doing)?;
    let mut prefix = String::new();
    let mut statement = String::new();
    let answered = async {
        let dates = over.calendar(transaction, check).await?;
        (prefix, statement) = over.seen().statement(check, dates.as_deref(), sql);
        transaction.query(&statement, &[]).await
    };
    match answered.await {
        Ok(rows) => {
            savepoint::release(transaction, "one_check").await.map_err(&doing)?;
            let failing = rows.first().map_or(0, |row| row.get(1));
            let sample = rows
                .iter()
                .map(|row| serde_json::from_str(row.get(0)).unwrap_or(serde_json::Value::Null))
                .map(of_the_contract)
                .collect();
            Ok(Ok(Found { failing, sample }))
        }
        Err(error) => {
            let failure =
                told_of_check(error, over.model, check, &prefix, &statement).map_err(&doing)?;
            savepoint::undo(transaction, "one_check").await.map_err(&doing)?;
            Ok(Err(failure))
        }
    }
}

/// What PostgreSQL said of a check that stood in `statement` after `prefix`, at the check's own line at
/// least. An error that is not the check's is given back.
pub(crate) fn told_of_check(
    error: tokio_postgres::Error,
    model: &Model,
    check: &Check,
    prefix: &str,
    statement: &str,
) -> Result<Failure, tokio_postgres::Error> {
    let is_sql = matches!(check.rule, Rule::Sql(_));
    let line = if is_sql { check.line } else { 0 };
    let mut failure = Failure::of(error, &model.file, statement, prefix, line)?;
    if failure.line == 0 || !is_sql {
        failure.line = check.line;
        if check.severity == Severity::Reject && failure.hint.is_none() {
            let key = model.key.join("`, `");
            failure.hint =
                Some(format!("a check that rejects rows returns the columns of the key: `{key}`"));
        }
    }
    Ok(failure)
}
