//! Whatever a namespace and a pod say in labels and annotations: nothing is refused, each wrong value is one warning,
//! and what it should have replaced stays.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use serde_json::{Value, json};
use switchover::{
    admission::{self, Outcome},
    core::{
        affinity::Namespace,
        follow::{Annotations, Follow, MOST_DATABASES, NotFollowing},
        keys,
    },
};
use switchover_fuzz::{LONGEST_WARNING, Text, WORLD, said, view};

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Says<'a> {
    follow: Option<Text<'a>>,
    affinity: Option<Text<'a>>,
    weight: Option<Text<'a>>,
    move_: Option<Text<'a>>,
}

impl<'a> Says<'a> {
    fn annotations(self) -> Annotations<'a> {
        let text = |text: Option<Text<'a>>| text.map(Text::text);
        Annotations {
            follow: text(self.follow),
            affinity: text(self.affinity),
            weight: text(self.weight),
            move_: text(self.move_),
        }
    }
}

/// The first that can be read, the pod's before the namespace's; and how many before it could not be.
fn said_by<T>(pod: Option<&str>, namespace: Option<&str>, read: impl Fn(&str) -> Option<T>) -> (Option<T>, usize) {
    let mut wrong = 0;
    for text in [pod, namespace].into_iter().flatten() {
        match read(text.trim()) {
            Some(value) => return (Some(value), wrong),
            None => wrong += 1,
        }
    }
    (None, wrong)
}

fn one_of(words: [&'static str; 3]) -> impl Fn(&str) -> Option<&'static str> {
    move |text| words.into_iter().find(|word| *word == text)
}

fn resolved(label: Option<&str>, namespace: &Annotations<'_>, pod: &Annotations<'_>) -> Follow {
    let lookup =
        |name: &str| WORLD.databases.iter().find(|(known, _)| *known == name).map(|(_, known)| &known.defaults);
    let follow = Follow::resolve(label, namespace, pod, lookup);
    for mistake in &follow.mistakes {
        let line = mistake.to_string();
        assert!(line.chars().count() <= LONGEST_WARNING && !line.chars().any(char::is_control), "{line:?}");
    }
    let (mode, modes) = said_by(pod.affinity, namespace.affinity, one_of(["preferred", "avoid-far", "required"]));
    let (weight, weights) =
        said_by(pod.weight, namespace.weight, |text| text.parse().ok().filter(|weight| (1..=100u8).contains(weight)));
    let (move_mode, moves) = said_by(pod.move_, namespace.move_, one_of(["evict", "restart", "never"]));
    match &follow.databases {
        Ok(databases) => {
            assert!((1..=MOST_DATABASES).contains(&databases.len()), "{follow:?}");
            for database in databases {
                let defaults = lookup(&database.name).expect("a database that exists");
                assert_eq!(database.node_label, defaults.node_label);
                assert_eq!(database.mode.as_str(), mode.unwrap_or(defaults.mode.as_str()));
                assert_eq!(database.weight.closely(), weight.unwrap_or(defaults.weight.closely()));
                assert_eq!(database.move_mode.as_str(), move_mode.unwrap_or(defaults.move_mode.as_str()));
            }
            let of_settings = |key| [keys::AFFINITY, keys::WEIGHT, keys::MOVE].contains(&key);
            let mistakes = follow.mistakes.iter().filter(|mistake| of_settings(mistake.key)).count();
            assert_eq!(mistakes, modes + weights + moves, "{follow:?}");
        }
        Err(NotFollowing::NotOptedIn) => assert!(label.is_none()),
        Err(NotFollowing::OptedOut) => {
            assert!([label, namespace.follow, pod.follow].iter().flatten().any(|text| text.contains("none")));
        }
        Err(NotFollowing::NoSuchDatabase) => assert!(!follow.mistakes.is_empty()),
        Err(NotFollowing::Refused) => unreachable!("only a decision knows who is refused"),
    }
    follow
}

/// The request for a pod with these annotations.
fn review(pod: &Annotations<'_>) -> Value {
    let mut annotations = json!({});
    for (key, value) in [
        (keys::FOLLOW, pod.follow),
        (keys::AFFINITY, pod.affinity),
        (keys::WEIGHT, pod.weight),
        (keys::MOVE, pod.move_),
    ] {
        if let Some(value) = value {
            annotations[key] = json!(value);
        }
    }
    json!({"apiVersion": admission::API_VERSION, "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "namespace": "shop",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": {"metadata": {"annotations": annotations}, "spec": {}},
    }})
}

fuzz_target!(|input: (Option<Text<'_>>, Says<'_>, Says<'_>)| {
    let (label, namespace, pod) = input;
    let (label, namespace, pod) = (label.map(Text::text), namespace.annotations(), pod.annotations());
    let follow = resolved(label, &namespace, &pod);

    let own = |text: Option<&str>| text.map(Into::into);
    let facts = Namespace {
        label: own(label),
        follow: own(namespace.follow),
        affinity: own(namespace.affinity),
        weight: own(namespace.weight),
        move_: own(namespace.move_),
    };
    let answer = admission::review(review(&pod).to_string().as_bytes(), &view([("shop", facts)]), WORLD.now);
    let said = said(&answer).expect("an answer");
    assert!(!matches!(answer.outcome, Outcome::Failed(_)), "{:?}", answer.outcome);
    assert_eq!(said.patch.is_some(), follow.databases.is_ok(), "{follow:?}");
    let told: Vec<String> = answer.warnings.iter().map(ToString::to_string).collect();
    for mistake in &follow.mistakes {
        assert!(told.contains(&mistake.to_string()), "{told:?} lacks {mistake}");
    }
});
