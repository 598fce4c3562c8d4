//! Which days may be asked for by name.
//!
//! In: a day that someone typed. Out: whether it can be asked about, and what to do when it cannot. A
//! source whose request names no day is answered as of now, whatever day it is asked about: such an answer
//! kept under another day would be a false record. Deliberately absent: which day is due, which is the
//! schedule's.

use daymark_plan::{Clock, Plan, Source, SourceId};
use jiff::civil::Date;

use crate::failure::Failure;

/// Refuses a day that is not there yet, or before there were any.
pub(crate) fn is_past_or_today(plan: &Plan, date: Date, clock: &Clock) -> Result<(), Failure> {
    let today = clock.now().to_zoned(plan.settings.zone.clone()).date();
    if date > today {
        return Err(Failure::usage(
            format!("the data date {date} is in the future"),
            format!("today is {today} in {}", plan.settings.zone_name),
        ));
    }
    if date.year() < 1 {
        return Err(Failure::usage(
            format!("the data date {date} is before year 1"),
            "give a date YYYY-MM-DD",
        ));
    }
    Ok(())
}

/// Refuses days, other than those that are due, of sources that are not told the day. `elsewhere` says what
/// else the command could be told to do.
pub(crate) fn are_answered_for(
    plan: &Plan,
    days: &[(SourceId, Date)],
    due: &[(SourceId, Date)],
    elsewhere: impl Fn(Date) -> String,
) -> Result<(), Failure> {
    let of_now: Vec<&(SourceId, Date)> = days
        .iter()
        .filter(|day| !due.contains(day))
        .filter(|(id, _)| !plan.source(id).is_some_and(Source::answers_for_any_date))
        .collect();
    let Some((_, date)) = of_now.first() else { return Ok(()) };
    let names: Vec<String> = of_now.iter().map(|(id, _)| format!("`{id}`")).collect();
    let now: Vec<String> = due
        .iter()
        .filter(|(id, _)| of_now.iter().any(|(other, _)| other == id))
        .map(|(id, date)| format!("`{id}` {date}"))
        .collect();
    let (are, answers) =
        if names.len() == 1 { ("is", "its API answers") } else { ("are", "their APIs answer") };
    Err(Failure::usage(
        format!(
            "{} {are} asked without a date, so {answers} as of now and not for {date}",
            names.join(" and ")
        ),
        format!(
            "write `{{{{ data_date }}}}` into `[request]` where the API takes a date; leave `--date` away \
             for what is due now ({}){}",
            now.join(", "),
            elsewhere(*date)
        ),
    ))
}
