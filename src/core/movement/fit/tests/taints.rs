use super::{check, node, web, world};

#[test]
fn a_pod_goes_where_it_tolerates_the_taints() {
    let cordoned = || {
        let mut node = node("a1");
        node.unschedulable = true;
        node
    };
    let gpu = |effect| world().node(node("a1").tainted("gpu", effect));
    check([
        ("a cordoned node", world().node(cordoned()), web(), "cordoned"),
        ("a cordoned node, tolerated", world().node(cordoned()), web().tolerating("gpu"), "cordoned"),
        ("a taint", gpu("NoSchedule"), web(), "taint gpu not tolerated"),
        ("a taint that evicts", gpu("NoExecute"), web(), "taint gpu not tolerated"),
        ("a taint, tolerated", gpu("NoSchedule"), web().tolerating("gpu"), ""),
        ("another taint, tolerated", gpu("NoSchedule"), web().tolerating("fpga"), "taint gpu not tolerated"),
        ("a soft taint", gpu("PreferNoSchedule"), web(), ""),
    ]);
}
