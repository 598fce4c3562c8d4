//! Bodies that FORMATS.md quotes and nobody recorded: facts, a line each.

/// Name, body.
const LITERALS: [(&str, &str); 30] = [
    (
        "om-unknown-variable",
        r#"{"error":true,"reason":"Cannot initialize ForecastVariable from invalid String value temperature_3m for key hourly"}"#,
    ),
    (
        "om-unknown-model",
        r#"{"reason":"Data corrupted at path ''. Cannot initialize MultiDomains from invalid String value icon_x.","error":true}"#,
    ),
    (
        "om-end-before-start",
        r#"{"error":true,"reason":"End-date must be larger or equals than start-date"}"#,
    ),
    (
        "om-one-date",
        r#"{"error":true,"reason":"Both 'start_date' and 'end_date' must be set in the url"}"#,
    ),
    (
        "om-latitude",
        r#"{"reason":"Latitude must be in range of -90 to 90°. Given: 91.0.","error":true}"#,
    ),
    ("om-time-zone", r#"{"error":true,"reason":"Invalid timezone"}"#),
    (
        "om-coordinates",
        r#"{"error":true,"reason":"Parameter 'latitude' and 'longitude' must have the same number of elements"}"#,
    ),
    (
        "om-too-many-places",
        r#"{"error":true,"reason":"Only up to 1000 locations can be requested at once"}"#,
    ),
    ("om-no-data", r#"{"error":true,"reason":"No data is available for this location"}"#),
    (
        "om-forecast-days",
        r#"{"reason":"Forecast days is invalid. Allowed range 0 to 16. Given 17.","error":true}"#,
    ),
    (
        "om-daily-limit",
        r#"{"reason":"Daily API request limit exceeded. Please try again tomorrow.","error":true}"#,
    ),
    ("om-concurrent", r#"{"error":true,"reason":"Too many concurrent requests"}"#),
    ("om-overloaded", r#"{"error":true,"reason":"The service is overloaded"}"#),
    (
        "gateway",
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>",
    ),
    (
        "yahoo-interval",
        r#"{"chart":{"result":null,"error":{"code":"Bad Request","description":"Invalid input - interval=5h is not supported. Valid intervals: [1m, 2m, 5m, 15m, 30m, 60m, 90m, 1h, 1d, 5d, 1wk, 1mo, 3mo]"}}}"#,
    ),
    (
        "yahoo-minutes-too-old",
        r#"{"chart":{"result":null,"error":{"code":"Unprocessable Entity","description":"1m data not available for startTime=1767225600 and endTime=1767312000. The requested range must be within the last 30 days."}}}"#,
    ),
    (
        "yahoo-crumb",
        r#"{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}"#,
    ),
    ("yahoo-too-many", "Too Many Requests"),
    (
        "yahoo-outage",
        "<!DOCTYPE html><html><body><h1>Will be right back...</h1><p>Thank you for your patience.</p></body></html>",
    ),
    ("consent", ""),
    ("av-information", r#"{"Information": "The **demo** API key is for demo purposes only."}"#),
    ("stooq-no-data", "No data"),
    ("stooq-table-without-rows", "Date,Open,High,Low,Close,Volume\n"),
    ("fred-old-header", "DATE,SP500\n2014-01-02,1831.98\n2014-01-20,.\n"),
    (
        "world-bank-sources",
        r#"{"page":1,"pages":1,"per_page":"50","total":1,"source":[{"id":"2","concept":[]}]}"#,
    ),
    (
        "world-bank-nothing",
        r#"[{"page":0,"pages":0,"per_page":200,"total":0,"lastupdated":"2026-07-01"},null]"#,
    ),
    ("nothing", "{}"),
    ("empty-array", "[]"),
    ("empty", ""),
    (
        "no-hours",
        r#"{"latitude":38.9,"utc_offset_seconds":0,"hourly_units":{"time":"iso8601","temperature_2m":"undefined"},"hourly":{"time":["2026-11-23T00:00","2026-11-23T01:00"],"temperature_2m":[1.5]}}"#,
    ),
];

/// The body of a literal.
pub(crate) fn body(name: &str) -> &'static str {
    let found = LITERALS.iter().find(|(literal, _)| *literal == name);
    found.unwrap_or_else(|| panic!("no literal is called `{name}`")).1
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    LITERALS.iter().map(|(name, _)| *name)
}
