//! `daymark doctor`: what is wrong with this machine, and what to do.
//!
//! In: a folder, whole or broken. Out: a line per thing looked at, OK, WARN or FAIL; exit code 1 when one
//! is FAIL. Deliberately absent: mending anything, and what the crates know to ask of their own
//! ([`daymark_ingest::doctor`], [`daymark_warehouse::doctor`], [`crate::alerts`], [`crate::machine`]).

use std::process::ExitCode;

use daymark_plan::{
    Clock, DatabaseUrl, Environment, Finding, PlanError, RawUrl, Verdict, WholeParts,
};
use serde_json::json;

use crate::alerts;
use crate::cli::Doctor;
use crate::failure::Failure;
use crate::machine;
use crate::output;

/// Looks at everything a run needs.
pub(crate) async fn doctor(arguments: &Doctor) -> Result<ExitCode, Failure> {
    let findings = look(arguments).await;
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    if arguments.json {
        output::json(&json!({ "healthy": !failed, "findings": findings }))?;
    } else {
        output::to_stdout(&text(&findings))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn look(arguments: &Doctor) -> Vec<Finding> {
    let environment = Environment::of_process();
    let clock = Clock::System;
    let path = &arguments.folder.path;
    let loaded = daymark_plan::load(path, &environment);
    let parts = daymark_plan::whole_parts(path, &environment);
    let mut findings = folder(&loaded, &parts);
    findings.push(machine::zones(clock.now()));
    let WholeParts { settings, sources } = parts;
    if arguments.offline {
        findings.push(Finding::ok("api", "the APIs are left alone (--offline)"));
    } else {
        findings.extend(daymark_ingest::doctor::clocks(&sources, &environment, &clock).await);
    }
    findings.extend(daymark_ingest::doctor::secrets_of(&sources, &environment).await);
    let Some((name, settings)) = settings else {
        for name in ["store", "database", "port"] {
            let message = "not looked at: daymark.toml does not say where it is";
            findings.push(Finding::warn(name, message, "mend daymark.toml first"));
        }
        findings.extend(machine::space("temporary files", &std::env::temp_dir()));
        return findings;
    };
    findings.extend(daymark_ingest::doctor::store(&settings.raw, &clock).await);
    findings.extend(daymark_warehouse::doctor::database(&settings, &name).await);
    findings.extend(alerts::channels(&settings, &environment, arguments.offline).await);
    if let RawUrl::File(folder) = &settings.raw {
        findings.extend(machine::space("raw store", folder));
    }
    if let DatabaseUrl::Embedded(folder) = &settings.database {
        findings.extend(machine::space("database", folder));
    }
    findings.extend(machine::space("temporary files", &std::env::temp_dir()));
    findings.push(machine::port(settings.dashboard.listen));
    findings
}

/// The pipeline folder: a line, or one for each of its problems.
fn folder(loaded: &Result<daymark_plan::Plan, PlanError>, parts: &WholeParts) -> Vec<Finding> {
    match loaded {
        Ok(plan) => vec![Finding::ok(
            "folder",
            format!(
                "`{}` is the pipeline `{}`: sources {}, models {}, marts {}, pages {}",
                plan.root.display(),
                plan.name,
                plan.sources.len(),
                plan.models.len(),
                plan.marts.len(),
                plan.pages.len()
            ),
        )],
        Err(PlanError::Problems { problems, .. }) => {
            let whole = match &parts.settings {
                Some(_) => "the rest is looked at",
                None => "mend daymark.toml first",
            };
            let one = |problem: &daymark_plan::Problem| {
                let at = if problem.line == 0 {
                    problem.file.clone()
                } else {
                    format!("{}:{}", problem.file, problem.line)
                };
                let hint = problem.hint.clone().unwrap_or_else(|| whole.to_owned());
                Finding::fail("folder", format!("{at}: {}", problem.message), &hint)
            };
            problems.iter().map(one).collect()
        }
        Err(error) => {
            let hint = error.hint().unwrap_or_default();
            vec![Finding::fail("folder", daymark_plan::one_line(error), &hint)]
        }
    }
}

fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { name, verdict, message, hint } in findings {
        let word = match verdict {
            Verdict::Ok => "OK",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        text.push_str(&format!("{word:4}  {name:width$}  {message}\n"));
        if let Some(hint) = hint {
            text.push_str(&format!("{:6}{:width$}  -> {hint}\n", "", ""));
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let last = match (count(Verdict::Fail), count(Verdict::Warn)) {
        (0, 0) => "all is well".to_owned(),
        (0, warned) => format!("it works; {warned} could be better"),
        (failed, _) => format!("{failed} must be mended"),
    };
    text.push_str(&format!("{last}\n"));
    text
}
