//! Room for the bodies of requests: what they may take all together, and who gives way when there is none left.
//!
//! A body is charged as it comes, not as it is announced. The first 64 KiB of each, which is all of most, have room of their
//! own, so that a few large ones leave it to everybody else. Whoever is still waited for (a body that comes slowly, a
//! request of a namespace that isn't known yet) gives way to whoever needs the room now, the one that has been waited for
//! the longest time first.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What of a body is its beginning.
pub(super) const BEGINNING: usize = 64 * 1024;

/// Bytes of beginnings, and of what lies behind them.
type Bytes = [usize; 2];

/// Written by all requests.
#[derive(Debug)]
pub(super) struct Room {
    free: [AtomicUsize; 2],
    waited_for: Mutex<WaitedFor>,
}

#[derive(Debug, Default)]
struct WaitedFor {
    /// In the order in which the waiting began.
    by: BTreeMap<u64, Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    gives_way: Arc<Notify>,
}

/// There is no room for more, or it was given to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

/// What one request holds, until it is dropped.
#[derive(Debug)]
pub(super) struct Held<'r> {
    room: &'r Room,
    bytes: Bytes,
    /// Its number and its call, while it is waited for; then the bytes stand there.
    waiting: Option<(u64, Arc<Notify>)>,
}

impl Room {
    /// Of `most` bytes in all a third is for beginnings. What is behind them has room for `largest` at least.
    pub(super) fn new(most: usize, largest: usize) -> Self {
        let beginnings = (most / 3).max(BEGINNING.min(largest));
        let rest = most.saturating_sub(beginnings).max(largest.saturating_sub(BEGINNING));
        Self { free: [AtomicUsize::new(beginnings), AtomicUsize::new(rest)], waited_for: Mutex::default() }
    }

    pub(super) const fn hold(&self) -> Held<'_> {
        Held { room: self, bytes: [0; 2], waiting: None }
    }

    fn take(&self, part: usize, bytes: usize) -> bool {
        let left = |free: usize| free.checked_sub(bytes);
        self.free[part].fetch_update(Ordering::AcqRel, Ordering::Acquire, left).is_ok()
    }

    fn give_back(&self, bytes: Bytes) {
        for (free, bytes) in self.free.iter().zip(bytes) {
            free.fetch_add(bytes, Ordering::AcqRel);
        }
    }
}

impl Held<'_> {
    /// Takes room for that many bytes more of the body.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let held = self.bytes[0] + self.bytes[1];
        let beginning = bytes.min(BEGINNING.saturating_sub(held));
        for (part, bytes) in [beginning, bytes - beginning].into_iter().enumerate() {
            if bytes > 0 {
                self.take_of(part, bytes)?;
                self.bytes[part] += bytes;
            }
        }
        Ok(())
    }

    fn take_of(&self, part: usize, bytes: usize) -> Result<(), NoRoom> {
        let own = self.waiting.as_ref().map(|(number, _)| *number);
        if own.is_none() && self.room.take(part, bytes) {
            return Ok(());
        }
        let mut waited_for = self.room.waited_for.lock();
        if own.is_some_and(|own| !waited_for.by.contains_key(&own)) {
            return Err(NoRoom);
        }
        while !self.room.take(part, bytes) {
            let mut others = waited_for.by.iter().filter(|(number, of)| Some(**number) != own && of.bytes[part] > 0);
            let first = *others.next().ok_or(NoRoom)?.0;
            if let Some(Waiting { bytes, gives_way }) = waited_for.by.remove(&first) {
                // Its task drops the bytes when it hears of this, a moment later.
                self.room.give_back(bytes);
                gives_way.notify_one();
            }
        }
        if let Some(waiting) = own.and_then(|own| waited_for.by.get_mut(&own)) {
            waiting.bytes[part] += bytes;
        }
        Ok(())
    }

    /// From now on it gives way. What is returned is told when it has to.
    pub(super) fn wait(&mut self) -> Arc<Notify> {
        let gives_way = Arc::new(Notify::new());
        let mut waited_for = self.room.waited_for.lock();
        let number = waited_for.next;
        waited_for.next += 1;
        waited_for.by.insert(number, Waiting { bytes: self.bytes, gives_way: Arc::clone(&gives_way) });
        self.waiting = Some((number, Arc::clone(&gives_way)));
        gives_way
    }

    /// From now on it keeps what it holds, if it still does.
    pub(super) fn keep(&mut self) -> Result<(), NoRoom> {
        let Some((number, _)) = self.waiting.take() else { return Ok(()) };
        if self.room.waited_for.lock().by.remove(&number).is_some() {
            return Ok(());
        }
        self.bytes = [0; 2];
        Err(NoRoom)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = self.keep();
        self.room.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;

    fn free(room: &Room) -> Bytes {
        room.free.each_ref().map(|free| free.load(Ordering::Relaxed))
    }

    #[test]
    fn large_bodies_leave_room_for_the_beginnings_of_others() {
        let room = Room::new(3 * MIB, 2 * MIB);
        assert_eq!(free(&room), [MIB, 2 * MIB]);
        let mut large = room.hold();
        assert_eq!(large.take(2 * MIB), Ok(()));
        let mut second = room.hold();
        assert_eq!(second.take(BEGINNING), Ok(()));
        assert_eq!(second.take(MIB), Err(NoRoom), "what isn't waited for keeps its room");
        assert_eq!(free(&room), [MIB - 2 * BEGINNING, BEGINNING]);
        drop((large, second));
        assert_eq!(free(&room), [MIB, 2 * MIB]);
    }

    #[test]
    fn whoever_is_waited_for_the_longest_time_gives_way_first() {
        let room = Room::new(3 * MIB, 2 * MIB);
        let mut slow: Vec<_> = (0..3).map(|_| room.hold()).collect();
        let calls: Vec<_> = slow.iter_mut().map(Held::wait).collect();
        for held in &mut slow {
            assert_eq!(held.take(640 * KIB), Ok(()));
        }
        let called = || calls.iter().map(|call| futures::FutureExt::now_or_never(call.notified()).is_some());
        let mut new = room.hold();
        assert_eq!(new.take(MIB), Ok(()));
        assert_eq!(called().collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(slow[0].take(1), Err(NoRoom), "it has given its room away");
        assert_eq!(slow.iter_mut().map(Held::keep).collect::<Vec<_>>(), [Err(NoRoom), Err(NoRoom), Ok(())]);
        drop((slow, new));
        assert_eq!(free(&room), [MIB, 2 * MIB], "and gives it back once");
    }

    #[test]
    fn one_body_of_the_largest_size_always_has_room() {
        for (most, largest) in [(0, 4 * MIB), (0, 10), (MIB, 4 * MIB), (24 * MIB, 4 * MIB)] {
            let room = Room::new(most, largest);
            assert_eq!(room.hold().take(largest), Ok(()), "{most} {largest}");
        }
    }
}
