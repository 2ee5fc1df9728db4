//! The thread that moves packets from device to device.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        eventfd::EventFd,
        time::{TimeSpec, TimeValLike},
    },
    time::{ClockId, clock_gettime},
    unistd,
};

use super::{
    Link, Links,
    queue::{Buffers, DelayQueue, Packet},
};
use crate::site::Site;

/// Packets in flight in one direction: enough for 2 Gbit/s over half of 22 ms.
const QUEUE_PACKETS: usize = 2048;

/// Packets in flight in all directions.
const BUFFERS: u32 = 8192;

/// Packets read from one device before those whose time has come are delivered.
const BATCH: usize = 32;

/// What the way through two routers and this thread takes anyway, taken off each direction's delay. A faster machine
/// needs less for it, so that there a round trip is shorter than asked by up to twice this.
const OVERHEAD_NS: u64 = 110_000;
/// The same as a duration.
pub const OVERHEAD: Duration = Duration::from_nanos(OVERHEAD_NS);

/// The thread wakes early by as much as it usually wakes late, and this, and then looks at the clock until the time has
/// come. It costs nothing while no packet is in flight.
const WAKE_EARLY_NS: u64 = 20_000;

/// A processor that wakes later than this is busy, and waking earlier wouldn't help.
const LATENESS_MAX_NS: u64 = 200_000;

pub(super) struct Forwarder {
    devices: Vec<(Site, OwnedFd)>,
    links: Arc<Mutex<Links>>,
    stop: Arc<EventFd>,
    buffers: Buffers,
    /// By source and destination.
    queues: [[DelayQueue<Packet>; Site::ALL.len()]; Site::ALL.len()],
    random: Random,
    /// How late this thread usually wakes.
    lateness_ns: u64,
}

impl Forwarder {
    pub(super) fn new(devices: Vec<(Site, OwnedFd)>, links: Arc<Mutex<Links>>, stop: Arc<EventFd>) -> Forwarder {
        Forwarder {
            devices,
            links,
            stop,
            buffers: Buffers::new(BUFFERS),
            queues: Site::ALL.map(|_| Site::ALL.map(|_| DelayQueue::new(QUEUE_PACKETS))),
            random: Random(0x9E37_79B9_7F4A_7C15),
            lateness_ns: 0,
        }
    }

    /// Forwards until the stop event comes.
    pub(super) fn run(mut self) -> Result<()> {
        be_punctual();
        let devices = std::mem::take(&mut self.devices);
        let stop = self.stop.clone();
        let mut polled: Vec<PollFd<'_>> =
            devices.iter().map(|(_, device)| PollFd::new(device.as_fd(), PollFlags::POLLIN)).collect();
        polled.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
        loop {
            let wake_ns = self.deliver_due(&devices);
            let timeout = wake_ns.map(|wake_ns| TimeSpec::nanoseconds(wake_ns.saturating_sub(now_ns()) as i64));
            match (ppoll(&mut polled, timeout, None), wake_ns) {
                (Ok(0), Some(wake_ns)) => self.learn_lateness(now_ns().saturating_sub(wake_ns)),
                (Ok(_) | Err(Errno::EINTR), _) => {}
                (Err(error), _) => return Err(error).context("waiting for packets failed"),
            }
            let readable = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
            if polled.last().is_some_and(readable) {
                return Ok(());
            }
            for (fd, (site, device)) in polled.iter().zip(&devices) {
                if readable(fd) {
                    self.take_in(*site, device.as_fd())
                        .with_context(|| format!("the TUN device of the site {site} failed"))?;
                }
            }
        }
    }

    fn learn_lateness(&mut self, lateness_ns: u64) {
        self.lateness_ns = (self.lateness_ns * 7 + lateness_ns.min(LATENESS_MAX_NS)) / 8;
    }

    /// Delivers every packet whose time has come; returns when to wake, if anything is in flight.
    fn deliver_due(&mut self, devices: &[(Site, OwnedFd)]) -> Option<u64> {
        loop {
            let now_ns = now_ns();
            let mut next_due_ns = u64::MAX;
            for from in Site::ALL {
                for (to, device) in devices {
                    let queue = &mut self.queues[from.index()][to.index()];
                    while let Some(packet) = queue.pop_due(now_ns) {
                        let written = unistd::write(device, self.buffers.bytes(&packet));
                        self.buffers.release(packet);
                        if written.is_err() {
                            let mut links = self.links.lock().expect("no holder panics");
                            let counts = &mut links.between(from, *to).counts;
                            counts.forwarded -= 1;
                            counts.overflowed += 1;
                        }
                    }
                    next_due_ns = next_due_ns.min(queue.next_due_ns().unwrap_or(u64::MAX));
                }
            }
            if next_due_ns == u64::MAX {
                return None;
            }
            let wake_ns = next_due_ns.saturating_sub(WAKE_EARLY_NS + self.lateness_ns);
            if wake_ns > now_ns {
                return Some(wake_ns);
            }
            std::hint::spin_loop();
        }
    }

    /// Reads packets from a site's device and queues them for their destinations.
    fn take_in(&mut self, from: Site, device: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut links = self.links.lock().expect("no holder panics");
        for _ in 0..BATCH {
            let packet = match self.buffers.fill(|buffer| unistd::read(device, buffer)) {
                Some(Ok(packet)) => packet,
                Some(Err(Errno::EAGAIN | Errno::EINTR)) => break,
                Some(Err(error)) => return Err(error),
                None => {
                    let mut header = [0; IPV4_HEADER_BYTES];
                    match unistd::read(device, &mut header) {
                        Ok(_) => {
                            if let Some((_, to)) = ends(&header).map(|(_, to)| to) {
                                links.between(from, to).counts.overflowed += 1;
                            }
                            continue;
                        }
                        Err(_) => break,
                    }
                }
            };
            // Whatever else a device says (IPv6 router solicitations, multicast) is for nobody in the lab.
            let Some((source, (address, to))) = ends(self.buffers.bytes(&packet)) else {
                self.buffers.release(packet);
                continue;
            };
            if links.severs((source, from), (address, to)) {
                links.between(from, to).counts.cut += 1;
                self.buffers.release(packet);
                continue;
            }
            let link = links.between(from, to);
            let refused = match fate(link, &mut self.random) {
                Some(delay_ns) => self.queues[from.index()][to.index()].push(now_ns(), delay_ns, packet).err(),
                None => {
                    self.buffers.release(packet);
                    continue;
                }
            };
            match refused {
                None => link.counts.forwarded += 1,
                Some(packet) => {
                    link.counts.overflowed += 1;
                    self.buffers.release(packet);
                }
            }
        }
        Ok(())
    }
}

/// How long a packet takes in one direction, or that it is lost, which is counted here.
fn fate(link: &mut Link, random: &mut Random) -> Option<u64> {
    if link.shape.cut {
        link.counts.cut += 1;
        return None;
    }
    if link.shape.loss > 0.0 && random.next() < link.shape.loss {
        link.counts.lost += 1;
        return None;
    }
    let stray = (random.next() * 2.0 - 1.0) * link.shape.jitter.as_nanos() as f64;
    let rtt_ns = link.shape.rtt.as_nanos() as f64 + stray;
    Some(((rtt_ns / 2.0) as u64).saturating_sub(OVERHEAD_NS))
}

const IPV4_HEADER_BYTES: usize = 20;

/// Whom an IPv4 packet comes from, and whom it goes to, with the site.
fn ends(packet: &[u8]) -> Option<(Ipv4Addr, (Ipv4Addr, Site))> {
    let header: &[u8; IPV4_HEADER_BYTES] = packet.first_chunk()?;
    if header[0] >> 4 != 4 {
        return None;
    }
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let to = address(16);
    Some((address(12), (to, Site::of_address(to)?)))
}

/// Asks the kernel for exact timers and to run this thread before others: a late packet is a wrong measurement.
fn be_punctual() {
    // SAFETY: these calls change the calling thread only and take no pointers.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_TIMERSLACK, 1u64),
            // For a thread, process 0 means the thread itself.
            libc::setpriority(libc::PRIO_PROCESS, 0, -15),
        ]
    };
    if results.iter().any(|result| *result != 0) {
        tracing::warn!(
            "the WAN's thread may not raise its priority ({}): delays will stray",
            io::Error::last_os_error()
        );
    }
}

fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has a monotonic clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// A small generator (xorshift): good enough to choose which packet is lost, and the same on every run.
struct Random(u64);

impl Random {
    /// From 0.0 to 1.0, never 1.0.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(loss: f64, cut: bool) -> Link {
        let mut link = *Links::default().between(Site::Dc1, Site::Dc2);
        link.shape.loss = loss;
        link.shape.cut = cut;
        link
    }

    #[test]
    fn source_and_destination_are_read_from_the_ipv4_header() {
        let mut packet = [0u8; 24];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&[10, 77, 1, 5]);
        packet[16..20].copy_from_slice(&[10, 77, 3, 5]);
        let [pg1, pg3] = [Site::Dc1, Site::Dc3].map(|site| site.host(5));
        assert_eq!(ends(&packet), Some((pg1, (pg3, Site::Dc3))));
        packet[16..20].copy_from_slice(&[224, 0, 0, 1]);
        assert_eq!(ends(&packet), None);
        packet[0] = 0x60;
        assert_eq!(ends(&packet), None);
        assert_eq!(ends(&packet[..19]), None);
    }

    #[test]
    fn a_host_that_is_cut_off_a_site_hears_nobody_there_and_its_neighbours_do() {
        let (pg1, n1, pg2) = (Site::Dc1.host(5), Site::Dc1.host(11), Site::Dc2.host(5));
        let mut links = Links::default();
        links.severed.insert((pg1, Site::Dc2));
        for (from, to, cut) in [
            ((pg1, Site::Dc1), (pg2, Site::Dc2), true),
            ((pg2, Site::Dc2), (pg1, Site::Dc1), true),
            ((n1, Site::Dc1), (pg2, Site::Dc2), false),
            ((pg1, Site::Dc1), (n1, Site::Dc1), false),
            ((Site::Dc3.host(5), Site::Dc3), (pg1, Site::Dc1), false),
        ] {
            assert_eq!(links.severs(from, to), cut, "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_direction_takes_half_the_round_trip_within_its_jitter() {
        let (mut link, mut random) = (link(0.0, false), Random(1));
        link.shape.jitter = Duration::from_millis(2);
        let delays: Vec<u64> = (0..1000).map(|_| fate(&mut link, &mut random).unwrap() + OVERHEAD_NS).collect();
        assert!(delays.iter().all(|delay| (3_000_000..=5_000_000).contains(delay)));
        let mean = delays.iter().sum::<u64>() / 1000;
        assert!((3_950_000..4_050_000).contains(&mean), "{mean}");
    }

    #[test]
    fn lost_and_cut_packets_are_counted() {
        let (mut lossy, mut random) = (link(0.05, false), Random(1));
        let arrived = (0..10_000).filter(|_| fate(&mut lossy, &mut random).is_some()).count() as u64;
        assert_eq!(arrived + lossy.counts.lost, 10_000);
        assert!((400..600).contains(&lossy.counts.lost), "{}", lossy.counts.lost);
        let mut cut = link(0.0, true);
        assert_eq!(fate(&mut cut, &mut random), None);
        assert_eq!(cut.counts.cut, 1);
    }
}
