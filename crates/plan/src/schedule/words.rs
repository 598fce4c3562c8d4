//! The words of a source about its days: a calendar's name, a data-date rule.
//!
//! In: words. Out: [`Calendar`], [`DataDateRule`]. Deliberately absent: what they mean for a day
//! (`calendar`, `data_date`).

use std::sync::Arc;

use exchange_hours::Exchange;

use crate::calendar_file::DayList;

/// The days a source has data on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calendar {
    /// Every day.
    Daily,
    /// Monday to Friday.
    Weekdays,
    /// The sessions of an exchange.
    Exchange(Exchange),
    /// A file of dates, perhaps on top of one of the others.
    Listed(Arc<DayList>),
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
            Self::Listed(list) => f.write_str(&list.file),
        }
    }
}

/// Which data date a run at a scheduled instant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataDateRule {
    /// The civil day of the instant in the pipeline's zone.
    RunDay,
    /// So many days after the run day: `run_day - 1d` is -1.
    RunDayOffset(i32),
    /// The last session of the calendar whose close is not after the instant.
    PreviousSession,
}

impl DataDateRule {
    /// Takes a rule; `None` when it is none.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "run_day" => return Some(Self::RunDay),
            "previous_session" => return Some(Self::PreviousSession),
            _ => {}
        }
        let shift = word.strip_prefix("run_day")?.trim_start();
        let (sign, count) = match shift.split_at_checked(1)? {
            ("-", count) => (-1, count),
            ("+", count) => (1, count),
            _ => return None,
        };
        let count = count.trim_start().strip_suffix('d')?;
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse::<i32>().ok().filter(|count| digits && *count <= 3660)?;
        Some(Self::RunDayOffset(sign * count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_date_can_be_off_the_run_day() {
        let parse = DataDateRule::parse;
        assert_eq!(parse("run_day - 1d"), Some(DataDateRule::RunDayOffset(-1)));
        assert_eq!(parse("run_day+2d"), Some(DataDateRule::RunDayOffset(2)));
        for bad in
            ["run_day -", "run_day 1d", "run_day - d", "run_day - -1d", "day", "run_day - 1h"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_calendar_near_a_known_one_is_suggested() {
        assert_eq!(Calendar::parse("nyse").unwrap().to_string(), "nyse");
        assert!(Calendar::parse("nysee").unwrap_err().starts_with("did you mean `nyse`?"));
    }
}
