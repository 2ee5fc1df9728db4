use super::*;
use crate::core::{
    distance::tier::Tier,
    movement::{journal::Trace, ways::Way, workloads::WorkloadKey},
    testing::{at, instant},
};

fn underway(namespace: &str) -> Underway {
    Underway {
        way: Ok(Way::Evict),
        workload: WorkloadKey { namespace: namespace.into(), ..WorkloadKey::default() },
        pod: "web-1".into(),
        uid: "1".into(),
        from: "b1".into(),
        from_tier: Tier::Far,
        started: at(0),
        since: instant(0),
        pods: 1,
        trace: Trace::default(),
    }
}

#[test]
fn a_namespace_has_its_share_and_a_minute_its_number() {
    let limits = Limits { per_namespace: Some(2), per_minute: Some(4), begun: 1 };
    let mut taken = Taken::by(&[underway("shop")], limits);
    assert_eq!(taken.allow("shop"), Ok(()));
    taken.take("shop");
    assert_eq!(taken.allow("shop"), Err(HeldReason::PerNamespace { limit: 2 }));
    assert_eq!(taken.allow("bank"), Ok(()), "others have theirs");
    taken.take("bank");
    taken.take("mail");
    assert_eq!(taken.allow("blog"), Err(HeldReason::PerMinute { limit: 4 }));
}

#[test]
fn without_limits_there_are_none() {
    let moves: Vec<Underway> = (0..1000).map(|_| underway("shop")).collect();
    let mut taken = Taken::by(&moves, Limits { begun: 1000, ..Limits::default() });
    taken.take("shop");
    assert_eq!(taken.allow("shop"), Ok(()));
}
