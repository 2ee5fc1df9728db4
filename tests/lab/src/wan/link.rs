//! What a link between two sites does to packets, how it is changed, and how it is shown.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::site::Site;

/// The default jitter, as a part of the round trip.
const JITTER: f64 = 0.02;

/// Nobody means a round trip longer than this.
const RTT_MAX: Duration = Duration::from_secs(10);

/// What one may write, for error messages.
const SYNTAX: &str = "write for example `20ms`, `20ms jitter 2ms`, `loss 5%`, `cut` or `heal`";

/// How a link treats packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// The round trip: each direction takes half of it.
    pub rtt: Duration,
    /// How far a round trip strays from `rtt`, up or down.
    pub jitter: Duration,
    /// 0.0 to 1.0, for each direction.
    pub loss: f64,
    pub cut: bool,
}

impl Shape {
    /// The distances of the lab: dc1 and dc2 near each other, dc3 far from both.
    pub fn default_between(a: Site, b: Site) -> Shape {
        use Site::{ControlPlane, Dc1, Dc2, Dc3};
        let rtt = Duration::from_micros(match (a.min(b), a.max(b)) {
            (Dc1, Dc2) => 8_000,
            (Dc1, Dc3) => 20_000,
            (Dc2, Dc3) => 22_000,
            // Everybody is near the control plane, so that Kubernetes itself never is what is slow.
            (ControlPlane, _) | (Dc1, _) | (Dc2, _) | (Dc3, _) => 300,
        });
        Shape { rtt, jitter: rtt.mul_f64(JITTER), loss: 0.0, cut: false }
    }
}

/// A change of a link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LinkChange {
    /// What is `None` stays as it is; a new round trip without a jitter gets the default part of it.
    /// A link that is cut stays cut.
    Shape { rtt: Option<Duration>, jitter: Option<Duration>, loss: Option<f64> },
    /// Nothing passes.
    Cut,
    /// Back to the default.
    Heal,
}

impl LinkChange {
    /// Reads what a person typed after the two sites.
    pub fn parse(words: &[String]) -> Result<LinkChange> {
        let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
        match words[..] {
            [] => bail!("it is not said what the link should become; {SYNTAX}"),
            ["cut"] => return Ok(LinkChange::Cut),
            ["heal"] => return Ok(LinkChange::Heal),
            _ => {}
        }
        let (mut rtt, mut jitter, mut loss) = (None, None, None);
        let mut rest = words.iter().copied();
        while let Some(word) = rest.next() {
            match word {
                "jitter" => jitter = Some(duration(rest.next().context("`jitter` needs a time, e.g. `jitter 2ms`")?)?),
                "loss" => loss = Some(percent(rest.next().context("`loss` needs a percentage, e.g. `loss 5%`")?)?),
                "cut" | "heal" => bail!("`{word}` stands alone, but here it came with others: `{}`", words.join(" ")),
                _ if rtt.is_none() => rtt = Some(duration(word)?),
                _ => bail!("a link has one round trip, but `{}` names a second: {word}; {SYNTAX}", words.join(" ")),
            }
        }
        if let (Some(rtt), Some(jitter)) = (rtt, jitter) {
            ensure!(
                jitter <= rtt,
                "a jitter of {jitter:?} is larger than the round trip of {rtt:?}; write a smaller one"
            );
        }
        Ok(LinkChange::Shape { rtt, jitter, loss })
    }
}

fn duration(word: &str) -> Result<Duration> {
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0)];
    let seconds = units
        .into_iter()
        .find_map(|(unit, factor)| Some(word.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
        .with_context(|| format!("`{word}` is not a time; {SYNTAX}"))?;
    ensure!(seconds <= RTT_MAX.as_secs_f64(), "`{word}` is more than {} s; write a shorter time", RTT_MAX.as_secs());
    Ok(Duration::from_secs_f64(seconds))
}

fn percent(word: &str) -> Result<f64> {
    let number = word.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let number = number.with_context(|| format!("`{word}` is not a percentage; write for example `loss 5%`"))?;
    ensure!((0.0..=100.0).contains(&number), "`{word}` is not between 0% and 100%");
    Ok(number / 100.0)
}

/// What happened to packets. Every packet that came is in exactly one of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub forwarded: u64,
    /// Lost by chance, as asked.
    pub lost: u64,
    /// Came while the link was cut.
    pub cut: u64,
    /// Found a queue or the packet memory full, or was refused by the device: the WAN was too slow.
    pub overflowed: u64,
}

impl Counts {
    fn plus(self, other: Counts) -> Counts {
        Counts {
            forwarded: self.forwarded + other.forwarded,
            lost: self.lost + other.lost,
            cut: self.cut + other.cut,
            overflowed: self.overflowed + other.overflowed,
        }
    }
}

/// One direction between two sites.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub shape: Shape,
    pub counts: Counts,
}

impl Link {
    pub(super) fn apply(&mut self, change: &LinkChange, a: Site, b: Site) {
        match *change {
            LinkChange::Cut => self.shape.cut = true,
            LinkChange::Heal => self.shape = Shape::default_between(a, b),
            LinkChange::Shape { rtt, jitter, loss } => {
                if let Some(rtt) = rtt {
                    self.shape.rtt = rtt;
                    self.shape.jitter = rtt.mul_f64(JITTER);
                }
                if let Some(jitter) = jitter {
                    self.shape.jitter = jitter.min(self.shape.rtt);
                }
                if let Some(loss) = loss {
                    self.shape.loss = loss;
                }
            }
        }
    }
}

/// All directions, by source and destination.
#[derive(Debug)]
pub(super) struct Links {
    pairs: [[Link; Site::ALL.len()]; Site::ALL.len()],
    /// Hosts that are cut off a site, by their addresses.
    pub severed: BTreeSet<(Ipv4Addr, Site)>,
}

impl Default for Links {
    fn default() -> Links {
        let link = |a, b| Link { shape: Shape::default_between(a, b), counts: Counts::default() };
        Links { pairs: Site::ALL.map(|a| Site::ALL.map(|b| link(a, b))), severed: BTreeSet::new() }
    }
}

impl Links {
    pub(super) fn between(&mut self, from: Site, to: Site) -> &mut Link {
        &mut self.pairs[from.index()][to.index()]
    }

    /// Whether a host is cut off the site that the other one is in.
    pub(super) fn severs(&self, from: (Ipv4Addr, Site), to: (Ipv4Addr, Site)) -> bool {
        self.severed.contains(&(from.0, to.1)) || self.severed.contains(&(to.0, from.1))
    }

    pub(super) fn states(&self) -> Vec<LinkState> {
        let pairs = Site::ALL.into_iter().flat_map(|a| Site::ALL.into_iter().map(move |b| (a, b)));
        let state = |(a, b): (Site, Site)| {
            let (there, back) = (self.pairs[a.index()][b.index()], self.pairs[b.index()][a.index()]);
            LinkState {
                a,
                b,
                rtt_us: there.shape.rtt.as_micros() as u64,
                jitter_us: there.shape.jitter.as_micros() as u64,
                loss_percent: there.shape.loss * 100.0,
                cut: there.shape.cut,
                counts: if a == b { there.counts } else { there.counts.plus(back.counts) },
            }
        };
        pairs.filter(|(a, b)| a <= b).map(state).collect()
    }
}

/// One pair of sites for people and programs: settings, and what both directions carried together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkState {
    pub a: Site,
    pub b: Site,
    pub rtt_us: u64,
    pub jitter_us: u64,
    pub loss_percent: f64,
    pub cut: bool,
    pub counts: Counts,
}

/// The line above rows of [`LinkState`].
pub fn table_header() -> String {
    format!("{:<9} {:>9} {:>9} {:>6} {:>10} {:>7} {:>7}", "LINK", "RTT", "JITTER", "LOSS", "PACKETS", "LOST", "STATE")
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| format!("{:.2} ms", us as f64 / 1000.0);
        let pair = format!("{}-{}", self.a, self.b);
        let lost = self.counts.lost + self.counts.cut + self.counts.overflowed;
        write!(
            f,
            "{pair:<9} {:>9} {:>9} {:>4} % {:>10} {lost:>7} {:>7}",
            ms(self.rtt_us),
            ms(self.jitter_us),
            self.loss_percent,
            self.counts.forwarded,
            if self.cut { "cut" } else { "open" }
        )?;
        if self.counts.overflowed > 0 {
            write!(f, "  ({} did not fit the WAN's queues)", self.counts.overflowed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LinkChange, String> {
        LinkChange::parse(&[text.to_owned()]).map_err(|error| error.to_string())
    }

    fn shape(rtt_us: Option<u64>, jitter_us: Option<u64>, loss: Option<f64>) -> Result<LinkChange, String> {
        let (rtt, jitter) = (rtt_us.map(Duration::from_micros), jitter_us.map(Duration::from_micros));
        Ok(LinkChange::Shape { rtt, jitter, loss })
    }

    #[test]
    fn a_change_reads_as_people_write_it() {
        assert_eq!(parse("20ms"), shape(Some(20_000), None, None));
        assert_eq!(parse("0.3ms"), shape(Some(300), None, None));
        assert_eq!(parse("300us"), shape(Some(300), None, None));
        assert_eq!(parse("1s"), shape(Some(1_000_000), None, None));
        assert_eq!(parse("20ms jitter 2ms"), shape(Some(20_000), Some(2_000), None));
        assert_eq!(parse("loss 5%"), shape(None, None, Some(0.05)));
        assert_eq!(parse("20ms loss 0.5% jitter 0ms"), shape(Some(20_000), Some(0), Some(0.005)));
        assert_eq!(parse("cut"), Ok(LinkChange::Cut));
        assert_eq!(parse("heal"), Ok(LinkChange::Heal));
        let words = ["20ms", "jitter", "2ms"].map(str::to_owned);
        assert_eq!(LinkChange::parse(&words).unwrap(), parse("20ms jitter 2ms").unwrap());
    }

    #[test]
    fn a_wrong_change_is_refused_with_what_to_write() {
        for (text, part) in [
            ("", "not said"),
            ("20", "`20` is not a time; write for example `20ms`"),
            ("-1ms", "not a time"),
            ("NaNms", "not a time"),
            ("11s", "more than 10 s"),
            ("20ms 30ms", "a second: 30ms"),
            ("20ms jitter", "`jitter` needs a time"),
            ("20ms jitter 21ms", "larger than the round trip"),
            ("loss", "`loss` needs a percentage"),
            ("loss 5", "`5` is not a percentage"),
            ("loss 101%", "not between 0% and 100%"),
            ("cut 20ms", "`cut` stands alone"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text:?} was refused with: {error}");
        }
    }

    #[test]
    fn heal_goes_back_to_the_default_and_a_delay_keeps_a_cut() {
        let mut links = Links::default();
        let link = links.between(Site::Dc1, Site::Dc3);
        link.apply(&LinkChange::Cut, Site::Dc1, Site::Dc3);
        link.apply(&parse("50ms loss 5%").unwrap(), Site::Dc1, Site::Dc3);
        let expected =
            Shape { rtt: Duration::from_millis(50), jitter: Duration::from_millis(1), loss: 0.05, cut: true };
        assert_eq!(link.shape, expected);
        link.apply(&LinkChange::Heal, Site::Dc1, Site::Dc3);
        assert_eq!(link.shape, Shape::default_between(Site::Dc3, Site::Dc1));
        assert_eq!(link.shape.rtt, Duration::from_millis(20));
    }

    #[test]
    fn there_are_ten_pairs_and_each_is_a_row() {
        let rows: Vec<String> = Links::default().states().iter().map(LinkState::to_string).collect();
        assert_eq!(rows.len(), 10);
        assert!(rows.iter().any(|row| row.starts_with("dc2-dc3    22.00 ms")), "{rows:#?}");
    }
}
