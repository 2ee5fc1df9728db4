//! 9. The third site is gone for good when the link breaks: a person gives one data centre the votes, and the others theirs again later.

use std::thread;

use anyhow::Result;

use super::{
    course::Course,
    report::Figures,
    story::{AFTERWARDS, Story},
};
use crate::{
    control::{PatroniAction, SiteAction, StoreAction},
    site::Site::{ControlPlane, Dc1, Dc2},
};

impl Story<'_> {
    /// As docs/two-data-centres.md says, step by step.
    pub fn a_person_gives_dc2_the_votes(&self) -> Result<Figures> {
        let lab = &self.bed.lab;
        self.tell("9", "the third site is gone for good, and the link between the data centres breaks");
        let epoch = self.epoch();
        let frozen = Course::of(self.bed, &[Dc2], || {
            lab.site(ControlPlane, SiteAction::Kill)?;
            lab.wan(Dc1, Dc2, "cut")
        })?;
        frozen.until(&[
            ("no database has a primary", self.no_primaries()),
            ("no API server of dc1 is ready", self.is_frozen(Dc1)),
            ("no API server of dc2 is ready", self.is_frozen(Dc2)),
        ])?;

        self.tell(
            "9",
            "a person decides for dc2: nothing of the databases runs in dc1 any more, and dc2's vote is the only one",
        );
        let vote = |member: &str, action| PatroniAction::Store { member: member.to_owned(), action };
        let course = Course::of(self.bed, &[Dc2], || {
            lab.kine(PatroniAction::Kill { member: "kine1".to_owned() })?;
            lab.patroni(PatroniAction::Kill { member: "pg1".to_owned() })?;
            lab.kine(vote("kine1", StoreAction::Kill))?;
            lab.kine(vote("kine2", StoreAction::Alone))
        })?;
        let decided = "both databases have their primary in dc2";
        let mut goals = vec![(decided, self.primaries_in(Dc2))];
        goals.extend(course.all_follow());
        goals.push(course.ready_nodes(&[Dc2]));
        let times = course.until(&goals)?;
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((9, "a person gives dc2 the votes"), &times, true);
        figures.promoted_s = times.get(decided).copied();
        figures.api_away_s = self.bed.clients.away(frozen.at).as_secs_f64();
        let now = self.epoch();
        figures.check(now <= epoch + 1, format!("epoch {epoch} became {now}"));

        self.tell("9", "the link is back, and dc1 and the third site join as if they were new");
        let after = Course::of(self.bed, &[Dc1, Dc2], || {
            lab.wan(Dc1, Dc2, "heal")?;
            lab.kine(vote("kine1", StoreAction::Join))?;
            lab.site(ControlPlane, SiteAction::Start)?;
            crate::wait::retry(AFTERWARDS * 5, || lab.kine(vote("witness", StoreAction::Join)))?;
            lab.kine(PatroniAction::Start { member: "kine1".to_owned() })?;
            lab.patroni(PatroniAction::Start { member: "pg1".to_owned() }).map(drop)
        })?;
        let times = after.until(&self.whole(&after, Dc1))?;
        let more = after.figures((9, "everybody joins"), &times, false);
        self.check_primaries(&mut figures, Dc2);
        figures.add_faults(more);
        Ok(figures)
    }
}
