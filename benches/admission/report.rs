//! The figures, their goals, and how both are shown.

use std::fmt::Write as _;

use lab::measured::{load_average, machine, median, write_report, write_section};
use serde_json::{Map, json};

use crate::load::Measured;

#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    None,
}

impl Goal {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(goal) => Some(value >= goal),
            Self::AtMost(goal) => Some(value <= goal),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(goal) => format!("≥ {goal}"),
            Self::AtMost(goal) if goal < 0.1 => format!("≤ 1/{:.0}", 1.0 / goal),
            Self::AtMost(goal) => format!("≤ {goal}"),
            Self::None => String::new(),
        }
    }
}

/// One line of the report: ours against another.
pub(crate) struct Figure {
    key: &'static str,
    what: &'static str,
    goal: Goal,
    value: f64,
    /// Least and greatest over the pairs of rounds.
    range: Option<(f64, f64)>,
    /// The medians that the ratio is of.
    absolute: (f64, f64),
}

impl Figure {
    /// The median of the rounds' ratios.
    pub(crate) fn of(
        key: &'static str,
        goal: Goal,
        pairs: &[(Measured, Measured)],
        read: impl Fn(&Measured) -> f64,
    ) -> Self {
        let ratios = || pairs.iter().map(|(one, other)| read(one) / read(other));
        Self {
            key,
            what: "",
            goal,
            value: median(ratios()),
            range: Some((ratios().fold(f64::MAX, f64::min), ratios().fold(0.0, f64::max))),
            absolute: (
                median(pairs.iter().map(|(one, _)| read(one))),
                median(pairs.iter().map(|(_, other)| read(other))),
            ),
        }
    }

    /// A ratio that was measured once.
    pub(crate) fn once(key: &'static str, goal: Goal, (one, other): (f64, f64)) -> Self {
        Self { key, what: "", goal, value: one / other, range: None, absolute: (one, other) }
    }

    /// A number, not a ratio.
    pub(crate) fn counted(key: &'static str, (one, other): (f64, f64)) -> Self {
        Self { key, what: "", goal: Goal::None, value: one, range: None, absolute: (one, other) }
    }

    pub(crate) fn told(mut self, what: &'static str) -> Self {
        self.what = what;
        self
    }

    fn row(&self) -> String {
        let range = match self.range {
            Some((least, greatest)) => format!("{} to {}", shown(least), shown(greatest)),
            None if self.value == self.absolute.0 => format!("beside {}", shown(self.absolute.1)),
            None => String::new(),
        };
        let met = match self.goal.met(self.value) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        format!("| {} `{}` | {} | {range} | {} | {met} |", self.what, self.key, shown(self.value), self.goal.text())
    }
}

fn shown(value: f64) -> String {
    match value {
        10.0.. => format!("{value:.1}"),
        0.2.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub(crate) struct Report {
    quick: bool,
    figures: Vec<Figure>,
    notes: Vec<String>,
    load_before: String,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        Self { quick, figures: Vec::new(), notes: Vec::new(), load_before: load_average() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        println!("{}", figure.row());
        self.figures.push(figure);
    }

    pub(crate) fn note(&mut self, note: String) {
        println!("{note}");
        self.notes.push(note);
    }

    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let mut report = Map::new();
        let mut details = Map::new();
        for figure in &self.figures {
            report.insert(figure.key.to_owned(), json!(figure.value));
            details.insert(
                figure.key.to_owned(),
                json!({
                    "what": figure.what,
                    "min": figure.range.map(|range| range.0),
                    "max": figure.range.map(|range| range.1),
                    "goal": figure.goal.text(),
                    "met": figure.goal.met(figure.value),
                    "ours": figure.absolute.0,
                    "other": figure.absolute.1,
                }),
            );
        }
        let about = json!({
            "figures": details,
            "machine": machine(),
            "date": jiff::Timestamp::now().to_string(),
            "load_average_before": self.load_before,
            "load_average_after": load_average(),
            "notes": self.notes,
        });
        report.insert("admission".to_owned(), about);
        write_report(report)?;
        // A quick run says whether everything works, and nothing about speed.
        if self.quick { Ok(()) } else { write_section("admission", &self.section()) }
    }

    fn section(&self) -> String {
        let mut table = String::new();
        for figure in &self.figures {
            let _ = writeln!(table, "{}", figure.row());
        }
        for note in &self.notes {
            let _ = writeln!(table, "\n{note}");
        }
        include_str!("performance.md")
            .replace("{table}\n", &table)
            .replace("{machine}", &machine())
            .replace("{load}", &self.load_before)
            .replace("{load after}", &load_average())
            .replace("{date}", &jiff::Zoned::now().date().to_string())
    }
}
