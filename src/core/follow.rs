//! What one pod asks for: whom it follows, how hard, and how it may be moved.
//!
//! Admission and the movement both ask here, so that they can't disagree about who follows what.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray, VariantNames};

use crate::core::{keys, label_key::LabelKey, words::plain};

/// How admission expresses the wish to be near the primary.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema, VariantArray)]
#[serde(rename_all = "kebab-case")]
pub enum AffinityMode {
    /// Two weighted terms: closely above intermediate.
    #[default]
    Preferred,
    /// Far nodes are excluded, closely ones preferred.
    AvoidFar,
    /// Closely nodes only.
    Required,
}

impl AffinityMode {
    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::AvoidFar => "avoid-far",
            Self::Required => "required",
        }
    }

    fn read(text: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|mode| mode.as_str() == text)
    }
}

/// How a pod on a far node is brought nearer.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema, VariantArray)]
#[serde(rename_all = "kebab-case")]
pub enum MoveMode {
    /// By eviction where others of its workload go on serving. A single replica is restarted by its Deployment if that starts the
    /// new pod before it ends the old one, and stays otherwise.
    #[default]
    Auto,
    /// By the Eviction API: disruption budgets are respected. A single replica is away until its replacement is Ready.
    Evict,
    /// By a rolling restart of the workload: new pods before old ones go.
    Restart,
    /// Not at all.
    Never,
}

impl MoveMode {
    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Evict => "evict",
            Self::Restart => "restart",
            Self::Never => "never",
        }
    }

    /// What [`MoveMode::as_str`] says.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|mode| mode.as_str() == text)
    }
}

/// Weight of the closely term, 1 to 100; the intermediate term weighs half, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weight(u8);

impl Weight {
    /// `None` outside 1 to 100.
    #[must_use]
    pub const fn new(weight: u8) -> Option<Self> {
        if 1 <= weight && weight <= 100 { Some(Self(weight)) } else { None }
    }

    #[must_use]
    pub const fn closely(self) -> u8 {
        self.0
    }

    #[must_use]
    pub const fn intermediate(self) -> u8 {
        if self.0 < 2 { 1 } else { self.0 / 2 }
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(100)
    }
}

/// What one object (a namespace or a pod) says in its annotations, each value as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Annotations<'a> {
    /// [`keys::FOLLOW`]
    pub follow: Option<&'a str>,
    /// [`keys::AFFINITY`]
    pub affinity: Option<&'a str>,
    /// [`keys::WEIGHT`]
    pub weight: Option<&'a str>,
    /// [`keys::MOVE`]
    pub move_: Option<&'a str>,
}

impl<'a> Annotations<'a> {
    /// Picks them by key, such as from a map: `Annotations::pick(|key| map.get(key).map(String::as_str))`.
    pub fn pick(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self {
            follow: get(keys::FOLLOW),
            affinity: get(keys::AFFINITY),
            weight: get(keys::WEIGHT),
            move_: get(keys::MOVE),
        }
    }
}

/// Whether this is a namespace whose pods neither admission nor the movement ever touches, whatever its label says: the system's, and
/// the one that switchover itself runs in.
#[must_use]
pub fn is_left_alone(namespace: &str, own_namespace: &str) -> bool {
    namespace == "kube-system" || namespace == own_namespace
}

/// What a database's own object says for pods that don't say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseDefaults {
    /// Key of the node label that carries the tier.
    pub node_label: LabelKey,
    pub mode: AffinityMode,
    pub weight: Weight,
    pub move_mode: MoveMode,
}

/// One database that a pod follows, with everything that was said about how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedDatabase {
    pub name: Arc<str>,
    /// Key of the node label that carries the tier.
    pub node_label: LabelKey,
    pub mode: AffinityMode,
    pub weight: Weight,
    pub move_mode: MoveMode,
}

/// Why a pod follows no database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum NotFollowing {
    NotOptedIn,
    OptedOut,
    NoSuchDatabase,
    /// The controller refuses each of them.
    Refused,
}

impl fmt::Display for NotFollowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOptedIn => "the namespace has no label switchover.dev/follow",
            Self::OptedOut => "switchover.dev/follow says none",
            Self::NoSuchDatabase => "none of the databases named by switchover.dev/follow exists",
            Self::Refused => "the databases are not followed themselves: see their condition Accepted",
        })
    }
}

/// Where a wrong value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    NamespaceLabel,
    NamespaceAnnotation,
    PodAnnotation,
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// Not a list of names, nor `none`.
    Names,
    /// `none` beside a name.
    NoneWithNames,
    /// A database that doesn't exist.
    NoSuchDatabase,
    /// More than [`MOST_DATABASES`].
    TooMany,
    Mode,
    Weight,
    Move,
}

/// One value that could not be taken as written. What applies in its place is the next default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    pub key: &'static str,
    /// The first characters of the value.
    pub value: String,
    pub wrong: Wrong,
}

impl Mistake {
    fn new(place: Place, key: &'static str, value: &str, wrong: Wrong) -> Self {
        const MOST: usize = 24;
        // It goes into an HTTP header and into log lines: printable, on one line and short.
        let shown = |c: char| if c == '"' { '?' } else { plain(c) };
        let mut shown: String = value.chars().take(MOST).map(shown).collect();
        if value.chars().nth(MOST).is_some() {
            shown.push('…');
        }
        Self { place, key, value: shown, wrong }
    }
}

impl fmt::Display for Mistake {
    /// One sentence of at most 120 characters that says what was wrong, where, and what to write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::NamespaceLabel => "namespace label",
            Place::NamespaceAnnotation => "namespace annotation",
            Place::PodAnnotation => "pod annotation",
        };
        let advice = match (self.wrong, self.place) {
            (Wrong::Names, Place::NamespaceLabel) => "write a database or none",
            (Wrong::Names, _) => "write databases (a,b) or none",
            (Wrong::NoneWithNames, _) => "write none on its own",
            (Wrong::NoSuchDatabase, _) => "no such DatabaseCluster",
            (Wrong::TooMany, _) => "write at most 8 names",
            (Wrong::Mode, _) => "write preferred, avoid-far or required",
            (Wrong::Weight, _) => "write a weight of 1 to 100",
            (Wrong::Move, _) => "write auto, evict, restart or never",
        };
        write!(f, "{place} {} \"{}\": {advice}", self.key, self.value)
    }
}

/// One pod follows at most so many databases; each costs up to three expressions in the pod.
pub const MOST_DATABASES: usize = 8;

/// What one pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// At least one database, each once, in the order written; or why there is none.
    pub databases: Result<Vec<FollowedDatabase>, NotFollowing>,
    /// Wrong values that were met. They never stop anything.
    pub mistakes: Vec<Mistake>,
}

impl Follow {
    /// What a pod asks for. The namespace opts in by its label, whose value names one database; its annotations refine
    /// that and give defaults; the pod's annotations override both; what nobody says, the database's object says.
    /// `lookup` gives that object's defaults by name.
    pub fn resolve<'d>(
        namespace_label: Option<&str>,
        namespace: &Annotations<'_>,
        pod: &Annotations<'_>,
        lookup: impl Fn(&str) -> Option<&'d DatabaseDefaults>,
    ) -> Self {
        let (asked, mut mistakes) = asked(namespace_label, namespace, pod);
        let databases = asked.and_then(|Asked { place, names, mode, weight, move_mode }| {
            let mut databases = Vec::with_capacity(1);
            for name in names {
                let Some(defaults) = lookup(name) else {
                    mistakes.push(Mistake::new(place, keys::FOLLOW, name, Wrong::NoSuchDatabase));
                    continue;
                };
                databases.push(FollowedDatabase {
                    name: name.into(),
                    node_label: defaults.node_label.clone(),
                    mode: mode.unwrap_or(defaults.mode),
                    weight: weight.unwrap_or(defaults.weight),
                    move_mode: move_mode.unwrap_or(defaults.move_mode),
                });
            }
            if databases.is_empty() { Err(NotFollowing::NoSuchDatabase) } else { Ok(databases) }
        });
        Self { databases, mistakes }
    }

    /// What of it is wrong, whatever databases there are.
    #[must_use]
    pub fn mistakes(namespace_label: Option<&str>, namespace: &Annotations<'_>, pod: &Annotations<'_>) -> Vec<Mistake> {
        asked(namespace_label, namespace, pod).1
    }
}

/// What is asked for, as far as it can be read.
struct Asked<'a> {
    /// Where the names stand.
    place: Place,
    names: Vec<&'a str>,
    mode: Option<AffinityMode>,
    weight: Option<Weight>,
    move_mode: Option<MoveMode>,
}

/// The same, and what of it is wrong.
fn asked<'a>(
    namespace_label: Option<&'a str>,
    namespace: &Annotations<'a>,
    pod: &Annotations<'a>,
) -> (Result<Asked<'a>, NotFollowing>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let asked = names(namespace_label, namespace, pod, &mut mistakes).map(|(place, names)| Asked {
        place,
        names,
        mode: said(namespace.affinity, pod.affinity, keys::AFFINITY, Wrong::Mode, &mut mistakes, AffinityMode::read),
        weight: said(namespace.weight, pod.weight, keys::WEIGHT, Wrong::Weight, &mut mistakes, |text| {
            text.parse().ok().and_then(Weight::new)
        }),
        move_mode: said(namespace.move_, pod.move_, keys::MOVE, Wrong::Move, &mut mistakes, MoveMode::read),
    });
    (asked, mistakes)
}

/// The names to follow and where they stand: the pod's word, else the namespace's annotation, else its label.
fn names<'a>(
    namespace_label: Option<&'a str>,
    namespace: &Annotations<'a>,
    pod: &Annotations<'a>,
    mistakes: &mut Vec<Mistake>,
) -> Result<(Place, Vec<&'a str>), NotFollowing> {
    // Without the label the pod never reaches admission; the movement must see it the same way.
    let label = namespace_label.ok_or(NotFollowing::NotOptedIn)?;
    for (place, value) in [
        (Place::PodAnnotation, pod.follow),
        (Place::NamespaceAnnotation, namespace.follow),
        (Place::NamespaceLabel, Some(label)),
    ] {
        let Some(value) = value else { continue };
        match read_names(value) {
            Ok(names) if names.is_empty() => return Err(NotFollowing::OptedOut),
            Ok(mut names) => {
                if names.len() > MOST_DATABASES {
                    mistakes.push(Mistake::new(place, keys::FOLLOW, value, Wrong::TooMany));
                    names.truncate(MOST_DATABASES);
                }
                return Ok((place, names));
            }
            Err(wrong) => mistakes.push(Mistake::new(place, keys::FOLLOW, value, wrong)),
        }
    }
    Err(NotFollowing::NoSuchDatabase)
}

/// `a, b` gives the names, each once; `none` gives no name.
fn read_names(value: &str) -> Result<Vec<&str>, Wrong> {
    let mut names: Vec<&str> = Vec::with_capacity(1);
    for name in value.split(',').map(str::trim) {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
            return Err(Wrong::Names);
        }
        if !names.contains(&name) && names.len() <= MOST_DATABASES {
            names.push(name);
        }
    }
    match (names.contains(&keys::FOLLOW_NONE), names.len()) {
        (true, 1) => Ok(Vec::new()),
        (true, _) => Err(Wrong::NoneWithNames),
        (false, _) => Ok(names),
    }
}

/// The pod's word if it can be read, else the namespace's if it can be read, else nothing.
fn said<T>(
    namespace: Option<&str>,
    pod: Option<&str>,
    key: &'static str,
    wrong: Wrong,
    mistakes: &mut Vec<Mistake>,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    for (place, value) in [(Place::PodAnnotation, pod), (Place::NamespaceAnnotation, namespace)] {
        let Some(value) = value else { continue };
        if let Some(value) = read(value.trim()) {
            return Some(value);
        }
        mistakes.push(Mistake::new(place, key, value, wrong));
    }
    None
}

#[cfg(test)]
mod tests;
