//! The scenes, each of which begins where the one before it ended.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    bed::{Bed, REPLICAS},
    course::{Course, Goal},
    report::Figures,
};
use crate::{
    control::SiteAction,
    measured::tenths,
    patroni::MemberState,
    site::Site::{self, ControlPlane, Dc1, Dc2},
};

/// How long it is watched that nothing comes after all.
pub(super) const AFTERWARDS: Duration = Duration::from_secs(4);

/// Played on a bed.
#[derive(Debug)]
pub struct Story<'a> {
    pub(super) bed: &'a Bed,
}

impl<'a> Story<'a> {
    /// Brings both databases to where the story begins: their primaries are in dc1.
    pub fn begin(bed: &'a Bed) -> Result<Story<'a>> {
        let story = Story { bed };
        let course = Course::of(bed, &Site::TWO, || Ok(()))?;
        course.until(&[
            ("both primaries are in dc1", story.primaries_in(Dc1)),
            ("every role has two pods in each data centre", story.roles(&Site::TWO)),
            ("replicas stream", story.replicas_stream()),
        ])?;
        Ok(story)
    }

    /// 1. The data centre without the primaries loses its power.
    pub fn the_other_falls(&self) -> Result<Figures> {
        self.tell("1", "dc2, where no primary is, loses its power");
        let course = Course::of(self.bed, &[Dc1], || self.bed.lab.site(Dc2, SiteAction::Kill))?;
        let goals = [course.writes(), course.led(), course.labels(), course.near(), course.ready_nodes(&[Dc1])];
        let times = course.until(&goals)?;
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((1, "dc2 falls"), &times, false);
        self.check_primaries(&mut figures, Dc1);
        let failures = figures.transport_failures;
        figures.check(failures == 0, format!("{failures} requests failed, although every replica was in dc1"));
        figures.check(self.bed.roles_are_two_in(&[Dc1]), "dc1 does not have two pods of each role");
        Ok(figures)
    }

    /// 1. It comes back.
    pub fn the_other_returns(&self) -> Result<Figures> {
        self.tell("1", "dc2 has power again");
        self.returns(1, "dc2 returns", Dc2, Dc1)
    }

    /// 2. The data centre with both primaries loses its power.
    pub fn the_primary_falls(&self) -> Result<Figures> {
        self.tell("2", "dc1, with both primaries and every replica, loses its power");
        let course = Course::of(self.bed, &[Dc2], || self.bed.lab.site(Dc1, SiteAction::Kill))?;
        let promoted = "both databases have their primary in dc2";
        let mut goals = vec![(promoted, self.primaries_in(Dc2))];
        goals.extend(course.all_follow());
        goals.push(course.ready_nodes(&[Dc2]));
        let times = course.until(&goals)?;
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((2, "dc1 with the primaries falls"), &times, true);
        figures.promoted_s = times.get(promoted).copied();
        figures.check(figures.held == 0, format!("{} pods were held", figures.held));
        Ok(figures)
    }

    /// 3. It comes back, and is not the primary's any more.
    pub fn the_primary_returns(&self) -> Result<Figures> {
        self.tell("3", "dc1 has power again");
        self.returns(3, "dc1 returns", Dc1, Dc2)
    }

    /// 4. The data centres lose sight of each other; the third site sees both.
    pub fn the_link_breaks_with_a_witness(&self) -> Result<Figures> {
        self.tell("4", "the link between the data centres breaks; the witness sees both");
        let course = Course::of(self.bed, &[Dc2], || self.bed.lab.wan(Dc1, Dc2, "cut"))?;
        let goals = [
            course.writes(),
            course.led(),
            course.labels(),
            course.near(),
            course.ready_nodes(&[Dc2]),
            ("the other side's API server is not ready", self.is_frozen(Dc1)),
        ];
        let times = course.until(&goals)?;
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((4, "the link breaks, with a witness"), &times, false);
        self.check_primaries(&mut figures, Dc2);
        let hears = self.condition("WitnessSeen");
        figures.check(hears.as_deref() == Some("True"), format!("WitnessSeen is {hears:?}"));
        figures.check(figures.transport_failures == 0, format!("{} requests failed", figures.transport_failures));
        self.tell("4", "the link is back");
        let after = self.heals(Dc2, || self.bed.lab.wan(Dc1, Dc2, "heal"), false)?;
        figures.moved += after.moved;
        figures.add_faults(after);
        Ok(figures)
    }

    /// 4. The data centres lose sight of each other and of the third site: nobody has two votes of three.
    pub fn the_link_breaks_without_a_witness(&self) -> Result<Figures> {
        self.tell("4", "the link breaks again, and the third site is away");
        let (epoch, labels) = (self.epoch(), self.bed.scene.seen().labels.clone());
        let controllers = self.bed.controller_addresses()?;
        let course = Course::of(self.bed, &[Dc2], || {
            self.bed.lab.site(ControlPlane, SiteAction::Kill)?;
            self.bed.lab.wan(Dc1, Dc2, "cut")
        })?;
        let goals = [
            ("no database has a primary", self.no_primaries()),
            ("no API server of dc1 is ready", self.is_frozen(Dc1)),
            ("no API server of dc2 is ready", self.is_frozen(Dc2)),
            (
                "every controller tells monitoring that it doesn't lead (SwitchoverNoLeader)",
                Box::new(|| self.bed.nobody_leads(&controllers)),
            ),
        ];
        let times = course.until(&goals)?;
        thread::sleep(AFTERWARDS * 2);
        let mut figures = course.figures((4, "the link breaks, without a witness"), &times, false);
        self.tell("4", "a person brings the third site back, and then the link");
        let before = course.seconds();
        let after = self.heals(
            Dc2,
            || {
                self.bed.lab.site(ControlPlane, SiteAction::Start)?;
                self.bed.lab.wan(Dc1, Dc2, "heal")
            },
            true,
        )?;
        figures.api_away_s = tenths(self.bed.clients.away(course.at));
        let since_it_broke = |time: Option<f64>| time.map(|seconds| before + seconds);
        figures.led_s = since_it_broke(after.led_s);
        figures.labels_s = since_it_broke(after.labels_s);
        figures.near_s = since_it_broke(after.near_s);
        figures.moved += after.moved;
        figures.add_faults(after);
        // One history: the primary that there was, or one change.
        let now = self.epoch();
        let same = now == epoch && self.bed.scene.seen().labels == labels;
        figures.check(same || now == epoch + 1, format!("epoch {epoch} became {now}"));
        Ok(figures)
    }

    /// 5. The database under Kubernetes moves in order while pods follow theirs.
    pub fn kubernetes_loses_its_database_while_pods_move(&self) -> Result<Figures> {
        let (kine, shop) = (self.bed.clients.kine_primary(), self.bed.clients.shop_primary());
        let other = |primary: Option<String>, name: &str| if primary == Some(format!("{name}1")) { Dc2 } else { Dc1 };
        let (kine, shop) = (other(kine, "kine"), other(shop, "pg"));
        self.tell(
            "5",
            &format!("the service's primary moves to {shop}, and amid the pods' move that of Kubernetes to {kine}"),
        );
        let course = Course::of(self.bed, &Site::TWO, || self.bed.switch_service(shop))?;
        course.until(&[course.first_eviction()])?;
        self.bed.switch_kine(kine)?;
        let times = course.until(&self.whole(&course, Dc1))?;
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((5, "the database under Kubernetes moves amid a movement"), &times, true);
        let failures = figures.transport_failures;
        figures.check(failures == 0, format!("{failures} requests failed"));
        let newest = self.bed.scene.seen().database["failovers"][0]["moved"].as_u64();
        figures.check(newest == Some(REPLICAS as u64), format!("{newest:?} pods were moved by switchover's word"));
        figures.check(figures.moved <= REPLICAS as u64, format!("{} pods were evicted", figures.moved));
        figures.check(figures.held == 0, format!("{} pods were held", figures.held));
        Ok(figures)
    }

    /// What a data centre with power again must come to, while both primaries are in `primary`.
    pub(super) fn returns(&self, scene: u8, event: &str, site: Site, primary: Site) -> Result<Figures> {
        let course = Course::of(self.bed, &Site::TWO, || self.bed.lab.site(site, SiteAction::Start))?;
        let goals = self.whole(&course, site);
        let times = course.until(&goals)?;
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((scene, event), &times, false);
        self.check_primaries(&mut figures, primary);
        let failures = figures.transport_failures;
        figures.check(failures == 0, format!("{failures} requests failed"));
        figures.check(figures.moved == 0, format!("{} pods were moved again", figures.moved));
        Ok(figures)
    }

    /// What a broken link that is whole again must come to.
    fn heals(&self, primary: Site, heal: impl FnOnce() -> Result<()>, moves: bool) -> Result<Figures> {
        let course = Course::of(self.bed, &Site::TWO, heal)?;
        let goals = self.whole(&course, Dc1);
        let times = course.until(&goals)?;
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((4, "the link is back"), &times, moves);
        if !moves {
            self.check_primaries(&mut figures, primary);
        }
        Ok(figures)
    }

    /// Everything is as if nothing had been.
    pub(super) fn whole<'s>(&'s self, course: &'s Course<'_>, back: Site) -> Vec<Goal<'s>> {
        vec![
            course.writes(),
            course.led(),
            course.known(),
            course.labels(),
            course.near(),
            course.ready_nodes(&Site::TWO),
            ("replicas stream", self.replicas_stream()),
            ("its API server is ready", Box::new(move || self.bed.api_server_is_ready(back))),
            ("every role has two pods in each data centre", self.roles(&Site::TWO)),
        ]
    }

    pub(super) fn tell(&self, scene: &str, what: &str) {
        println!();
        self.bed.clock.say(&format!("scene {scene}: {what}"));
    }

    pub(super) fn primaries_in(&self, site: Site) -> Box<dyn Fn() -> bool + '_> {
        let (kine, shop) = (format!("kine{}", site.index()), format!("pg{}", site.index()));
        let clients = &self.bed.clients;
        Box::new(move || {
            clients.kine_primary().as_ref() == Some(&kine) && clients.shop_primary().as_ref() == Some(&shop)
        })
    }

    pub(super) fn no_primaries(&self) -> Box<dyn Fn() -> bool + '_> {
        Box::new(|| self.bed.clients.kine_primary().is_none() && self.bed.clients.shop_primary().is_none())
    }

    pub(super) fn is_frozen(&self, site: Site) -> Box<dyn Fn() -> bool + '_> {
        Box::new(move || !self.bed.api_server_is_ready(site))
    }

    fn roles<'s>(&'s self, sites: &'s [Site]) -> Box<dyn Fn() -> bool + 's> {
        Box::new(|| self.bed.roles_are_two_in(sites))
    }

    /// Both databases have a primary, and a replica that follows it.
    fn replicas_stream(&self) -> Box<dyn Fn() -> bool + '_> {
        let well = |members: &[MemberState]| {
            members.iter().any(MemberState::is_primary) && members.iter().any(MemberState::is_streaming)
        };
        Box::new(move || {
            let databases = [self.bed.lab.members(), self.bed.lab.kine_members()];
            databases.into_iter().all(|members| members.is_ok_and(|members| well(&members)))
        })
    }

    pub(super) fn check_primaries(&self, figures: &mut Figures, site: Site) {
        figures.check(self.primaries_in(site)(), format!("not both primaries are in {site}"));
    }

    pub(super) fn epoch(&self) -> u64 {
        self.bed.scene.seen().epoch()
    }

    fn condition(&self, name: &str) -> Option<String> {
        let seen = self.bed.scene.seen();
        let conditions = seen.database["conditions"].as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == name)?;
        Some(condition["status"].as_str()?.to_owned())
    }
}
