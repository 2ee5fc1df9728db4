//! Packets through the emulated WAN, measured from outside.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lab::{
    net::{Network, in_netns, namespace},
    site::Site,
    wan::{LinkChange, OVERHEAD, Wan},
};
use nix::{
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, setsockopt, socket,
            sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
    time::{ClockId, clock_gettime},
};

use crate::isolation::isolated;

const OFTEN: Duration = Duration::from_millis(50);

#[test]
#[ignore = "needs root"]
fn packets_take_as_long_as_asked() {
    isolated(
        "wan::packets_take_as_long_as_asked",
        || Ok(()),
        || {
            let (network, devices) = Network::build()?;
            let wan = Wan::start(devices)?;
            for (host, site, last) in
                [("a1", Site::Dc1, 5), ("b1", Site::Dc1, 6), ("a2", Site::Dc2, 5), ("a3", Site::Dc3, 5)]
            {
                network.add_host(site, host, site.host(last), &[])?;
            }
            let change = |words: &str| LinkChange::parse(&[words.to_owned()]);
            let cpu_before = processor_time();
            thread::sleep(Duration::from_secs(2));
            println!(
                "idle: {:.2} ms of processor time a second",
                (processor_time() - cpu_before).as_secs_f64() * 500.0
            );

            for (from, to, asked_ms) in [
                ("a1", Site::Dc1.host(6), 0.3),
                ("a1", Site::Dc2.host(5), 8.0),
                ("a1", Site::Dc3.host(5), 20.0),
                ("a2", Site::Dc3.host(5), 22.0),
            ] {
                let (a, b) =
                    (Site::ALL[usize::from(from.as_bytes()[1] - b'0')], Site::of_address(to).context("a site")?);
                wan.set(a, b, change("jitter 0ms")?);
                let cpu_before = processor_time();
                let rtt = ping(from, to, 50, OFTEN)?;
                let cpu = (processor_time() - cpu_before).as_secs_f64() * 1000.0 / 50.0;
                wan.set(a, b, LinkChange::Heal);
                println!("{from} to {to}: asked {asked_ms} ms, {rtt:?}, {cpu:.3} ms of processor time a ping");
                ensure!(rtt.is_about(asked_ms), "{from} to {to}: asked {asked_ms} ms, got {rtt:?}");
            }

            println!("TCP inside a data centre: {:.0} Mbit/s", throughput("a1", "b1", Site::Dc1.host(6))?);
            println!("TCP over 20 ms: {:.0} Mbit/s", throughput("a1", "a3", Site::Dc3.host(5))?);

            wan.set(Site::Dc2, Site::Dc1, change("2ms jitter 0ms")?);
            let rtt = ping("a1", Site::Dc2.host(5), 20, OFTEN)?;
            ensure!(rtt.is_about(2.0), "after the change to 2 ms: {rtt:?}");

            wan.set(Site::Dc1, Site::Dc3, change("cut")?);
            ensure!(ping("a1", Site::Dc3.host(5), 3, OFTEN).is_err(), "a cut link answered");
            ping("a2", Site::Dc3.host(5), 3, OFTEN).context("the other links stay")?;
            wan.set(Site::Dc3, Site::Dc1, change("heal")?);
            ping("a1", Site::Dc3.host(5), 3, OFTEN).context("a healed link answers")?;

            wan.sever(Site::Dc1.host(5), Site::Dc3, true);
            ensure!(ping("a1", Site::Dc3.host(5), 3, OFTEN).is_err(), "a site answered a host that is cut off it");
            ping("b1", Site::Dc3.host(5), 3, OFTEN).context("its neighbour is not cut off")?;
            ping("a1", Site::Dc2.host(5), 3, OFTEN).context("nor is it from other sites")?;
            ensure!(wan.severed() == [(Site::Dc1.host(5), Site::Dc3)], "{:?}", wan.severed());
            wan.sever(Site::Dc1.host(5), Site::Dc3, false);
            ping("a1", Site::Dc3.host(5), 3, OFTEN).context("a host that is joined again")?;

            println!("{}", lab::wan::table_header());
            wan.links().iter().for_each(|link| println!("{link}"));
            Ok(())
        },
    );
}

#[derive(Debug)]
struct Rtt {
    smallest_ms: f64,
    #[expect(dead_code, reason = "printed")]
    median_ms: f64,
    #[expect(dead_code, reason = "printed")]
    largest_ms: f64,
}

impl Rtt {
    /// No packet may be earlier than the WAN lets it be, however fast the machine is. Late ones are its load: of many
    /// echoes one is let through nearly in time, and the delays asked for here lie further apart than this allows.
    fn is_about(&self, asked_ms: f64) -> bool {
        let earliest_ms = asked_ms - 2.0 * OVERHEAD.as_secs_f64() * 1000.0;
        (earliest_ms..asked_ms + 1.5).contains(&self.smallest_ms)
    }
}

/// ICMP echoes one after another, as the product's agent sends them.
fn ping(from: &str, to: Ipv4Addr, count: u16, interval: Duration) -> Result<Rtt> {
    let mut times = in_netns(&namespace(from), move || -> Result<Vec<f64>> {
        let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(500))?;
        let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
        let mut times = Vec::new();
        for sequence in 0..count {
            let start = Instant::now();
            sendto(socket.as_raw_fd(), &echo(sequence), &to, MsgFlags::empty())?;
            let mut reply = [0; 256];
            // A raw socket gets the whole IP packet: type 0 after 20 bytes is an echo reply.
            while let Ok(length) = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty()) {
                if length >= 28 && reply[20] == 0 && reply[26..28] == sequence.to_be_bytes() {
                    times.push(start.elapsed().as_secs_f64() * 1000.0);
                    break;
                }
            }
            thread::sleep(interval);
        }
        Ok(times)
    })??;
    ensure!(times.len() == usize::from(count), "{} of {count} pings from {from} to {to} came back", times.len());
    times.sort_by(f64::total_cmp);
    Ok(Rtt { smallest_ms: times[0], median_ms: times[times.len() / 2], largest_ms: times[times.len() - 1] })
}

/// An ICMP echo request with identifier 1 (RFC 792).
fn echo(sequence: u16) -> [u8; 8] {
    let [high, low] = sequence.to_be_bytes();
    let [sum_high, sum_low] = (!(0x0800 + 0x0001 + sequence)).to_be_bytes();
    [8, 0, sum_high, sum_low, 0, 1, high, low]
}

/// One TCP stream for two seconds, in Mbit/s.
fn throughput(from: &str, to: &str, address: Ipv4Addr) -> Result<f64> {
    let address = SocketAddr::from((address, 5001));
    let listener = in_netns(&namespace(to), move || TcpListener::bind(address))??;
    let receiver = thread::spawn(move || -> Result<f64> {
        let (mut stream, _) = listener.accept()?;
        let (mut buffer, mut bytes, start) = (vec![0; 1 << 16], 0, Instant::now());
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e6),
                count => bytes += count,
            }
        }
    });
    in_netns(&namespace(from), move || -> Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            stream.write_all(&[0; 1 << 16])?;
        }
        Ok(())
    })??;
    receiver.join().expect("the receiver does not panic")
}

/// What this process used so far, with the WAN's thread and without the programs that it started.
pub(crate) fn processor_time() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Linux has this clock"))
}
