//! `daymark raw verify`: whether the raw store still is what its manifests say.
//!
//! In: a store, perhaps one source of it. Out: what is missing, damaged, unreadable, unreferenced; exit
//! code 1 on damage. Deliberately absent: mending.

use std::process::ExitCode;

use daymark_ingest::{AuditReport, Fault, RawStore, audit};
use indicatif::ProgressBar;

use super::find;
use crate::cli::RawVerify;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many of each kind people are told; the JSON has all.
const TOLD: usize = 20;

/// Verifies a store.
pub(super) async fn verify(arguments: &RawVerify) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let store = RawStore::open_to_read(&plan.settings.raw)?;
    let source = match &arguments.source {
        Some(name) => Some(find::source(&plan, &store, name).await?),
        None => None,
    };
    let bar = ProgressBar::new(0);
    let watch = |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    };
    let report = audit(&store, source.as_ref().map(daymark_plan::SourceId::as_str), &watch).await;
    bar.finish_and_clear();
    let report = report?;
    if arguments.json {
        output::json(&serde_json::json!({
            "store": store.to_string(), "sound": report.is_sound(), "report": report,
        }))?;
    } else {
        output::to_stdout(&text(&store.to_string(), &report))?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(store: &str, report: &AuditReport) -> String {
    let mut text = format!(
        "{store}\n  {}, {} hashed ({}), {}\n",
        output::counted(report.manifests, "manifest"),
        output::counted(report.objects, "object"),
        output::bytes(report.bytes),
        output::counted(report.raw_objects, "raw object"),
    );
    faults(&mut text, "MISSING", &report.missing);
    faults(&mut text, "DAMAGED", &report.damaged);
    faults(&mut text, "UNREADABLE", &report.unreadable);
    faults(&mut text, "raw differs", &report.raw_differs);
    let unreferenced: Vec<Fault> = report
        .unreferenced
        .iter()
        .map(|key| Fault { key: key.clone(), message: "no manifest names it".to_owned() })
        .collect();
    faults(&mut text, "unreferenced", &unreferenced);
    text.push('\n');
    if !report.is_sound() {
        text.push_str(
            "the raw store is DAMAGED: restore what is named above from a backup, or copy it\n",
        );
        text.push_str("from another store with `daymark raw sync`\n");
        return text;
    }
    if !report.raw_differs.is_empty() {
        text.push_str("raw objects differ from the latest accepted fetch: someone changed them, or a fetch was\n");
        text.push_str("killed; nothing is published from them, and the next fetch of the day writes them anew\n");
    }
    if !report.unreferenced.is_empty() {
        text.push_str("unreferenced objects are no damage: a fetch that was killed leaves them\n");
    }
    text.push_str(match report.manifests + report.objects + report.raw_objects {
        0 => "the raw store is empty: there is nothing to verify\n",
        _ => "the raw store is sound: every body is what was received\n",
    });
    text
}

fn faults(text: &mut String, what: &str, faults: &[Fault]) {
    for Fault { key, message } in faults.iter().take(TOLD) {
        text.push_str(&format!("{what}: {key}: {message}\n"));
    }
    if faults.len() > TOLD {
        text.push_str(&format!("{what}: ... and {} more\n", faults.len() - TOLD));
    }
}
