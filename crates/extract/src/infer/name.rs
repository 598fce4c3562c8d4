//! Names of columns, and what a name says of its values.
//!
//! In: names as APIs write them. Out: names PostgreSQL takes without quotes. Deliberately absent:
//! looking at values.

/// A name of lower-case letters, digits and `_` that starts with a letter: `2. Symbol` is `symbol`,
/// `regularMarketTime` is `regular_market_time`, `PM2.5` is `pm2_5`.
pub(super) fn column(text: &str) -> String {
    // Numbers that only count the members of an object (`1. open`).
    let text = match text.split_once(". ") {
        Some((number, rest))
            if number.bytes().all(|b| b.is_ascii_alphanumeric()) && number.len() < 4 =>
        {
            rest
        }
        _ => text,
    };
    let mut name = String::new();
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c.is_ascii_alphanumeric() {
            let next_is_lower = characters.peek().is_some_and(char::is_ascii_lowercase);
            let starts_word = c.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || (before.is_ascii_uppercase() && next_is_lower));
            if starts_word && !name.ends_with('_') {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') && c != '\'' {
            name.push('_');
        }
        before = c;
    }
    let name = name.trim_end_matches('_');
    let mut name: String = name.chars().take(59).collect();
    if name.is_empty() {
        "value".clone_into(&mut name);
    } else if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert_str(0, "n_");
    }
    name
}

/// A name that none of `taken` has, made of more of the path where the last word is `twice` there.
pub(super) fn unused(words: &[&str], twice: bool, taken: &[String]) -> String {
    let last = words.last().copied().unwrap_or("value");
    let short = column(last);
    if !taken.contains(&short) && (words.len() < 2 || !twice) {
        return short;
    }
    if let [.., parent, last] = words {
        let long = column(&format!("{} {}", column(parent), column(last)));
        if !taken.contains(&long) {
            return long;
        }
    }
    if !taken.contains(&short) {
        return short;
    }
    let mut number = 2_u32;
    loop {
        let numbered = format!("{short}_{number}");
        if !taken.contains(&numbered) {
            return numbered;
        }
        number += 1;
    }
}

/// Whether a name says that its values are instants or days.
pub(super) fn is_of_time(name: &str) -> bool {
    const WORDS: [&str; 17] = [
        "time",
        "date",
        "timestamp",
        "datetime",
        "unix",
        "epoch",
        "created",
        "updated",
        "at",
        "ts",
        "t",
        "day",
        "start",
        "end",
        "expires",
        "sunrise",
        "modified",
    ];
    name.split('_').any(|word| WORDS.contains(&word))
        || name.ends_with("time")
        || name.ends_with("date")
        || name.ends_with("timestamp")
}

/// Whether a name says that its values count something and grow.
pub(super) fn is_of_amount(name: &str) -> bool {
    const WORDS: [&str; 8] =
        ["volume", "count", "size", "population", "id", "total", "bytes", "views"];
    name.split('_').any(|word| WORDS.contains(&word))
}

/// Whether a name says that its values are measured, so that whole ones are an accident.
pub(super) fn is_of_measure(name: &str) -> bool {
    const WORDS: [&str; 21] = [
        "open",
        "high",
        "low",
        "close",
        "adjclose",
        "price",
        "rate",
        "value",
        "temperature",
        "amount",
        "latitude",
        "longitude",
        "lat",
        "lon",
        "precipitation",
        "rain",
        "speed",
        "mag",
        "sum",
        "mean",
        "elevation",
    ];
    name.split('_').any(|word| WORDS.contains(&word))
}

/// Whether a value beside the rows tells them from those of other responses.
pub(super) fn tells_whose(name: &str) -> bool {
    const NAMES: [&str; 27] = [
        "symbol",
        "ticker",
        "currency",
        "timezone",
        "time_zone",
        "zone",
        "exchange_timezone_name",
        "latitude",
        "longitude",
        "lat",
        "lon",
        "elevation",
        "station",
        "station_id",
        "unit",
        "units",
        "base",
        "country",
        "region",
        "city",
        "location",
        "location_id",
        "utc_offset_seconds",
        "series_id",
        "isin",
        "exchange",
        "lastupdated",
    ];
    NAMES.contains(&name)
}

/// Whether a name of a member is rather a value: a date, a number, a code in capitals.
pub(super) fn is_value(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let dated = digits >= 6 && name.bytes().all(|b| b.is_ascii_digit() || b"-:/ T.Z+".contains(&b));
    let whole = !name.is_empty() && digits == name.len();
    let code = (2..=8).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-.^=".contains(&b));
    dated || whole || code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_apis_become_names_of_columns() {
        for (text, name) in [
            ("2. Symbol", "symbol"),
            ("1a. open (USD)", "open_usd"),
            ("regularMarketTime", "regular_market_time"),
            ("PM2.5", "pm2_5"),
            ("HTTPStatus", "http_status"),
            ("Date", "date"),
            ("Cur_ID", "cur_id"),
            ("500", "n_500"),
            ("日付", "value"),
            ("_links", "links"),
        ] {
            assert_eq!(column(text), name, "{text}");
        }
        let taken = ["id".to_owned(), "user_id".to_owned()];
        assert_eq!(unused(&["user", "id"], true, &taken), "id_2");
        assert_eq!(unused(&["owner", "id"], false, &taken), "owner_id");
    }
}
