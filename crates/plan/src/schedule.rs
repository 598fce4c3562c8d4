//! When a pipeline fires, and which data date a fire is for: the words, checked.
//!
//! In: `cron(...)` with an IANA zone, a calendar's name, a data-date rule. Out: [`Schedule`],
//! [`Calendar`], [`DataDateRule`]. Deliberately absent: any computing of times, which is the
//! schedule stage's (`daymark::schedule`).

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use exchange_hours::Exchange;
use jiff::tz::TimeZone;

/// A parsed schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The expression as written, such as `cron(0 8 * * ? *)`.
    pub expression: String,
    /// The zone its wall clock is of.
    pub zone: TimeZone,
    /// The zone's name.
    pub zone_name: String,
    /// The expression for croner.
    pub cron: Cron,
}

impl Schedule {
    /// Parses an EventBridge Scheduler `cron(minute hour day-of-month month day-of-week year)`
    /// (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>).
    /// The error is the reason, to follow the expression in a message.
    pub fn parse(expression: &str, zone_name: &str) -> Result<Self, String> {
        let zone = TimeZone::get(zone_name).map_err(|_| format!("no time zone `{zone_name}`"))?;
        let fields = expression
            .strip_prefix("cron(")
            .and_then(|rest| rest.strip_suffix(')'))
            .ok_or("it is not of the form cron(...)")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let &[_, _, day_of_month, _, day_of_week, _] = fields.as_slice() else {
            return Err(format!("it has {} fields, not 6", fields.len()));
        };
        if (day_of_month == "?") == (day_of_week == "?") {
            return Err("exactly one of day-of-month and day-of-week is `?`".to_owned());
        }
        // croner wants seconds first when a year is given, and reads `?` as `*`.
        let pattern = format!("0 {}", fields.join(" ").replace('?', "*"));
        let cron = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Required)
            .alternative_weekdays(true)
            .build()
            .parse(&pattern)
            .map_err(|error| error.to_string())?;
        Ok(Self { expression: expression.to_owned(), zone, zone_name: zone_name.to_owned(), cron })
    }
}

/// The days a source has data on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// Every day.
    Daily,
    /// Monday to Friday.
    Weekdays,
    /// The sessions of an exchange.
    Exchange(Exchange),
}

impl Calendar {
    /// Takes a calendar's name; the error is the hint that says what is accepted.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "daily" => Ok(Self::Daily),
            "weekdays" => Ok(Self::Weekdays),
            code => code.parse().map(Self::Exchange).map_err(|_| {
                let codes = Exchange::ALL.iter().map(|exchange| exchange.as_str());
                let near = codes.into_iter().find(|known| strsim::jaro_winkler(known, code) > 0.8);
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                format!("{near}accepted: `daily`, `weekdays`, or an exchange's code such as `nyse`")
            }),
        }
    }
}

impl std::fmt::Display for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Daily => f.write_str("daily"),
            Self::Weekdays => f.write_str("weekdays"),
            Self::Exchange(exchange) => f.write_str(exchange.as_str()),
        }
    }
}

/// Which data date a run at a scheduled instant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataDateRule {
    /// The civil day of the instant in the pipeline's zone.
    RunDay,
    /// The last session of the calendar whose close is not after the instant.
    PreviousSession,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_expression_is_taken() {
        let schedule = Schedule::parse("cron(0 8 * * ? *)", "America/New_York").unwrap();
        assert_eq!(schedule.zone_name, "America/New_York");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (expression, zone, reason) in [
            ("cron(0 8 * * ? *)", "Mars/Base", "no time zone `Mars/Base`"),
            ("0 8 * * *", "UTC", "it is not of the form cron(...)"),
            ("cron(0 8 * * *)", "UTC", "it has 5 fields, not 6"),
            ("cron(0 8 * * * *)", "UTC", "exactly one of day-of-month and day-of-week is `?`"),
        ] {
            assert_eq!(Schedule::parse(expression, zone).unwrap_err(), reason);
        }
        assert!(Schedule::parse("cron(61 8 * * ? *)", "UTC").is_err());
    }

    #[test]
    fn a_calendar_near_a_known_one_is_suggested() {
        assert_eq!(Calendar::parse("nyse").unwrap().to_string(), "nyse");
        assert!(Calendar::parse("nysee").unwrap_err().starts_with("did you mean `nyse`?"));
    }
}
