//! Which days may be asked for by name.
//!
//! In: a day that someone typed. Out: whether it can be asked about, and what to do when it cannot. A
//! source whose request names no day is answered as of now, whatever day it is asked about: such an answer
//! kept under another day would be a false record. Deliberately absent: which day is due, which is the
//! schedule's.

use daymark_plan::{Clock, Plan, Source};
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

/// Refuses another day than the due one of a source that is not told the day: its API would answer as of
/// now.
pub(crate) fn is_answered_for(source: &Source, date: Date, due: Date) -> Result<(), Failure> {
    if date == due || source.answers_for_any_date() {
        return Ok(());
    }
    let (id, file) = (&source.id, &source.file);
    Err(Failure::usage(
        format!(
            "`{id}` cannot be asked about {date}: its request names no day, so the answer would be as \
             of now and not of {date}"
        ),
        format!(
            "leave out `--date` to ask for {due}, the day that is due; or, when the API takes a date, \
             put `{{{{ data_date }}}}` into `[request]` of {file}"
        ),
    ))
}
