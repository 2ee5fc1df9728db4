//! A forecast in a few numbers, as it is told all the time.

use std::collections::BTreeMap;

use strum::{EnumString, IntoStaticStr};

use super::{Forecast, Standing, Unclear};

/// How well a database could do with another primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, EnumString)]
pub enum Grade {
    /// Every follower finds its place.
    Ready,
    /// Nobody can tell.
    Unclear,
    /// Somebody can't be moved as it is.
    Blocked,
    /// Somebody finds no place.
    NoPlace,
}

impl Grade {
    /// In one CamelCase word, for conditions.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What would come of it if one member became the primary.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    pub member: String,
    pub grade: Grade,
    pub followers: u32,
    pub would_move: u32,
    pub would_not_fit: u32,
    pub blocked: u32,
    /// By Kubernetes' names: CPUs in thousandths, everything else in whole units.
    pub missing: BTreeMap<String, u64>,
    pub seconds: u32,
    /// In one sentence.
    pub message: String,
}

impl Readiness {
    /// How bad it is, the worst the highest.
    #[must_use]
    pub const fn rank(&self) -> (Grade, u32, u32) {
        (self.grade, self.would_not_fit, self.blocked)
    }

    #[must_use]
    pub fn of(member: &str, forecast: &Result<Forecast, Unclear>) -> Self {
        let forecast = match forecast {
            Ok(forecast) => forecast,
            Err(unclear) => {
                return Self {
                    member: member.to_owned(),
                    grade: Grade::Unclear,
                    followers: 0,
                    would_move: 0,
                    would_not_fit: 0,
                    blocked: 0,
                    missing: BTreeMap::new(),
                    seconds: 0,
                    message: unclear.to_string(),
                };
            }
        };
        let (would_not_fit, blocked) = (forecast.staying(Standing::NoPlace), forecast.staying(Standing::Blocked));
        let mut missing: BTreeMap<String, u64> = BTreeMap::new();
        for (name, amount) in forecast.missing.iter().flat_map(|missing| &missing.resources) {
            *missing.entry(name.clone()).or_default() += amount;
        }
        Self {
            member: member.to_owned(),
            grade: match (would_not_fit, blocked) {
                (0, 0) => Grade::Ready,
                (0, _) => Grade::Blocked,
                _ => Grade::NoPlace,
            },
            followers: forecast.followers,
            would_move: forecast.moves,
            would_not_fit,
            blocked,
            missing,
            // Nobody knows it to less than a second.
            seconds: forecast.seconds.total.clamp(0.0, f64::from(u32::MAX)).ceil() as u32,
            message: message(forecast, would_not_fit, blocked),
        }
    }
}

fn message(forecast: &Forecast, would_not_fit: u32, blocked: u32) -> String {
    if let Some(missing) = forecast.missing.first() {
        return missing.sentence.clone();
    }
    let worst = |standing| {
        let worst = forecast.held.iter().filter(|held| held.standing == standing).max_by_key(|held| held.pods);
        worst.map_or_else(String::new, |held| format!("{}/{}: {}", held.namespace, held.name, held.message))
    };
    match (would_not_fit, blocked) {
        (0, 0) => format!("{} pods would move in about {:.0} s", forecast.moves, forecast.seconds.total),
        (0, _) => format!("{blocked} pods can't be moved as they are: {}", worst(Standing::Blocked)),
        _ => format!("{would_not_fit} pods find no place: {}", worst(Standing::NoPlace)),
    }
}
