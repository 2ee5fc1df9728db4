//! A length of time as people write it: `300us`, `2ms`, `1.5s`, `10m`.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A positive length of time, written as a number and one unit. The pattern in the schema accepts exactly what
/// [`Span::from_str`] accepts, and each accepted text is also a duration for CEL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const PATTERN: &str = r"^[0-9]{1,9}(\.[0-9]{1,6})?(us|ms|s|m|h)$";

impl Span {
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole microseconds, saturating.
    #[must_use]
    pub fn as_us(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Why a text is not a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a length of time: write a number and a unit (us, ms, s, m or h), such as 300us, 2ms or 1.5s")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.chars().take(40).collect());
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(error)?;
        let (number, unit) = text.split_at(unit_at);
        let unit_ns: u64 = match unit {
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(error()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()).then_some(()).filter(|()| part.bytes().all(|b| b.is_ascii_digit()))
        };
        digits(whole, 9).ok_or_else(error)?;
        digits(fraction, 6).ok_or_else(error)?;
        let whole: u64 = whole.parse().map_err(|_| error())?;
        let micro_units: u64 = format!("{fraction:0<6}").parse().map_err(|_| error())?;
        let nanos = u128::from(whole) * u128::from(unit_ns) + u128::from(micro_units) * u128::from(unit_ns) / 1_000_000;
        Ok(Self(Duration::from_nanos(u64::try_from(nanos).map_err(|_| error())?)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.as_us();
        match us {
            _ if us != 0 && us.is_multiple_of(3_600_000_000) => write!(f, "{}h", us / 3_600_000_000),
            _ if us != 0 && us.is_multiple_of(60_000_000) => write!(f, "{}m", us / 60_000_000),
            _ if us.is_multiple_of(1_000_000) => write!(f, "{}s", us / 1_000_000),
            _ if us.is_multiple_of(1_000) => write!(f, "{}ms", us / 1_000),
            _ => write!(f, "{us}us"),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 20 })
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn what_people_write_is_read_and_printed_back() {
        let rows = [
            ("300us", 300, "300us"),
            ("2ms", 2_000, "2ms"),
            ("0.3ms", 300, "300us"),
            ("1.5s", 1_500_000, "1500ms"),
            ("10m", 600_000_000, "10m"),
            ("60s", 60_000_000, "1m"),
            ("0s", 0, "0s"),
            ("2h", 7_200_000_000, "2h"),
        ];
        check_rows(rows, |(text, us, printed)| {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.as_us(), span.to_string().as_str()), (us, printed), "{text}");
        });
    }

    #[test]
    fn anything_else_is_refused_with_what_to_write() {
        for text in ["", "5", "ms", "-1s", "1 s", "1d", "1.s", ".5s", "1e3s", "١s", "9999999999s", "1.1234567s"] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("write a number and a unit"), "{text}: {error}");
        }
    }
}
