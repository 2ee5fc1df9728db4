mod healthy;
mod installed;
mod working;

use std::collections::BTreeSet;

use kube::ResourceExt;
use lab::table::check_rows;
use serde_json::json;

use self::healthy::{healthy, node};
use super::{
    catalogue::CHECKS,
    facts::{Asked, Facts, Follower, Unseen, Workloads},
    judge::databases::CONDITIONS,
    shipped::Right,
    *,
};
use crate::{api::database_cluster::ConditionType, core::workload::Workload};

/// What somebody did to an installation, and what is said of it.
type Row = (&'static str, fn(&mut Facts), &'static [&'static str]);

/// Of each check that isn't right: `× id: sentence`.
fn told(facts: &Facts, before: bool) -> Vec<String> {
    let found = checks(before).map(|check| (check.id, (check.judge)(facts)));
    let bad = |mark: Mark| !matches!(mark, Mark::Right | Mark::Skipped);
    let lines = found.flat_map(|(id, found)| {
        found
            .told
            .into_iter()
            .filter(move |(mark, _)| bad(*mark))
            .map(move |(mark, said)| format!("{} {id}: {said}", mark.sign()))
    });
    lines.collect()
}

#[test]
fn nothing_is_found_where_all_is_well() {
    assert_eq!(told(&healthy(), false), [] as [&str; 0]);
    let skipped: Vec<&str> =
        checks(false).filter(|check| (check.judge)(&healthy()).mark() == Mark::Skipped).map(|check| check.id).collect();
    let unsaid = ["frozen", "movement", "labels", "credentials", "witness", "hosts", "taint", "failover", "announced"];
    let skips = [&["admission-policy"][..], &unsaid].concat();
    assert_eq!(skipped, skips, "nobody installed the policy, and of what no database says");
}

#[test]
fn before_the_installation_its_obstacles_are_found() {
    let ready = || {
        let asked = |right| Asked { role: None, right, allowed: Ok(true) };
        Facts {
            rights: shipped::rights_to_install().into_iter().map(asked).collect(),
            configurations: Ok(Vec::new()),
            definitions: Ok(Vec::new()),
            ..healthy()
        }
    };
    let refuse = |facts: &mut Facts, which: fn(&Right) -> bool| {
        facts.rights.iter_mut().filter(|it| which(&it.right)).for_each(|asked| asked.allowed = Ok(false));
    };
    assert_eq!(told(&ready(), true), [] as [&str; 0]);

    let mut namespaced = ready();
    refuse(&mut namespaced, |right| right.resource == "clusterroles" && right.by.is_empty());
    let [create, grant] =
        ["create clusterroles.rbac.authorization.k8s.io", "patch clusterroles.rbac.authorization.k8s.io"];
    assert_eq!(told(&namespaced, true), [format!("× may-install: you may not {create}; {grant}")]);

    // Whoever may do himself what a role may, may grant it.
    let mut peer = ready();
    refuse(&mut peer, |right| right.verb == "escalate");
    assert_eq!(told(&peer, true), [] as [&str; 0]);
    refuse(&mut peer, |right| right.resource == "pods/eviction");
    let told_of = "× may-install: you may not grant what the roles need (escalate clusterroles, or have it yourself): create pods/eviction";
    assert_eq!(told(&peer, true), [told_of]);

    let mut taken = ready();
    taken.configurations = healthy().configurations;
    assert_eq!(told(&taken, true), [] as [&str; 0], "an upgrade");
    taken.namespace = "acme".into();
    taken.nodes = Ok(vec![node("n1", json!({"switchover": "yes", "topology.kubernetes.io/zone": "dc1"}))]);
    assert_eq!(
        told(&taken, true),
        [
            "× in-the-way: switchover is installed already, in the namespace switchover-system (switchover)",
            "× in-the-way: somebody else uses the label switchover, which the database named default would need: n1",
        ]
    );
}

#[test]
fn nobody_can_tell_of_what_nobody_may_see() {
    let no = || Unseen("it can't be seen: forbidden".to_owned());
    let mut facts = Facts {
        served: Err(no()),
        nodes: Err(no()),
        namespaces: Err(no()),
        definitions: Err(no()),
        configurations: Err(no()),
        policies: Err(no()),
        bindings: Err(no()),
        injecting: Err(no()),
        workloads: Err(no()),
        lease: Err(no()),
        latencies: Err(no()),
        databases: Err(no()),
        followers: Err(no()),
        certificates: Vec::new(),
        tried: Vec::new(),
        reached: Vec::new(),
        ..healthy()
    };
    facts.rights.iter_mut().for_each(|asked| asked.allowed = Err(no()));
    let marks = |facts: &Facts| checks(false).map(|check| (check.judge)(facts).mark()).collect::<BTreeSet<Mark>>();
    let expected = BTreeSet::from([Mark::Right, Mark::Skipped, Mark::Unclear]);
    assert_eq!(marks(&facts), expected, "the version is known");
    // Whoever sees that there is no Deployment doesn't know yet that nobody runs.
    facts.workloads = Ok(Workloads::default());
    assert_eq!(marks(&facts), expected);
    assert_eq!(verdict(expected.into_iter()), Err(UNCLEAR));
}

#[test]
fn a_warning_is_for_people_and_the_worst_counts() {
    for (marks, expected) in [
        (vec![Mark::Right, Mark::Skipped, Mark::Hint, Mark::Warning], Ok(())),
        (vec![Mark::Unclear, Mark::Warning], Err(UNCLEAR)),
        (vec![Mark::Unclear, Mark::Wrong, Mark::Right], Err(WRONG)),
    ] {
        assert_eq!(verdict(marks.clone().into_iter()), expected, "{marks:?}");
    }
}

#[test]
fn what_was_found_reads_well() {
    let mut facts = healthy();
    facts.bindings.as_mut().unwrap().retain(|it| it.name_any() != "switchover-agent");
    let some: Vec<_> =
        CHECKS.iter().filter(|check| ["leader", "no-more-rights", "policies", "frozen"].contains(&check.id)).collect();
    let found: Vec<_> = some.into_iter().map(|check| (check, (check.judge)(&facts))).collect();
    assert_eq!(
        words::text(&found),
        "installation\n------------\n√ a controller leads: controller-1\n\n\
         rights\n------\n√ no account may do more\n× every admission policy is this version's, and bound\n    \
         × the policy switchover-agent is bound by nothing, so that it forbids nothing\n    \
         why it matters: what RBAC can't narrow the policies do: an unbound one forbids nothing, and says nothing\n    \
         what to do: apply the policies and their bindings of this version (deploy/base)\n    \
         see docs/threat-model.md#the-controllers-account\n\n\
         databases\n---------\n- the database lets pods be moved\n    - no database says so far\n\n\
         × 1 of 4 checks found something wrong\n"
    );
    let told = words::json(&found);
    assert_eq!(
        (&told["result"], &told["checks"][2]["id"], &told["checks"][2]["result"]),
        (&json!("wrong"), &json!("policies"), &json!("wrong"))
    );
}

#[test]
fn what_workloads_lack_is_a_hint_and_says_what_to_do() {
    let mut facts = healthy();
    let bare = json!({"containers": [{"name": "app", "readinessProbe": {}}]});
    let followers = facts.followers.as_mut().unwrap();
    for name in ["api", "web"] {
        let workload = Workload { name: name.into(), ..followers[0].workload.clone() };
        followers.push(Follower { workload, pod: bare.clone(), ..followers[0].clone() });
    }
    followers[1].workload.desired = 1;
    let found: Vec<_> =
        CHECKS.iter().filter(|check| check.id == "zero-downtime").map(|check| (check, (check.judge)(&facts))).collect();
    assert_eq!(
        words::text(&found),
        "workloads\n---------\n· workloads that follow can be moved without an outage\n    \
         · deployment orders/api; deployment orders/web: no container has a preStop hook: a pod that is ended still gets requests \
         for a moment, from whoever hasn't heard of it; write lifecycle.preStop.sleep of a few seconds (Kubernetes 1.30), shorter \
         than terminationGracePeriodSeconds, unless the program itself goes on serving for a while after SIGTERM \
         (docs/zero-downtime.md#prestop)\n    \
         · deployment orders/api: it has one replica: nothing serves while that is moved, drained or lost; write replicas: 2 or \
         more; of a Deployment that can't have them, strategy.rollingUpdate with maxSurge: 1 and maxUnavailable: 0 \
         (docs/zero-downtime.md#replicas)\n    \
         why it matters: what lacks a probe, a hook, a second replica or a budget loses requests when it is moved, and just so \
         when its node is drained or lost\n    \
         what to do: what each sentence says; switchover explain KIND/NAME -n NAMESPACE says it of one workload\n    \
         see docs/zero-downtime.md\n\n√ nothing is wrong\n"
    );
    assert_eq!(verdict(found.iter().map(|(_, found)| found.mark())), Ok(()));
    facts.followers = Ok(Vec::new());
    assert_eq!(told(&facts, false), [] as [&str; 0], "where nobody follows");
    facts.followers = Err(Unseen("Deployments can't be seen: forbidden".to_owned()));
    assert_eq!(told(&facts, false), [] as [&str; 0], "where nobody may look");
}

#[test]
fn every_condition_is_looked_at() {
    // Those are what the others come to.
    let summaries = [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled].map(ConditionType::name);
    assert_eq!(BTreeSet::from_iter(CONDITIONS.iter().chain(&summaries)), BTreeSet::from_iter(ConditionType::NAMES));
}

#[test]
fn every_kind_that_is_installed_is_asked_for() {
    let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base");
    let mut kinds = BTreeSet::from(["MutatingWebhookConfiguration".to_owned()]);
    for file in std::fs::read_dir(base).unwrap().map(|file| file.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        // Those two are kustomize's own.
        if !["kustomization.yaml", "names.yaml"].contains(&file.file_name().unwrap().to_str().unwrap()) {
            kinds.extend(shipped::objects(&text).iter().map(|object| object["kind"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(kinds, shipped::KINDS.map(|(kind, ..)| kind.to_owned()).into());
}

/// docs/check.md has a row for each check, in the words of the program; that its links lead somewhere, tests/tidy sees to.
#[test]
fn every_check_is_documented() {
    let page = include_str!("../../../docs/check.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = CHECKS
        .iter()
        .map(|check| {
            let Check { id, what, why, hint, doc, .. } = check;
            let link = doc.strip_prefix("docs/").map_or_else(|| format!("../{doc}"), str::to_owned);
            format!("| `{id}` | {what} | {why} | {hint} | [more]({link}) |")
        })
        .collect();
    assert_eq!(rows, expected);
    let ids: BTreeSet<&str> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), CHECKS.len());
}

#[test]
fn every_misinstallation_is_found() {
    check_rows(installed::ROWS.iter().chain(working::ROWS), |(name, damage, expected)| {
        let mut facts = healthy();
        damage(&mut facts);
        let told = told(&facts, false);
        let same = told.len() == expected.len()
            && told.iter().zip(*expected).all(|(told, it)| told == it || it.ends_with(": ") && told.starts_with(it));
        assert!(same, "{name}: {told:#?}");
    });
}
