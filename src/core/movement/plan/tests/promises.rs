//! What every plan keeps to, whatever the cluster is like.

use proptest::prelude::*;

use super::*;
use crate::core::movement::journal::Spends;

prop_compose! {
    /// Up to five workloads over six nodes, some with budgets, some with a pod on the move whose eviction no budget shows yet.
    fn worlds()(
        tiers in prop::collection::vec(0usize..4, 6),
        sets in prop::collection::vec((
            prop::collection::vec(0usize..6, 1..6),
            prop::option::of(0u32..5),
            50u64..600,
            any::<bool>(),
            -1i32..3,
        ), 1..5),
        (max_concurrent, window, per_workload) in (1u32..8, 1u32..12, prop::option::of(1u32..4)),
    ) -> Case {
        let names = ["a1", "a2", "b1", "b2", "c1", "c2"];
        let words = ["closely", "intermediate", "far", "unknown"];
        let nodes: Vec<_> = names.iter().zip(&tiers).map(|(name, tier)| format!("{name}={}", words[*tier])).collect();
        let mut world = World::with_nodes(&nodes.join(" "));
        let mut journal = Journal::default();
        for (i, (places, allowed, cpu_m, moving, priority)) in sets.iter().enumerate() {
            let (set, app) = (format!("ReplicaSet/s{i}"), format!("app{i}"));
            world = world.workload(&set, u32::try_from(places.len()).unwrap());
            for (j, place) in places.iter().enumerate() {
                let mut pod = pod(&format!("s{i}-{j}")).on(names[*place]).owned_by(&set).asking_for_cpu(*cpu_m);
                pod.labels.insert("app".into(), app.clone());
                pod.priority = *priority;
                world = world.pod(pod);
            }
            if let Some(allowed) = allowed {
                world = world.budget(&format!("pdb{i}"), &app, *allowed);
            }
            if *moving {
                let mut move_ = underway(&set, 99);
                (move_.pod, move_.uid) = (format!("gone-{i}"), format!("uid-gone-{i}"));
                move_.trace.spends = allowed.map(|_| Spends { budget: format!("pdb{i}"), version: "1".into() });
                journal.underway.push(move_);
            }
        }
        Case { rules: Rules { max_concurrent, per_workload, ..RULES }, journal, window, ..world.into() }
    }
}

proptest! {
    #[test]
    fn a_plan_keeps_every_promise(case in worlds()) {
        let plan = case.plan();
        let (world, under_way) = (&case.world, case.journal.underway.len());
        let at_once = (case.rules.max_concurrent.min(case.window) as usize).saturating_sub(under_way);
        prop_assert!(plan.moves.len() <= at_once, "over all");
        let mut per_workload: BTreeMap<&WorkloadKey, u32> = BTreeMap::new();
        let mut per_budget: BTreeMap<&str, u32> = BTreeMap::new();
        let mut room = Room::of(world.snapshot());
        for move_ in &plan.moves {
            let pod = &world.pods[&move_.uid];
            prop_assert_eq!(world.tiers.tier(&move_.from), Tier::Far);
            prop_assert_eq!(world.tiers.tier(&move_.to), Tier::Closely, "never to a worse tier");
            *per_workload.entry(&move_.workload).or_default() += 1;
            for budget in world.budgets.values().filter(|b| b.selector.matches(&pod.labels)) {
                *per_budget.entry(&budget.name).or_default() += 1;
            }
            prop_assert_eq!(room.fits(pod, &world.nodes[&move_.to]), Ok(()), "all planned moves fit together: {:?}", world.places());
            room.place(pod, &world.nodes[&move_.to].name);
        }
        for (key, moves) in per_workload {
            let moving = case.journal.underway.iter().filter(|move_| move_.workload.uid == key.uid).count();
            let all = moves + u32::try_from(moving).unwrap();
            let budget = world.budgets.get(&key.name.replace('s', "pdb"));
            prop_assert!(budget.is_some() || all <= case.rules.per_workload.unwrap_or(1), "one without a budget");
            prop_assert!(case.rules.per_workload.is_none_or(|most| all <= most), "no more than people say");
            // The one under way is gone already.
            let desired = world.workloads[&key.uid].desired;
            prop_assert!(desired <= 1 || moves < desired, "somebody goes on serving");
        }
        for (name, spent) in per_budget {
            let unseen = case.journal.underway.iter().filter(|it| it.trace.spends.as_ref().is_some_and(|it| it.budget == name));
            let all = spent + u32::try_from(unseen.count()).unwrap();
            prop_assert!(all <= world.budgets[name].allowed, "never past a budget");
        }
        // Each far pod is either moved or held with one reason.
        let far = world.pods.values().filter(|p| world.tiers.tier(p.node.as_deref().unwrap()) == Tier::Far).count();
        prop_assert_eq!(plan.moves.len() + plan.held.len(), far);
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_its_input(case in worlds()) {
        let (rules, journal, window) = (case.rules, case.journal.clone(), case.window);
        let again = Case { rules, journal, window, ..case.world.clone().into() };
        // HashMaps of equal content iterate in different orders.
        prop_assert_eq!(case.plan(), again.plan());
        let mut followers = case.followers();
        followers.reverse();
        prop_assert_eq!(case.plan_for(&case.world, &followers), case.plan());
    }
}
