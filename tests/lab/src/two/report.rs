//! The story's figures, and what they must be.

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::measured::write_json;

/// target/demo/two-centres.json
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How many scenes there are to be.
    #[serde(skip)]
    planned: usize,
    pub scenes: Vec<Figures>,
}

/// One event and what came of it. Times are seconds from the event on, as seen from outside; what doesn't happen in a scene has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// As the scenes are numbered in docs/two-data-centres.md.
    pub scene: u8,
    pub event: String,
    /// Longest time for which no write through the API server came back.
    pub api_away_s: f64,
    /// Until both databases had their new primary, as Patroni's REST says.
    pub promoted_s: Option<f64>,
    /// Until a controller that lives had renewed the Lease.
    pub led_s: Option<f64>,
    /// Until every node with power had the label that its distance asks for.
    pub labels_s: Option<f64>,
    /// Until every replica of the demo service served beside its primary.
    pub near_s: Option<f64>,
    /// To the demo service, from outside.
    pub requests: u64,
    pub transport_failures: u64,
    /// Labels that were written and weren't right for any primary that there was, and those that were wrong at the end.
    pub wrong_labels: u64,
    /// Pods that were evicted while nobody was primary, from beside the primary, or in a scene that moves none.
    pub evictions_on_doubt: u64,
    pub moved: u64,
    /// Pods that should have moved and couldn't.
    pub held: u64,
    /// Pods that a client asked for, once a second.
    pub pods_asked: u64,
    /// Of these the ones that the API server couldn't take.
    pub pods_refused: u64,
    /// Of these the ones that were taken without the product's rule: until a dead node is NotReady, the API server calls webhooks there, too.
    pub pods_without_rule: u64,
    /// The slowest that was taken.
    pub slowest_pod_ms: u64,
    /// What wasn't as it should be, in sentences.
    pub problems: Vec<String>,
}

impl Figures {
    /// Takes note of what doesn't hold.
    pub fn check(&mut self, holds: bool, problem: impl Into<String>) {
        if !holds {
            self.problems.push(problem.into());
        }
    }

    /// What went wrong after it, in what belongs to it.
    pub fn add_faults(&mut self, after: Figures) {
        self.wrong_labels += after.wrong_labels;
        self.evictions_on_doubt += after.evictions_on_doubt;
        self.problems.extend(after.problems);
    }

    fn line(&self) -> String {
        let mut parts = vec![format!("API away {:.1} s", self.api_away_s)];
        let times =
            [("promoted", self.promoted_s), ("led", self.led_s), ("labels", self.labels_s), ("near", self.near_s)];
        parts.extend(times.into_iter().filter_map(|(name, at)| Some(format!("{name} +{:.1} s", at?))));
        format!("{} {}: {}", self.scene, self.event, parts.join(", "))
    }
}

impl Report {
    /// Of so many scenes, of which none was played yet.
    #[must_use]
    pub fn of(planned: usize) -> Report {
        Report { planned, scenes: Vec::new() }
    }

    /// Of all scenes.
    pub fn problems(&self) -> Vec<String> {
        let of = |scene: &Figures| {
            let event = format!("{} {}", scene.scene, scene.event);
            scene.problems.iter().map(move |problem| format!("{event}: {problem}")).collect::<Vec<_>>()
        };
        let mut problems: Vec<String> = self.scenes.iter().flat_map(of).collect();
        if self.scenes.len() != self.planned {
            problems.push(format!("{} of {} scenes were played", self.scenes.len(), self.planned));
        }
        problems
    }

    /// Writes the file for programs.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }

    /// The last line.
    pub fn line(&self, took: Duration) -> String {
        let sum = |of: fn(&Figures) -> u64| self.scenes.iter().map(of).sum::<u64>();
        let verdict = if self.problems().is_empty() { "ok" } else { "FAILED" };
        let scenes: Vec<String> = self.scenes.iter().map(Figures::line).collect();
        format!(
            "demo-two: {verdict} in {:.0} s; {}; {} wrong labels, {} evictions on doubt",
            took.as_secs_f64(),
            scenes.join("; "),
            sum(|it| it.wrong_labels),
            sum(|it| it.evictions_on_doubt)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_scenes() -> Report {
        let scene = |number| Figures { scene: number, event: "dc1 falls".into(), ..Figures::default() };
        Report { planned: 6, scenes: [1, 1, 2, 3, 4, 4].map(scene).to_vec() }
    }

    #[test]
    fn one_problem_of_one_scene_fails_all() {
        let mut report = all_scenes();
        assert_eq!(report.problems(), Vec::<String>::new());
        report.scenes[2].check(true, "is no problem");
        report.scenes[2].check(false, "3 labels were wrong");
        assert_eq!(report.problems(), ["2 dc1 falls: 3 labels were wrong"]);
        assert!(report.line(Duration::from_secs(300)).starts_with("demo-two: FAILED in 300 s; "));
    }

    #[test]
    fn a_story_that_broke_off_has_failed() {
        let mut report = all_scenes();
        report.scenes.pop();
        assert_eq!(report.problems(), ["5 of 6 scenes were played"]);
    }

    #[test]
    fn the_line_tells_the_times_that_there_are() {
        let figures = Figures {
            scene: 2,
            event: "dc1 falls".into(),
            api_away_s: 24.26,
            promoted_s: Some(21.0),
            near_s: Some(58.71),
            ..Figures::default()
        };
        assert_eq!(figures.line(), "2 dc1 falls: API away 24.3 s, promoted +21.0 s, near +58.7 s");
    }
}
