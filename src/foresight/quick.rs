//! How ready a member is, without a forecast: the same numbers, where they don't depend on where anybody goes.

use super::{
    HeldForecast, Question, near,
    pace::{Going, total_s},
    picture::Picture,
    readiness::{Readiness, Summed},
    waves::{Around, Belongs},
};
use crate::{
    api::database_cluster::MemberStatus,
    core::movement::plan::{Plan, Sums},
    evaluate::thought::{Thought, other_tiers, tiers_towards},
    index::Following,
};

/// The readiness that a forecast would come to. `None`: only a forecast can tell.
pub(super) fn readiness(question: &Question<'_>, member: &MemberStatus) -> Option<Readiness> {
    let Question { object, tables, now, .. } = *question;
    if !question.lost.is_nothing() || member.host.is_empty() || tables.nodes.is_empty() {
        return None;
    }
    let tiers = tiers_towards(object, tables, &member.host, now);
    tiers.bounds.as_ref()?;
    let followers: Vec<&Following> = question.followers.iter().collect();
    // Labels and budgets change nothing about them.
    let belongs = Belongs::of(tables.snapshot(), &followers);
    let mut picture = Picture::without_followers(tables);
    picture.relabel(object, &tiers);
    let other_tiers = other_tiers(tables, question.followers);
    let around = Around { question, tiers: &tiers, other_tiers: &other_tiers };
    let waits = around.who_waits(&picture.tables, &followers, &belongs);
    picture.let_budgets_go();
    let count = near::count(followers.len());
    let thought = around.thought(&picture.tables, followers, &waits, true);
    let thought = Thought { workloads: Some(&belongs.workloads), ..thought };
    let Sums { moves, held } = thought.sums()?;
    let stays = thought.stays(&Plan { held, ..Plan::default() });
    let held: Vec<HeldForecast> = stays.iter().map(HeldForecast::of).collect();
    let going: Vec<Going<'_>> = moves.iter().map(Going::one).collect();
    let total_s = total_s(question, &going, &belongs.workloads);
    let summed = Summed { followers: count, moves: near::count(moves.len()), held: &held, total_s };
    Some(summed.told(&member.name))
}
