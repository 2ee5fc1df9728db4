//! The latest answers, and which of them may be judged together.
//!
//! A switchover that falls between two questions looks like two primaries: the old one said so before it, the new one says
//! so after it. A timeline would tell them apart. Where both claim the same one, or there is none, whoever begins to claim is
//! heard only when the others who claim have been asked once more.

use std::time::Instant;

use crate::core::primary::{Answer, Claim, Observation};

/// Of all members, by index.
#[derive(Debug)]
pub(super) struct Answers(Vec<Heard>);

#[derive(Debug)]
struct Heard {
    latest: Observation,
    /// When the question was asked that this answers.
    asked: Instant,
    /// Since when it has claimed what it claims.
    since: Instant,
    /// What it said before that.
    before: Observation,
}

impl Heard {
    /// The timeline that it claims to be the primary of.
    fn claim(&self) -> Option<u64> {
        claim(&self.latest)
    }
}

fn claim(observation: &Observation) -> Option<u64> {
    match &observation.answer {
        Answer::Seen(sight) => match sight.claim {
            Claim::Primary { timeline } => Some(timeline),
            _ => None,
        },
        _ => None,
    }
}

impl Answers {
    pub(super) fn new(members: usize, now: Instant) -> Self {
        let pending = || Observation { answer: Answer::Pending, at: now };
        let heard = || Heard { latest: pending(), asked: now, since: now, before: pending() };
        Self(std::iter::repeat_with(heard).take(members).collect())
    }

    /// An answer that came `now` to a question of `asked`.
    pub(super) fn take(&mut self, member: usize, answer: Answer, asked: Instant, now: Instant) {
        let heard = &mut self.0[member];
        let latest = Observation { answer, at: now };
        if claim(&latest) != heard.claim() {
            heard.since = now;
            heard.before = std::mem::replace(&mut heard.latest, latest);
        } else {
            heard.latest = latest;
        }
        heard.asked = asked;
    }

    /// Who has to be asked once more before `newcomer` is heard.
    fn outdated(&self, newcomer: usize) -> impl Iterator<Item = usize> {
        let Heard { since, .. } = self.0[newcomer];
        let claim = self.0[newcomer].claim();
        let older = move |(index, other): &(usize, &Heard)| {
            *index != newcomer && claim.is_some() && other.claim() == claim && other.asked < since
        };
        self.0.iter().enumerate().filter(older).map(|(index, _)| index)
    }

    /// Whether this member is to be asked out of turn, because another one isn't heard until then.
    pub(super) fn wanted(&self, member: usize) -> bool {
        (0..self.0.len()).any(|newcomer| self.outdated(newcomer).any(|older| older == member))
    }

    /// What every member says, and of those who aren't heard yet what they said before.
    pub(super) fn heard(&self) -> Vec<Observation> {
        let shown = |(index, heard): (usize, &Heard)| {
            let waits = self.outdated(index).next().is_some();
            if waits { heard.before.clone() } else { heard.latest.clone() }
        };
        self.0.iter().enumerate().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::primary::Claimed;

    /// `P2`: primary on timeline 2. `P`: without one. `f`: a follower. `x`: unreachable.
    fn answer(word: &str) -> Answer {
        let seen =
            |claim| Answer::Seen(Claimed { claim, because: String::new(), system_identifier: None, pause: false });
        match word.split_at(1) {
            ("P", timeline) => seen(Claim::Primary { timeline: timeline.parse().unwrap_or(0) }),
            ("f", _) => seen(Claim::Follower),
            _ => Answer::Unreachable { error: "gone".to_owned() },
        }
    }

    fn shown(observation: &Observation) -> &'static str {
        match (&observation.answer, claim(observation)) {
            (Answer::Pending, _) => "-",
            (Answer::Unreachable { .. }, _) => "x",
            (_, Some(_)) => "P",
            (_, None) => "f",
        }
    }

    /// `"0: P 3-4"`: the first member answers `P` at 4 to what it was asked at 3. Afterwards `"P- 1"`: what is heard of
    /// each, and who is wanted.
    fn tell(story: &[(&str, &str)]) {
        let start = Instant::now();
        let mut answers = Answers::new(2, start);
        for (said, expected) in story {
            let words: Vec<_> = said.split([' ', ':', '-']).filter(|word| !word.is_empty()).collect();
            let at = |word: &str| start + Duration::from_secs(word.parse().unwrap());
            answers.take(words[0].parse().unwrap(), answer(words[1]), at(words[2]), at(words[3]));
            let heard: String = answers.heard().iter().map(shown).collect();
            let wanted: String = (0..2).filter(|member| answers.wanted(*member)).map(|it| it.to_string()).collect();
            assert_eq!(format!("{heard} {wanted}").trim_end(), *expected, "{said}");
        }
    }

    #[test]
    fn a_switchover_between_two_questions_is_none_of_two_primaries() {
        let before = [("0: P 1-2", "P-"), ("1: f 1-2", "Pf")];
        tell(&[&before[..], &[("1: P 3-4", "Pf 0"), ("0: f 4-5", "fP"), ("1: P 5-6", "fP")]].concat());
        // The question was on its way when the new one answered: its answer may be older.
        tell(&[&before[..], &[("1: P 3-5", "Pf 0"), ("0: P 4-6", "Pf 0"), ("0: f 6-7", "fP")]].concat());
        tell(&[&before[..], &[("1: P 3-4", "Pf 0"), ("0: x 4-5", "xP")]].concat());
        tell(&[&before[..], &[("1: P 3-4", "Pf 0"), ("1: f 4-5", "Pf"), ("0: P 5-6", "Pf")]].concat());
    }

    #[test]
    fn two_primaries_are_two_once_both_have_said_so_again() {
        let both = [("0: P 1-2", "P-"), ("1: f 1-2", "Pf"), ("1: P 3-4", "Pf 0"), ("0: P 4-5", "PP")];
        tell(&[&both[..], &[("1: P 6-7", "PP"), ("0: P 6-7", "PP")]].concat());
        let from_the_start = [("0: P 0-1", "P-"), ("1: P 0-2", "-- 01"), ("0: P 2-3", "-P 1"), ("1: P 2-3", "PP")];
        tell(&from_the_start);
    }

    #[test]
    fn timelines_tell_by_themselves() {
        tell(&[("0: P1 1-2", "P-"), ("1: f 1-2", "Pf"), ("1: P2 3-4", "PP")]);
        tell(&[("0: P1 1-2", "P-"), ("1: f 1-2", "Pf"), ("1: P1 3-4", "Pf 0"), ("0: P1 4-5", "PP")]);
    }
}
