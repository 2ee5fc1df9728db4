use super::{check, node, web, world};

#[test]
fn a_pod_goes_where_it_tolerates_the_taints() {
    let cordoned = || {
        let mut node = node("a1");
        node.unschedulable = true;
        node
    };
    let gpu = |effect| world().node(node("a1").bearing(Some("closely")).tainted("gpu", effect));
    check([
        ("a cordoned node", world().node(cordoned()), web(), "cordoned"),
        ("a cordoned node, tolerated", world().node(cordoned()), web().tolerating("gpu"), "cordoned"),
        ("a taint", gpu("NoSchedule"), web(), "taint gpu not tolerated"),
        ("a taint that evicts", gpu("NoExecute"), web(), "taint gpu not tolerated"),
        ("a taint, tolerated", gpu("NoSchedule"), web().tolerating("gpu"), ""),
        ("another taint, tolerated", gpu("NoSchedule"), web().tolerating("fpga"), "taint gpu not tolerated"),
        (
            "a soft taint, which weighs more than what is preferred",
            gpu("PreferNoSchedule"),
            web(),
            "taint gpu (PreferNoSchedule) weighs more than preferred affinity",
        ),
        ("a soft taint, tolerated", gpu("PreferNoSchedule"), web().tolerating("gpu"), ""),
        ("a soft taint where it must go", gpu("PreferNoSchedule"), web().only_on("switchover", "closely"), ""),
    ]);
}
