//! What one connection does, and what it is told to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use super::Limits;

/// What a connection is to do. Only the greater one is ever told after a smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Serve.
    GoOn,
    /// Answer what comes, and close after the answer.
    Drain,
    /// Finish what was begun, and close.
    Stop,
    /// Close: the place is somebody else's now.
    MakeRoom,
}

/// One connection. Written by its own task, but for the order.
#[derive(Debug)]
pub(super) struct Activity {
    /// Requests that are being answered.
    running: AtomicUsize,
    /// At least one request was answered.
    served: AtomicBool,
    since: Mutex<Since>,
    order: AtomicU8,
    told: Notify,
}

#[derive(Debug)]
struct Since {
    /// The last beginning or end of a request, or the beginning of the connection.
    at: Instant,
    /// The first byte of a request whose head is not complete yet. HTTP/1.1 only.
    head: Option<Instant>,
}

pub(super) enum State {
    Fine,
    SlowHead,
    Idle,
}

/// Which connection goes first when there are too many: one that has asked for nothing yet, then the one that has been idle
/// for the longest time, then one whose asker must have given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dispensable {
    Silent,
    Idle,
    GivenUp,
}

impl Activity {
    pub(super) fn new(order: Order) -> Self {
        Self {
            running: AtomicUsize::new(0),
            served: AtomicBool::new(false),
            since: Mutex::new(Since { at: Instant::now(), head: None }),
            order: AtomicU8::new(order as u8),
            told: Notify::new(),
        }
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        self.since.lock()
    }

    pub(super) fn state(&self, limits: &Limits) -> State {
        if self.running.load(Ordering::Acquire) > 0 {
            return State::Fine;
        }
        let since = self.since();
        if since.head.is_some_and(|at| at.elapsed() > limits.head) {
            State::SlowHead
        } else if since.at.elapsed() > limits.idle {
            State::Idle
        } else {
            State::Fine
        }
    }

    /// How easily the connection is done without, and since when; `None` while somebody waits for its answer.
    pub(super) fn dispensable(&self, patience: Duration) -> Option<(Dispensable, Instant)> {
        let at = self.since().at;
        if self.running.load(Ordering::Acquire) > 0 {
            return (at.elapsed() > patience).then_some((Dispensable::GivenUp, at));
        }
        let served = self.served.load(Ordering::Acquire);
        Some((if served { Dispensable::Idle } else { Dispensable::Silent }, at))
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        if self.running.load(Ordering::Acquire) == 0 {
            self.since().head.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::GoOn,
            1 => Order::Drain,
            2 => Order::Stop,
            _ => Order::MakeRoom,
        }
    }

    pub(super) fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        self.told.notify_one();
    }

    /// Ends when another order may be there.
    pub(super) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }
}

/// One request that is being answered.
pub(super) struct Running(Arc<Activity>);

impl Running {
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        *activity.since() = Since { at: Instant::now(), head: None };
        activity.running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }

    /// What the connection is to do by now.
    pub(super) fn order(&self) -> Order {
        self.0.order()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.since() = Since { at: Instant::now(), head: None };
        self.0.served.store(true, Ordering::Release);
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}
