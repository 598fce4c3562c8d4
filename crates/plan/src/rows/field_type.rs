//! The types of mapped fields.
//!
//! In: the word of a type. Out: a [`FieldType`]. Deliberately absent: reading values; that is
//! `extract`'s.

/// The type of a mapped field: what a JSON value must be to be accepted, and its PostgreSQL type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// A JSON string, or a number or boolean in its own text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number of 16 bits.
    Smallint,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Bigint,
    /// A number as a 64-bit float.
    Double,
    /// A number with every digit kept.
    Numeric,
    /// `YYYY-MM-DD`.
    Date,
    /// `HH:MM[:SS[.ffffff]]`.
    Time,
    /// A wall clock `YYYY-MM-DD[T ]HH:MM[:SS]` without offset.
    Timestamp,
    /// An instant: RFC 3339 with an offset or `Z`.
    Timestamptz,
    /// Seconds since 1970-01-01 UTC, whole or with a fraction.
    EpochSeconds,
    /// Milliseconds since 1970-01-01 UTC.
    EpochMilliseconds,
    /// Microseconds since 1970-01-01 UTC.
    EpochMicroseconds,
    /// A UUID.
    Uuid,
    /// A span of time: an ISO 8601 duration, `P1DT2H`.
    Interval,
    /// Any JSON, kept as it is for the model to take apart.
    Jsonb,
    /// A JSON array of values of one type, each of which may be null.
    Array(&'static FieldType),
}

impl FieldType {
    /// Every type with the word for it in `[rows.fields]`.
    pub const ALL: [(&'static str, Self); 31] = [
        ("text", Self::Text),
        ("boolean", Self::Boolean),
        ("smallint", Self::Smallint),
        ("integer", Self::Integer),
        ("bigint", Self::Bigint),
        ("double", Self::Double),
        ("numeric", Self::Numeric),
        ("date", Self::Date),
        ("time", Self::Time),
        ("timestamp", Self::Timestamp),
        ("timestamptz", Self::Timestamptz),
        ("epoch_seconds", Self::EpochSeconds),
        ("epoch_milliseconds", Self::EpochMilliseconds),
        ("epoch_microseconds", Self::EpochMicroseconds),
        ("uuid", Self::Uuid),
        ("interval", Self::Interval),
        ("jsonb", Self::Jsonb),
        ("text[]", Self::Array(&Self::Text)),
        ("boolean[]", Self::Array(&Self::Boolean)),
        ("smallint[]", Self::Array(&Self::Smallint)),
        ("integer[]", Self::Array(&Self::Integer)),
        ("bigint[]", Self::Array(&Self::Bigint)),
        ("double[]", Self::Array(&Self::Double)),
        ("numeric[]", Self::Array(&Self::Numeric)),
        ("date[]", Self::Array(&Self::Date)),
        ("time[]", Self::Array(&Self::Time)),
        ("timestamp[]", Self::Array(&Self::Timestamp)),
        ("timestamptz[]", Self::Array(&Self::Timestamptz)),
        ("uuid[]", Self::Array(&Self::Uuid)),
        ("interval[]", Self::Array(&Self::Interval)),
        ("jsonb[]", Self::Array(&Self::Jsonb)),
    ];

    /// The PostgreSQL type of its column in `raw_<source>`.
    pub fn postgres(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Smallint => "smallint",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Double => "double precision",
            Self::Numeric => "numeric",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timestamptz
            | Self::EpochSeconds
            | Self::EpochMilliseconds
            | Self::EpochMicroseconds => "timestamptz",
            Self::Uuid => "uuid",
            Self::Interval => "interval",
            Self::Jsonb => "jsonb",
            Self::Array(element) => match element {
                Self::Text => "text[]",
                Self::Boolean => "boolean[]",
                Self::Smallint => "smallint[]",
                Self::Integer => "integer[]",
                Self::Bigint => "bigint[]",
                Self::Double => "double precision[]",
                Self::Numeric => "numeric[]",
                Self::Date => "date[]",
                Self::Time => "time[]",
                Self::Timestamp => "timestamp[]",
                Self::Uuid => "uuid[]",
                Self::Interval => "interval[]",
                Self::Jsonb => "jsonb[]",
                Self::Timestamptz
                | Self::EpochSeconds
                | Self::EpochMilliseconds
                | Self::EpochMicroseconds => "timestamptz[]",
                // PostgreSQL's arrays are not typed by their depth.
                Self::Array(inner) => Self::Array(inner).postgres(),
            },
        }
    }

    /// Whether it is made from a number.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Smallint | Self::Integer | Self::Bigint | Self::Double | Self::Numeric)
            || self.is_epoch()
    }

    /// Whether it is made from a number that counts from 1970.
    pub fn is_epoch(self) -> bool {
        matches!(self, Self::EpochSeconds | Self::EpochMilliseconds | Self::EpochMicroseconds)
    }

    /// Whether it is made from a text that a format may describe.
    pub fn is_dated(self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp | Self::Timestamptz)
    }
}
