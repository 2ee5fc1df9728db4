use super::{check, node, pod, web, world};
use crate::core::workload::{Node, Pod};

#[test]
fn a_pod_goes_where_what_it_asks_for_is_left() {
    let full = |pods| world().node(Node { pods, ..node("a1") }).pod(pod("x").on("a1"));
    let with = |cpu_m| world().pod(pod("x").on("a1").asking_for_cpu(cpu_m));
    let asking_for_a_gpu = || {
        let mut pod = web();
        pod.requests.other.insert("nvidia.com/gpu".into(), 1);
        pod
    };
    let asking_for_memory = |memory_bytes| {
        let mut pod = web();
        pod.requests.memory_bytes = memory_bytes;
        pod
    };
    let template =
        |cpu_m| world().workload("ReplicaSet/web", 1).changed("ReplicaSet/web", |it| it.requests.cpu_m = cpu_m);
    check([
        ("just enough cpu", with(900), web(), ""),
        ("too little cpu", with(901), web(), "insufficient cpu"),
        ("a full node, asked for nothing", with(2_000), web().asking_for_cpu(0), ""),
        (
            "terminating pods still take room",
            world().pod(pod("x").on("a1").asking_for_cpu(901).terminating()),
            web(),
            "insufficient cpu",
        ),
        ("enough memory", world(), asking_for_memory(1 << 30), ""),
        ("too little memory", world(), asking_for_memory((1 << 30) + 1), "insufficient memory"),
        ("an extended resource", world(), asking_for_a_gpu(), "insufficient nvidia.com/gpu"),
        ("one more pod", full(2), web(), ""),
        ("one pod too many", full(1), web(), "insufficient pods"),
        ("a template that asks for more", template(2_000), web().owned_by("ReplicaSet/web"), "insufficient cpu"),
        (
            "one that asks for less",
            template(50),
            web().owned_by("ReplicaSet/web").asking_for_cpu(1_001),
            "insufficient cpu",
        ),
        ("a template of others", template(2_000), Pod { owner: None, ..web() }, ""),
    ]);
}
