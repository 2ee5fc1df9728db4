//! Events about wrong values on pods. The answer carries a warning, too, but a pod's creator is most often a controller, and
//! nobody reads what a controller is warned of.
//!
//! Wrong values on a namespace are told on the namespace, by the controller.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::WebhookMetrics;
use crate::{
    admission::Subject,
    cluster::{EventReason, Notice, Notices, reference},
    core::follow::Mistake,
};

/// Events of one replica in each [`WINDOW`] about one namespace, and about all: whoever rolls out a wrong value everywhere
/// must not fill etcd with it, nor hide what others wrote wrong.
const MOST: u32 = 10;
const MOST_IN_ALL: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);

/// Hands events to whoever publishes them in the background; nothing waits for them.
#[derive(Debug)]
pub(super) struct Events {
    notices: Notices,
    budget: Mutex<Budget>,
    metrics: WebhookMetrics,
}

#[derive(Debug)]
struct Budget {
    /// Events of the window by namespace: no more than [`MOST_IN_ALL`].
    told: HashMap<String, u32>,
    /// Beginning of the window.
    since: Instant,
}

impl Budget {
    fn new(since: Instant) -> Self {
        Self { told: HashMap::new(), since }
    }

    fn take(&mut self, namespace: &str, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            *self = Self::new(now);
        }
        let of_this = self.told.get(namespace).copied().unwrap_or(0);
        let allowed = of_this < MOST && self.told.values().sum::<u32>() < MOST_IN_ALL;
        if allowed {
            self.told.insert(namespace.to_owned(), of_this + 1);
        }
        allowed
    }
}

impl Events {
    #[must_use]
    pub(super) fn new(notices: Notices, metrics: WebhookMetrics) -> Self {
        Self { notices, budget: Mutex::new(Budget::new(Instant::now())), metrics }
    }

    /// Tells of a wrong value on the pod's controller, or on the pod itself if it has none. Who calls sees to it that the
    /// same is not told again and again.
    pub(super) fn tell(&self, subject: &Subject, mistake: &Mistake, now: Instant) {
        let allowed = self.budget.lock().take(&subject.namespace, now);
        let result = if !allowed {
            "too_many"
        } else if self.notices.send(notice(subject, mistake)) {
            "queued"
        } else {
            "queue_full"
        };
        self.metrics.event(result);
    }
}

fn notice(subject: &Subject, mistake: &Mistake) -> Notice {
    let Subject { namespace, api_version, kind, name, uid, .. } = subject;
    Notice {
        about: reference(api_version, kind, Some(namespace), name, uid),
        warning: true,
        reason: EventReason::WrongValue,
        action: "Admit",
        note: format!("{mistake}; the default applies"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        admission::{self, tests as reviews},
        cluster::QUEUE,
        core::follow::{Place, Wrong},
        webhook::{Cache, Handler, WebhookConfig},
    };

    #[test]
    fn a_wrong_value_of_many_pods_is_told_once_of_their_owner_and_never_for_a_dry_run() {
        let (notices, mut told) = Notices::channel();
        let metrics = WebhookMetrics::register(&mut crate::metrics::registry());
        let config = WebhookConfig::default();
        let cache = Cache::new("switchover-system", config.facts_ttl, metrics.clone());
        let handler = Handler::following(&cache, notices, metrics, &config);
        let now = Instant::now();
        let mut view = reviews::view(now);
        for namespace in std::sync::Arc::make_mut(&mut view.namespaces).values_mut() {
            namespace.weight = Some("0".into());
        }
        let mut ask = |owner: &str, value: &str, dry_run: bool| {
            let mut request = reviews::request("shop", reviews::pod());
            request["request"]["dryRun"] = dry_run.into();
            let metadata = &mut request["request"]["object"]["metadata"];
            metadata["annotations"] = json!({"switchover.dev/affinity": value});
            metadata["ownerReferences"][0]["name"] = owner.into();
            let answer = admission::review(request.to_string().as_bytes(), &view, now);
            assert_eq!(
                answer.warnings.len(),
                1 + usize::from(value == "soft"),
                "the namespace's own is warned of, too"
            );
            handler.tell(&answer, now);
            std::iter::from_fn(|| told.try_recv().ok()?.about.name).collect::<Vec<_>>()
        };
        assert_eq!(ask("web", "soft", true), [""; 0]);
        assert_eq!(ask("web", "soft", false), ["web"]);
        assert_eq!(ask("web", "soft", false), [""; 0]);
        assert_eq!(ask("other", "soft", false), ["other"]);
        assert_eq!(ask("right", "preferred", false), [""; 0]);
    }

    /// Tells so often of the same wrong value at the same time; how often which result has been counted since the beginning:
    /// queued, too many, queue full.
    fn tell(events: &Events, times: u32, now: Instant) -> [u64; 3] {
        let subject = Subject {
            namespace: "shop".into(),
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: "web-5d8".into(),
            uid: "r".into(),
            dry_run: false,
        };
        let key = crate::core::keys::WEIGHT;
        let mistake = Mistake { place: Place::PodAnnotation, key, value: "much".into(), wrong: Wrong::Weight };
        for _ in 0..times {
            events.tell(&subject, &mistake, now);
        }
        ["queued", "too_many", "queue_full"].map(|result| events.metrics.events_counted(result))
    }

    #[test]
    fn one_namespace_hides_no_other_and_all_together_are_bounded() {
        let mut budget = Budget::new(Instant::now());
        let mut told = |namespace: &str| (0..15).filter(|_| budget.take(namespace, Instant::now())).count();
        assert_eq!([told("loud"), told("loud"), told("quiet")], [10, 0, 10]);
        assert_eq!((0..20).map(|n| told(&n.to_string())).sum::<usize>(), 80);
    }

    #[test]
    fn ten_a_minute_are_told_and_the_rest_is_counted() {
        let (notices, mut told) = Notices::channel();
        let events = Events::new(notices, WebhookMetrics::register(&mut crate::metrics::registry()));
        let now = Instant::now();
        assert_eq!(tell(&events, 12, now), [10, 2, 0]);
        assert_eq!(tell(&events, 1, now + WINDOW), [11, 2, 0]);

        let first = told.try_recv().unwrap();
        assert_eq!(first.about, reference("apps/v1", "ReplicaSet", Some("shop"), "web-5d8", "r"));
        assert_eq!(
            first.note,
            "pod annotation switchover.dev/weight \"much\": write a weight of 1 to 100; the default applies"
        );
        assert_eq!(std::iter::from_fn(|| told.try_recv().ok()).count(), 10);
    }

    #[test]
    fn when_nobody_publishes_the_queue_fills_and_what_comes_after_is_dropped_and_counted() {
        let (notices, mut told) = Notices::channel();
        let events = Events::new(notices, WebhookMetrics::register(&mut crate::metrics::registry()));
        let mut now = Instant::now();
        let mut full = [0; 3];
        let minutes = u32::try_from(QUEUE).unwrap() / MOST + 1;
        for _ in 0..minutes {
            full = tell(&events, MOST, now);
            now += WINDOW;
        }
        let (queued, dropped) = (QUEUE as u64, u64::from(minutes * MOST) - QUEUE as u64);
        assert!(dropped > 0);
        assert_eq!(full, [queued, 0, dropped]);

        told.try_recv().unwrap();
        assert_eq!(tell(&events, 2, now), [queued + 1, 0, dropped + 1], "there was room for one");
        drop(told);
        assert_eq!(tell(&events, 1, now + WINDOW), [queued + 1, 0, dropped + 2], "nobody will ever publish");
    }
}
