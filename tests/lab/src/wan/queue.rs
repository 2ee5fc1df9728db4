//! What waits for its time: packets of one direction in the order in which they came, and the memory they lie in.
//! Pure: the time is an argument, in nanoseconds of any monotonic clock.

use std::collections::VecDeque;

/// A bounded queue whose items leave after a delay, never before an item that came earlier.
#[derive(Debug)]
pub(super) struct DelayQueue<T> {
    items: VecDeque<(u64, T)>,
    capacity: usize,
    /// When the last item leaves. A shorter delay doesn't let a later item overtake it.
    last_due_ns: u64,
}

impl<T> DelayQueue<T> {
    pub(super) fn new(capacity: usize) -> DelayQueue<T> {
        DelayQueue { items: VecDeque::with_capacity(capacity), capacity, last_due_ns: 0 }
    }

    /// Takes an item that came at `now_ns`, or gives it back when the queue is full.
    pub(super) fn push(&mut self, now_ns: u64, delay_ns: u64, item: T) -> Result<(), T> {
        if self.items.len() >= self.capacity {
            return Err(item);
        }
        self.last_due_ns = self.last_due_ns.max(now_ns.saturating_add(delay_ns));
        self.items.push_back((self.last_due_ns, item));
        Ok(())
    }

    /// The next item whose time has come.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<T> {
        match self.items.front() {
            Some((due_ns, _)) if *due_ns <= now_ns => self.items.pop_front().map(|(_, item)| item),
            _ => None,
        }
    }

    /// When the next item leaves.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.items.front().map(|(due_ns, _)| *due_ns)
    }
}

/// The longest packet. The TUN devices have an MTU of 1500.
pub(super) const PACKET_BYTES: usize = 2048;

/// Memory for packets in flight, allocated once. The most recently freed is used first, so that few pages stay warm.
#[derive(Debug)]
pub(super) struct Buffers {
    bytes: Vec<u8>,
    free: Vec<u32>,
}

/// A packet inside [`Buffers`].
#[derive(Debug)]
pub(super) struct Packet {
    buffer: u32,
    length: u32,
}

impl Buffers {
    pub(super) fn new(count: u32) -> Buffers {
        Buffers { bytes: vec![0; count as usize * PACKET_BYTES], free: (0..count).rev().collect() }
    }

    /// Fills a free buffer with `read`, which returns the length; no buffer is used when it fails.
    /// `None` when every buffer is taken.
    pub(super) fn fill<E>(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Option<Result<Packet, E>> {
        let buffer = *self.free.last()?;
        let start = buffer as usize * PACKET_BYTES;
        Some(read(&mut self.bytes[start..start + PACKET_BYTES]).map(|length| {
            self.free.pop();
            Packet { buffer, length: length as u32 }
        }))
    }

    pub(super) fn bytes(&self, packet: &Packet) -> &[u8] {
        let start = packet.buffer as usize * PACKET_BYTES;
        &self.bytes[start..start + packet.length as usize]
    }

    /// Gives the packet's memory back.
    pub(super) fn release(&mut self, packet: Packet) {
        self.free.push(packet.buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_leaves_when_its_delay_is_over() {
        let mut queue = DelayQueue::new(4);
        queue.push(100, 50, "a").unwrap();
        assert_eq!(queue.next_due_ns(), Some(150));
        assert_eq!(queue.pop_due(149), None);
        assert_eq!(queue.pop_due(150), Some("a"));
        assert_eq!(queue.next_due_ns(), None);
    }

    #[test]
    fn a_shorter_delay_never_overtakes() {
        let mut queue = DelayQueue::new(4);
        queue.push(0, 1000, "slow").unwrap();
        queue.push(10, 5, "fast").unwrap();
        assert_eq!(queue.pop_due(999), None);
        assert_eq!([queue.pop_due(1000), queue.pop_due(1000)], [Some("slow"), Some("fast")]);
        queue.push(2000, 5, "later").unwrap();
        assert_eq!(queue.next_due_ns(), Some(2005));
    }

    #[test]
    fn a_full_queue_gives_the_item_back() {
        let mut queue = DelayQueue::new(1);
        queue.push(0, 1, "first").unwrap();
        assert_eq!(queue.push(0, 1, "second"), Err("second"));
    }

    #[test]
    fn buffers_are_used_again_and_run_out() {
        let mut buffers = Buffers::new(1);
        let write = |text: &'static [u8]| {
            move |buffer: &mut [u8]| {
                buffer[..text.len()].copy_from_slice(text);
                Ok::<_, ()>(text.len())
            }
        };
        let packet = buffers.fill(write(b"one")).unwrap().unwrap();
        assert_eq!(buffers.bytes(&packet), b"one");
        assert!(buffers.fill(write(b"two")).is_none());
        buffers.release(packet);
        assert!(buffers.fill(|_| Err(())).unwrap().is_err());
        assert!(buffers.fill(write(b"two")).is_some());
    }
}
