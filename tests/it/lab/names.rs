//! A name server for the lab, which has none: it knows the database's members, and is gone when a scene wants so.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use lab::{
    Lab, net,
    site::{self, Site},
};

/// What names of members end in.
const DOMAIN: &str = "lab.test";
const PORT: u16 = 53;

/// RFC 1035, 4.1: a header of six numbers, the question's name, its type and class.
const HEADER_BYTES: usize = 12;
const ADDRESS: [u8; 4] = [0, 1, 0, 1];

/// Answers on the host `client`, where the controller's pods look names up (deploy/overlays/lab). Dropping it closes the
/// port: then nothing resolves.
pub(super) struct NameServer {
    asked: Arc<Mutex<BTreeSet<String>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    pub(super) fn start(lab: &Lab) -> Result<NameServer> {
        let socket = net::in_netns(&lab.netns("client"), || UdpSocket::bind((site::CLIENT, PORT)))?;
        let socket = socket.context("the port of names can't be had")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (asked, end): (Arc<Mutex<BTreeSet<String>>>, Arc<AtomicBool>) = Default::default();
        let (heard, ended) = (Arc::clone(&asked), Arc::clone(&end));
        let thread = thread::spawn(move || {
            let mut question = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                let Some((name, answer)) = answer(&question[..length]) else { continue };
                heard.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
                // Whoever doesn't get it asks again.
                let _ = socket.send_to(&answer, from);
            }
        });
        Ok(NameServer { asked, end, thread: Some(thread) })
    }

    /// Every name that was asked for.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The name of the first member of a data centre.
pub(super) fn name_of(site: Site) -> String {
    format!("pg{}.{DOMAIN}", site.index())
}

/// The name that a question is about, and what is answered.
fn answer(question: &[u8]) -> Option<(String, Vec<u8>)> {
    let (mut labels, mut at) = (Vec::new(), HEADER_BYTES);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(std::str::from_utf8(question.get(at..at + length)?).ok()?.to_ascii_lowercase());
        at += length;
    }
    let (name, kind) = (labels.join("."), question.get(at..at + ADDRESS.len())?);
    let member = Site::DATA_CENTRES.into_iter().find(|site| name_of(*site) == name).map(site::member_address);
    // Of a name that is known only the addresses of IPv4 are.
    let address: Option<Ipv4Addr> = member.filter(|_| kind == ADDRESS);
    let mut answer = question.get(..2)?.to_vec();
    // An answer, with recursion; no error, or no such name. One question, one answer or none.
    answer.extend([0x81, if member.is_some() { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(&question[HEADER_BYTES..at + ADDRESS.len()]);
    if let Some(address) = address {
        // The question's name, for no time at all, four bytes.
        answer.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some((name, answer))
}
