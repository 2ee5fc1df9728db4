use super::*;

#[test]
fn pending_labels_are_counted_and_refusals_named() {
    let told =
        |nodes, refused: Option<&str>| Gate::LabelsPending { nodes, refused: refused.map(str::to_owned) }.to_string();
    assert_eq!(told(0, None), "not every node has a tier yet");
    assert_eq!(told(2, None), "2 nodes don't have their new label yet");
    assert_eq!(
        told(1, Some("n1 (closely, should be far): hands off")),
        "one node doesn't have its new label yet; the API server refuses it to nodes that look nearer than they are: \
         n1 (closely, should be far): hands off"
    );
}

#[test]
fn settling_says_when_it_takes_longer_than_usual() {
    let until = "2026-01-01T00:10:00.4Z".parse().unwrap();
    let usual = Gate::Settling { until, grown: None };
    assert_eq!(usual.to_string(), "the primary must hold until 2026-01-01T00:10:00Z (spec.movement.settle)");
    let [window, wait, settle] = [600, 120, 30].map(Duration::from_secs);
    let grown = Gate::Settling { until, grown: Some(Growth { changes: 3, window, wait, settle }) };
    assert_eq!(
        grown.to_string(),
        "the primary must hold until 2026-01-01T00:10:00Z: 3 changes within 10 min: settle is 2 min instead of \
         30 s (spec.movement.settleWindow, settleMax)"
    );
}

#[test]
fn sentences_are_about_one_as_about_many_and_about_whatever_was_to_be_done() {
    for (reason, sentence) in [
        (
            HeldReason::Gate(Gate::Halted { failed: 1 }),
            "halted: a replacement did not become Ready in time (spec.movement.replacementTimeout)",
        ),
        (
            HeldReason::Gate(Gate::Halted { failed: 3 }),
            "halted: 3 replacements did not become Ready in time (spec.movement.replacementTimeout)",
        ),
        (
            HeldReason::NamespaceHalted { failed: 1 },
            "halted in this namespace: a replacement did not become Ready in time (spec.movement.replacementTimeout)",
        ),
        (HeldReason::Backoff("no".into()), "the API server refused the move: no"),
    ] {
        assert_eq!(reason.to_string(), sentence);
    }
}

#[test]
fn metrics_and_status_know_these_reasons() {
    let gates = "Paused PausedByAnnotation Off PrimaryNotConfirmed SplitBrain Frozen Settling NodesInDoubt LabelsPending Stale TooFewReadings \
                 Halted OutsideWindow DryRun";
    let of_one_pod = "Never BarePod Job NotInjected PinnedByVolume NotReady UnknownWorkload CannotRestart \
                      SingleReplica NotRolledOut Rollout \
                      WorkloadNotWhole OneAtATime PerWorkload UnknownWay Concurrency NamespaceHalted NoDisruptionBudget \
                      DisruptionBudgetSpent SeveralDisruptionBudgets \
                      NoRoom QuotaExhausted UselessMoves RestartedBefore NodeNotMeasured TierSettling Backoff AdmissionMissed \
                      NeverInjected MovedBack NodeNotReady DoNotEvict LocalData Misread PerNamespace PerMinute NamespaceTerminating";
    assert_eq!(Gate::NAMES.join(" "), gates);
    assert_eq!(HeldReason::names().collect::<Vec<_>>().join(" "), format!("{gates} {of_one_pod}"));
    for (reason, name) in [
        (HeldReason::Gate(Gate::Stale("Node")), "Stale"),
        (HeldReason::Gate(Gate::Halted { failed: 1 }), "Halted"),
        (HeldReason::NotWhole { serving: 1, desired: 2 }, "WorkloadNotWhole"),
        (HeldReason::NotMeasured, "NodeNotMeasured"),
    ] {
        assert_eq!(reason.name(), name);
    }
}
