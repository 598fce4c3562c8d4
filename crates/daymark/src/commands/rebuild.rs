//! `daymark rebuild`: the tables once more, from the raw store.
//!
//! In: perhaps models and a range of data dates. Out: per table what was missing, different and extra;
//! exit code 1 when `--verify` finds a difference, or fetches that were never published, and when `--recheck` takes
//! from readers what they saw. Deliberately absent: the fold itself (`daymark_warehouse::publish`), and asking
//! any API.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use daymark_ingest::{RawStore, Reach};
use daymark_plan::{Clock, Mart, Materialized, Plan, Source, SourceId};
use daymark_warehouse::WarehouseError;
use daymark_warehouse::ledger::{self, Quarantined, RunKind};
use daymark_warehouse::publish::{self, Rebuilt};
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::cli::Rebuild;
use crate::commands;
use crate::failure::Failure;
use crate::output;
use crate::run::{self, Order, Progress, RunEvent, Runner, rows, verdicts};

/// Rebuilds, or compares.
pub(crate) async fn rebuild(arguments: &Rebuild) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    commands::is_a_range(arguments.from, arguments.to)?;
    let tables = chosen(&plan, &arguments.models)?;
    let runner = Runner::new(Arc::clone(&plan), Clock::System);
    let done = compare(arguments, &plan, &runner, tables).await;
    runner.close().await;
    let done = done?;
    let equal = done.tables.values().all(Rebuilt::is_equal) && done.unpublished.is_empty();
    if arguments.json {
        output::json(&serde_json::json!({
            "verified": arguments.verify,
            "tables": done.tables,
            "unpublished": done.unpublished,
            "failed": done.failed,
            "held_back": done.held_back,
        }))?;
    } else {
        output::to_stdout(&text(&plan, &done, arguments.verify))?;
    }
    let is_good = done.held_back.is_empty() && (equal || !arguments.verify);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of it.
struct Done {
    tables: BTreeMap<String, Rebuilt>,
    /// How many fetches of each source the raw store has that were never published: nothing was compared with
    /// them.
    unpublished: BTreeMap<SourceId, usize>,
    /// How many accepted fetches of each source could not be published.
    failed: BTreeMap<String, i64>,
    /// What a check holds back that it let through before.
    held_back: Vec<Quarantined>,
}

/// How many of the fetches that are held back are named.
const SHOWN: usize = 10;

/// Writes into the ledger that a rebuild failed.
async fn fail(runner: &Runner, run_id: Uuid, error: &WarehouseError, now: Timestamp) {
    let reason = daymark_plan::one_line(error);
    let told = async {
        let mut session = runner.warehouse().await?.session("recording a failure").await?;
        ledger::fail_run(&mut session, run_id, &[], &reason, now).await
    };
    if let Err(error) = told.await {
        tracing::warn!("the failure is not in the ledger: {}", daymark_plan::one_line(&error));
    }
}

async fn compare(
    arguments: &Rebuild,
    plan: &Arc<Plan>,
    runner: &Runner,
    tables: BTreeSet<String>,
) -> Result<Done, Failure> {
    let progress = Progress::new();
    let clock = Clock::System;
    if !arguments.verify {
        // What the ledger has not taken note of is published first: after the loss of a database, all.
        let order = Order {
            kind: RunKind::Rebuild,
            scheduled_at: None,
            days: Vec::new(),
            reach: Reach::ByDay,
            claim: None,
            pace: None,
        };
        runner.execute(&order, &|event| progress.show(&event)).await?;
    }
    let store = RawStore::open(&plan.settings.raw)?;
    let (read, keep) =
        (verdicts::reader(Some(store.clone())), verdicts::keeper(Some(store.clone())));
    let kept = publish::Verdicts { read: &read, keep: &keep };
    let read_rows = rows::reader(Arc::clone(plan), store.clone());
    let mut session = runner.warehouse().await?.session("rebuilding").await?;
    let mut unpublished = BTreeMap::new();
    if arguments.verify {
        let is_asked_for = |day: Date| {
            arguments.from.is_none_or(|from| from <= day) && arguments.to.is_none_or(|to| day <= to)
        };
        for source in sources_of(plan, &tables) {
            let count =
                run::count_unpublished(&mut session, &store, plan, source, is_asked_for).await?;
            if count > 0 {
                unpublished.insert(source.id.clone(), count);
            }
        }
    }
    let sources: BTreeSet<String> =
        sources_of(plan, &tables).iter().map(|source| source.id.to_string()).collect();
    let held_before = ledger::quarantined(&mut session).await?;
    let (run_id, now) = (Uuid::now_v7(), clock.now());
    let open = if arguments.verify {
        None
    } else {
        Some(ledger::start_run(&mut session, run_id, RunKind::Rebuild, None, now).await?)
    };
    let request = publish::Rebuild {
        run_id,
        now,
        tables,
        from: arguments.from,
        to: arguments.to,
        verify: arguments.verify,
        recheck: arguments.recheck,
    };
    let told = |event: publish::Progress| progress.show(&RunEvent::Publish(&event));
    let work = publish::rebuild(&mut session, plan, &request, &read_rows, kept, &told);
    let work = Box::pin(work);
    let rebuilt = match &open {
        Some(_) => runner.beating(run_id, None, work).await,
        None => work.await,
    };
    progress.finish();
    let rebuilt = match rebuilt {
        Ok(rebuilt) => rebuilt,
        Err(error) => {
            // The connection may be what failed.
            drop(session);
            if open.is_some() {
                fail(runner, run_id, &error, clock.now()).await;
            }
            return Err(error.into());
        }
    };
    if open.is_some() {
        let now = clock.now();
        match &rebuilt {
            Ok(_) => ledger::finish_run(&mut session, run_id, &[], None, now).await?,
            Err(reason) => ledger::fail_run(&mut session, run_id, &[], reason, now).await?,
        }
    }
    let tables = rebuilt.map_err(|reason| {
        let hint = "the tables are as they were; mend what is said above and run it again";
        Failure::failed(anyhow::anyhow!("cannot rebuild: {reason}"), Some(hint.to_owned()))
    })?;
    let mut failed = ledger::failed_fetches(&mut session).await?;
    failed.retain(|source, _| sources.contains(source));
    let mut held_back = ledger::quarantined(&mut session).await?;
    held_back
        .retain(|held| held_before.iter().all(|before| before.manifest_key != held.manifest_key));
    Ok(Done { tables, unpublished, failed, held_back })
}

/// The sources that feed some tables; all of them where a mart is among these, or none is named.
fn sources_of<'p>(plan: &'p Plan, tables: &BTreeSet<String>) -> Vec<&'p Source> {
    let is_model = |table: &String| plan.models.iter().any(|model| model.table == *table);
    let is_all = tables.is_empty() || !tables.iter().all(is_model);
    let feeds = |source: &&Source| {
        is_all || plan.models_of(&source.id).any(|model| tables.contains(&model.table))
    };
    plan.sources.iter().filter(feeds).collect()
}

/// The tables of the models and marts named; none for all.
fn chosen(plan: &Plan, names: &[String]) -> Result<BTreeSet<String>, Failure> {
    let mut tables = BTreeSet::new();
    let is_kept = |mart: &&Mart| mart.materialized == Materialized::Table;
    for name in names {
        if plan.marts.iter().filter(is_kept).any(|mart| mart.name == *name) {
            tables.insert(name.clone());
            continue;
        }
        let file = format!("models/{name}.sql");
        let model = plan.models.iter().find(|model| model.table == *name || model.file == file);
        let model = model.ok_or_else(|| {
            let known = plan.models.iter().map(|model| model.table.as_str());
            let known =
                known.chain(plan.marts.iter().filter(is_kept).map(|mart| mart.name.as_str()));
            Failure::usage(
                format!("the pipeline has no model `{name}`"),
                daymark_plan::did_you_mean(name, known),
            )
        })?;
        tables.insert(model.table.clone());
    }
    Ok(tables)
}

fn text(plan: &Plan, done: &Done, verify: bool) -> String {
    let Done { tables, unpublished, failed, held_back } = done;
    let mut text = String::new();
    for (table, rebuilt) in tables {
        // To compare is not to rebuild: what a mart reads is there as it is.
        let than = if verify && plan.marts.iter().any(|mart| mart.name == *table) {
            "what its query gives of the tables as they are"
        } else if unpublished.is_empty() {
            "the raw store"
        } else {
            "what was published"
        };
        if rebuilt.is_equal() {
            text.push_str(&format!("{table}: equal to {than}\n"));
            continue;
        }
        let done = if verify { format!("differs from {than}") } else { "rebuilt".to_owned() };
        text.push_str(&format!(
            "{table}: {done}: {} missing, {} different, {} that should not be there\n",
            rebuilt.missing, rebuilt.different, rebuilt.extra
        ));
        for key in &rebuilt.keys {
            text.push_str(&format!("    {key}\n"));
        }
        let all = rebuilt.missing + rebuilt.different + rebuilt.extra;
        let shown = i64::try_from(rebuilt.keys.len()).unwrap_or(i64::MAX);
        if all > shown {
            text.push_str(&format!("    and {} more\n", all - shown));
        }
        if rebuilt.by_older_model > 0 {
            text.push_str(&format!(
                "    {} of them were published by an older model, source file or daymark\n",
                rebuilt.by_older_model
            ));
        }
    }
    if verify && !tables.values().all(Rebuilt::is_equal) {
        text.push_str("`daymark rebuild` brings them over\n");
    }
    let fetches =
        |count: i64| if count == 1 { "1 fetch".to_owned() } else { format!("{count} fetches") };
    if !unpublished.is_empty() {
        let counts: Vec<String> = unpublished
            .iter()
            .map(|(source, count)| {
                format!("{source} ({})", fetches(i64::try_from(*count).unwrap_or(i64::MAX)))
            })
            .collect();
        text.push_str(&format!(
            "in the raw store and not published, so not compared: {}; `daymark run` or `daymark rebuild` \
             publishes them\n",
            counts.join(", ")
        ));
    }
    if !failed.is_empty() {
        let counts: Vec<String> = failed
            .iter()
            .map(|(source, count)| format!("{source} ({})", fetches(*count)))
            .collect();
        text.push_str(&format!(
            "accepted and failed to be published, so in no table and not compared: {}; \
             `daymark runs` says why\n",
            counts.join(", ")
        ));
    }
    if !held_back.is_empty() {
        let count = fetches(i64::try_from(held_back.len()).unwrap_or(i64::MAX));
        text.push_str(&format!(
            "held back now, so that readers do not see them any more: {count}\n"
        ));
        for held in held_back.iter().take(SHOWN) {
            let entity =
                if held.entity.is_empty() { String::new() } else { format!(" {}", held.entity) };
            text.push_str(&format!(
                "    {} {}{entity}: {}\n",
                held.source_id, held.data_date, held.reason
            ));
        }
        if held_back.len() > SHOWN {
            text.push_str(&format!("    and {} more\n", held_back.len() - SHOWN));
        }
        text.push_str("`daymark quarantine list` shows them, `release` lets them through\n");
    }
    text
}
