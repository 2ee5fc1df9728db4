//! Makes a TUN device inside a network namespace.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

/// Packets that may wait in the device until the WAN's thread reads them.
const QUEUE_PACKETS: libc::c_int = 2000;

nix::ioctl_write_ptr_bad!(set_device, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_readwrite_bad!(read_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(write_flags, libc::SIOCSIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(write_queue_length, libc::SIOCSIFTXQLEN, libc::ifreq);

/// Makes the TUN device `name` in the network namespace `netns`, sets its link up and returns this end of it: reads
/// give the IP packets that were routed into the device, writes deliver IP packets there. Non-blocking.
pub fn open_tun(netns: &Path, name: &str) -> Result<OwnedFd> {
    ensure!(name.len() < libc::IFNAMSIZ, "the device name {name} has more than {} characters", libc::IFNAMSIZ - 1);
    let namespace = File::open(netns).with_context(|| format!("there is no network namespace {}", netns.display()))?;
    let device = name.to_owned();
    // On a thread of its own, because entering a network namespace changes the thread that does it.
    thread::spawn(move || -> Result<OwnedFd> {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")?;
        let tun = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .context("cannot open /dev/net/tun; the kernel needs the module tun, and this needs root")?;
        attach(tun.as_fd().as_raw_fd(), &device).context("cannot make the TUN device")?;
        Ok(tun.into())
    })
    .join()
    .map_err(|_| anyhow!("the thread that makes TUN devices panicked"))?
    .with_context(|| format!("no TUN device {name} in {}", netns.display()))
}

fn attach(tun: libc::c_int, name: &str) -> io::Result<()> {
    // SAFETY: an all-zero ifreq is a valid value of this plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let control = control.as_raw_fd();
    // SAFETY: each call takes the open descriptor and an ifreq that lives until it returns; the kernel reads or writes
    // only inside it.
    unsafe {
        set_device(tun, &request)?;
        request.ifr_ifru.ifru_metric = QUEUE_PACKETS;
        write_queue_length(control, &request)?;
        read_flags(control, &mut request)?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        write_flags(control, &request)?;
    }
    Ok(())
}
