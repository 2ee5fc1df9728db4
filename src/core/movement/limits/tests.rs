use super::*;
use crate::core::testing::underway;

fn of_namespace(namespace: &str) -> Underway {
    underway("ReplicaSet/web", 0).in_namespace(namespace)
}

#[test]
fn a_namespace_has_its_share_and_a_minute_its_number() {
    let limits = Limits { per_namespace: Some(2), per_minute: Some(4), begun: 1 };
    let mut taken = Taken::by(&[of_namespace("shop")], limits);
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
    let moves: Vec<Underway> = (0..1000).map(|_| of_namespace("shop")).collect();
    let mut taken = Taken::by(&moves, Limits { begun: 1000, ..Limits::default() });
    taken.take("shop");
    assert_eq!(taken.allow("shop"), Ok(()));
}
