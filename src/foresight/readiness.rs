//! A forecast in a few numbers, as it is told all the time.

use std::collections::BTreeMap;

use strum::{EnumString, IntoStaticStr};

use super::{Forecast, HeldForecast, Standing, Unclear};

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

    /// Whether it is bad, and worse than when people were last told: they are told again.
    #[must_use]
    pub fn got_worse(&self, before: Option<(Grade, u32, u32)>) -> bool {
        matches!(self.grade, Grade::Blocked | Grade::NoPlace) && before.is_none_or(|before| self.rank() > before)
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
        let mut missing: BTreeMap<String, u64> = BTreeMap::new();
        for (name, amount) in forecast.missing.iter().flat_map(|missing| &missing.resources) {
            *missing.entry(name.clone()).or_default() += amount;
        }
        let Forecast { followers, moves, held, .. } = forecast;
        let summed = Summed { followers: *followers, moves: *moves, held, total_s: forecast.seconds.total };
        let mut readiness = summed.told(member);
        if let Some(first) = forecast.missing.first() {
            readiness.message.clone_from(&first.sentence);
        }
        Self { missing, ..readiness }
    }
}

/// What a forecast comes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summed<'h> {
    pub followers: u32,
    pub moves: u32,
    pub held: &'h [HeldForecast],
    pub total_s: f64,
}

impl Summed<'_> {
    /// Where nothing is missing that hardware could be bought for.
    pub(super) fn told(self, member: &str) -> Readiness {
        let staying = |standing| self.held.iter().filter(|held| held.standing == standing).map(|held| held.pods).sum();
        let (would_not_fit, blocked) = (staying(Standing::NoPlace), staying(Standing::Blocked));
        Readiness {
            member: member.to_owned(),
            grade: match (would_not_fit, blocked) {
                (0, 0) => Grade::Ready,
                (0, _) => Grade::Blocked,
                _ => Grade::NoPlace,
            },
            followers: self.followers,
            would_move: self.moves,
            would_not_fit,
            blocked,
            missing: BTreeMap::new(),
            // Nobody knows it to less than a second.
            seconds: self.total_s.clamp(0.0, f64::from(u32::MAX)).ceil() as u32,
            message: self.message(would_not_fit, blocked),
        }
    }

    fn message(self, would_not_fit: u32, blocked: u32) -> String {
        let worst = |standing| {
            let worst = self.held.iter().filter(|held| held.standing == standing).max_by_key(|held| held.pods);
            worst.map_or_else(String::new, |held| format!("{}/{}: {}", held.namespace, held.name, held.message))
        };
        match (would_not_fit, blocked) {
            (0, 0) => format!("{} pods would move in about {:.0} s", self.moves, self.total_s),
            (0, _) => format!("{blocked} pods can't be moved as they are: {}", worst(Standing::Blocked)),
            _ => format!("{would_not_fit} pods find no place: {}", worst(Standing::NoPlace)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_when_it_gets_worse_and_not_when_it_stays_or_gets_better() {
        let of = |grade, would_not_fit, blocked| Readiness {
            grade,
            would_not_fit,
            blocked,
            ..Summed { followers: 9, moves: 9, held: &[], total_s: 1.0 }.told("pg2")
        };
        let rows = [
            ("fine, for the first time", of(Grade::Ready, 0, 0), None, false),
            ("bad, for the first time", of(Grade::Blocked, 0, 1), None, true),
            ("bad after it was fine", of(Grade::Blocked, 0, 1), Some((Grade::Ready, 0, 0)), true),
            ("as bad", of(Grade::Blocked, 0, 1), Some((Grade::Blocked, 0, 1)), false),
            ("one more is blocked", of(Grade::Blocked, 0, 2), Some((Grade::Blocked, 0, 1)), true),
            ("of two one has a place now", of(Grade::NoPlace, 1, 0), Some((Grade::NoPlace, 2, 0)), false),
            ("somebody finds no place any more", of(Grade::NoPlace, 1, 0), Some((Grade::Blocked, 0, 9)), true),
            ("nobody can tell any more", of(Grade::Unclear, 0, 0), Some((Grade::Ready, 0, 0)), false),
        ];
        for (what, readiness, before, told) in rows {
            assert_eq!(readiness.got_worse(before), told, "{what}");
        }
    }
}
