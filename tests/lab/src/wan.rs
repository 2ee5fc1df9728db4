//! The emulated WAN: delays, loses or cuts what travels between the sites, and inside them.
//!
//! Each site's router hands every packet to a TUN device; one thread here reads them all, keeps each packet for half
//! the round trip of its pair of sites and writes it to the device of the destination's site. Packets of one direction
//! of one pair never overtake each other. It stands in for the kernel's netem, which many kernels come without.

mod forward;
mod link;
mod queue;
mod tun;

use std::{
    fmt,
    net::Ipv4Addr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use anyhow::{Context, Result, ensure};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::site::Site;
use forward::Forwarder;
pub use forward::OVERHEAD;
pub use link::{Counts, LinkChange, LinkState, Shape, table_header};
use link::{Link, Links};
pub use tun::open_tun;

/// The running WAN. Dropping it ends the forwarding: then all sites are cut off, from themselves too.
pub struct Wan {
    links: Arc<Mutex<Links>>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Wan {
    /// Starts to forward between the routers' TUN devices, with the default round trips.
    pub fn start(devices: Vec<(Site, OwnedFd)>) -> Result<Wan> {
        for (site, _) in &devices {
            let count = devices.iter().filter(|(other, _)| other == site).count();
            ensure!(count == 1, "the WAN was given {count} TUN devices for the site {site}; each site has one");
        }
        let links = Arc::new(Mutex::new(Links::default()));
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .context("cannot make the event that ends the WAN's thread")?;
        let stop = Arc::new(stop);
        let forwarder = Forwarder::new(devices, links.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("wan".into())
            .spawn(move || {
                if let Err(error) = forwarder.run() {
                    tracing::error!("the WAN stopped forwarding, so all sites are cut off now: {error:#}");
                }
            })
            .context("cannot start the WAN's thread")?;
        Ok(Wan { links, stop, thread: Some(thread) })
    }

    /// Changes both directions between two sites (or the inside of one, when they are the same).
    pub fn set(&self, a: Site, b: Site, change: LinkChange) {
        let mut links = self.links.lock().expect("no holder panics");
        links.between(a, b).apply(&change, a, b);
        if a != b {
            links.between(b, a).apply(&change, a, b);
        }
    }

    /// Cuts a host off a site, or joins them again. Everybody else's packets go on; pods have addresses of their own.
    pub fn sever(&self, host: Ipv4Addr, site: Site, cut: bool) {
        let mut links = self.links.lock().expect("no holder panics");
        match cut {
            true => links.severed.insert((host, site)),
            false => links.severed.remove(&(host, site)),
        };
    }

    /// Hosts that are cut off a site.
    pub fn severed(&self) -> Vec<(Ipv4Addr, Site)> {
        self.links.lock().expect("no holder panics").severed.iter().copied().collect()
    }

    /// Every pair of sites with its settings and what it carried so far.
    pub fn links(&self) -> Vec<LinkState> {
        self.links.lock().expect("no holder panics").states()
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        if self.stop.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Wan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.links()).finish()
    }
}
