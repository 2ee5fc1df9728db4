//! What would come of another primary, found out now and then on a thread of its own: no evaluation waits for it, and it holds no lock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::Task;
use crate::{
    api::DatabaseCluster,
    cluster::EventReason,
    core::{moment::Moment, primary::PrimaryView},
    foresight::{Grade, Lost, Question, Readiness, ready},
    index::Tables,
};

/// So many ticks pass between two looks at least: a minute.
const EVERY_TICKS: u32 = 60;
/// After a look nobody looks for so many times what it took: one CPU spends a twentieth of its time on it at most.
const REST: u32 = 20;

/// What was found out, and what is being found out.
#[derive(Debug, Default)]
pub(super) struct Watch {
    looking: Option<JoinHandle<(Vec<Readiness>, Duration)>>,
    due: Option<Instant>,
    /// Of each other member, until it is written and told.
    news: Option<Vec<Readiness>>,
    /// How it stood when people were last told.
    told: Option<(Grade, u32, u32)>,
}

impl Watch {
    pub(super) fn news(&self) -> Option<&[Readiness]> {
        self.news.as_deref()
    }
}

/// How long a look that took so long keeps everybody from the next one.
fn look_and_rest(took: Duration) -> Duration {
    took * (1 + REST)
}

/// From a database's look to its next one, which leaves each of all `databases` time for a look and a rest that take as long: otherwise
/// whoever has had a look would keep others from theirs.
fn pause(tick: Duration, took: Duration, databases: usize) -> Duration {
    let databases = u32::try_from(databases).unwrap_or(u32::MAX);
    (tick * EVERY_TICKS).max(look_and_rest(took).saturating_mul(databases))
}

impl Task {
    /// Takes what was found out meanwhile, and begins to find out anew when it is time. While the primary isn't known nobody looks.
    pub(super) async fn foresee(
        &mut self,
        object: &Arc<DatabaseCluster>,
        tables: &Tables,
        view: &PrimaryView,
        now: Moment,
    ) {
        if let Some(looking) = self.readiness.looking.take_if(|looking| looking.is_finished()) {
            // A forecast that died is a bug, and is in the log: the next one may do better.
            let (news, took) = looking.await.unwrap_or_default();
            self.readiness.due = Some(now.instant + pause(self.shared.tick, took, tables.databases.len()));
            self.readiness.news = (!news.is_empty()).then_some(news);
        }
        let rests = self.readiness.due.is_some_and(|due| now.instant < due);
        if rests || self.readiness.looking.is_some() || view.known().is_none() || self.status.members.len() < 2 {
            return;
        }
        let Ok(mut turn) = Arc::clone(&self.shared.foresight).try_lock_owned() else { return };
        if turn.is_some_and(|until| now.instant < until) {
            return;
        }
        // They are known for these tables already: nobody else has to find out again.
        let followers = tables.followers(&self.name);
        let (object, tables, status) = (Arc::clone(object), tables.clone(), self.status.clone());
        let own_namespace = self.shared.namespace.clone();
        self.readiness.looking = Some(tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let question = Question {
                object: &object,
                tables: &tables,
                followers: &followers,
                own_namespace: &own_namespace,
                status: &status,
                lost: &Lost::default(),
                now,
            };
            let others = question.others().into_iter();
            let readiness = others.map(|member| ready(&question, member)).collect();
            let took = begun.elapsed();
            *turn = Some(begun + look_and_rest(took));
            (readiness, took)
        }));
    }

    /// Tells by metrics how ready each member is, and people when it has become worse.
    pub(super) fn tell_readiness(&mut self) {
        let Some(news) = self.readiness.news.take() else { return };
        self.shared.metrics.observe_readiness(&self.name, &news);
        let Some(worst) = news.iter().max_by_key(|of| of.rank()) else { return };
        let before = self.readiness.told.replace(worst.rank());
        // What the last leader told is told once more, which is better than never.
        if worst.got_worse(before) {
            tracing::warn!(
                database = self.name,
                member = worst.member,
                why = worst.message,
                "less ready for a failover"
            );
            let note = format!("if {} became the primary: {}", worst.member, worst.message);
            self.notice(true, EventReason::LessReadyForFailover, note);
        }
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn a_minute_passes_between_two_looks_or_what_everybodys_looks_and_rests_take() {
        let ms = Duration::from_millis;
        let rows = [
            (ms(0), 1, ms(60_000)),
            (ms(100), 1, ms(60_000)),
            (ms(4_000), 1, ms(84_000)),
            (ms(20), 200, ms(84_000)),
            (Duration::MAX / 64, usize::MAX, Duration::MAX),
        ];
        check_rows(rows, |(took, databases, expected)| assert_eq!(pause(ms(1_000), took, databases), expected));
    }
}
