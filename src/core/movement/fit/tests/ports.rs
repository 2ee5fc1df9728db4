use super::{check, pod, web, world};
use crate::core::workload::{HostPort, Pod, Protocol};

#[test]
fn a_port_of_a_node_is_one_pods_by_protocol_and_address() {
    let on = |pod: Pod, port: i32, protocol: Protocol, ip: Option<&str>| {
        let port = HostPort { port, protocol, ip: ip.map(str::to_owned) };
        Pod { host_ports: vec![port].into(), ..pod }
    };
    let tcp = Protocol::Tcp;
    let there = |port, protocol, ip| world().pod(on(pod("x").on("a1"), port, protocol, ip));
    let elsewhere = || world().pod(on(pod("x").on("a2"), 80, tcp, None));
    let taken = "host port 80 taken";
    check([
        ("taken", there(80, tcp, None), on(web(), 80, tcp, None), taken),
        ("on another node", elsewhere(), on(web(), 80, tcp, None), ""),
        ("another port", there(81, tcp, None), on(web(), 80, tcp, None), ""),
        ("another protocol", there(80, Protocol::Udp, None), on(web(), 80, tcp, None), ""),
        ("another address", there(80, tcp, Some("10.0.0.1")), on(web(), 80, tcp, Some("10.0.0.2")), ""),
        ("the same address", there(80, tcp, Some("10.0.0.1")), on(web(), 80, tcp, Some("10.0.0.1")), taken),
        ("one address of all", there(80, tcp, None), on(web(), 80, tcp, Some("10.0.0.1")), taken),
        ("all addresses, one of them taken", there(80, tcp, Some("10.0.0.1")), on(web(), 80, tcp, None), taken),
    ]);
}
