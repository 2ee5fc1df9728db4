//! The connections of one listener, of which there are only so many.
//!
//! There is no limit for each address: all API servers may come from one (a proxy, NAT), and whoever means harm has several.
//! When there are too many, the one that is done without most easily makes room, whosever it is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::activity::{Activity, Order};

/// Written by the listener, and by connections as they end.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    /// A request that has run for longer is waited for by nobody.
    patience: Duration,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    /// By the order in which they came.
    by: HashMap<u64, Arc<Activity>>,
    next: u64,
    order: Order,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    seats: Arc<Seats>,
    pub activity: Arc<Activity>,
}

impl Seats {
    pub(super) fn new(most: usize, patience: Duration) -> Arc<Self> {
        let taken = Taken { by: HashMap::new(), next: 0, order: Order::GoOn };
        Arc::new(Self { most, patience, taken: Mutex::new(taken) })
    }

    /// A place for one more. Somebody may have to make room for it; `None` if all are waited for.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let mut taken = self.taken.lock();
        if taken.by.len() >= self.most {
            let dispensable = taken.by.iter().filter_map(|(number, activity)| {
                let (how, since) = activity.dispensable(self.patience)?;
                Some((how, since, *number))
            });
            let (_, _, first) = dispensable.min()?;
            if let Some(activity) = taken.by.remove(&first) {
                activity.tell(Order::MakeRoom);
            }
        }
        let activity = Arc::new(Activity::new(taken.order));
        let number = taken.next;
        taken.next += 1;
        taken.by.insert(number, Arc::clone(&activity));
        drop(taken);
        Some(Seat { number, seats: Arc::clone(self), activity })
    }

    /// Tells all connections, and all that come after.
    pub(super) fn tell(&self, order: Order) {
        let mut taken = self.taken.lock();
        taken.order = order;
        taken.by.values().for_each(|activity| activity.tell(order));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().by.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::activity::Running, *};

    const PATIENCE: Duration = Duration::from_secs(2);

    /// Who made room, of those that are there.
    fn gone(seats: &[Seat]) -> Vec<usize> {
        let made_room = |(index, seat): (usize, &Seat)| (seat.activity.order() == Order::MakeRoom).then_some(index);
        seats.iter().enumerate().filter_map(made_room).collect()
    }

    #[tokio::test]
    async fn the_one_that_is_done_without_most_easily_makes_room() {
        let seats = Seats::new(4, PATIENCE);
        let mut came: Vec<Seat> = (0..4).filter_map(|_| seats.take()).collect();
        // The first was answered and is idle, the second is being answered, the others are silent.
        drop(Running::begin(&came[0].activity));
        let _second = Running::begin(&came[1].activity);
        for (who, expected) in [("the older silent one", vec![2]), ("the younger silent one", vec![2, 3])] {
            let new = seats.take().unwrap();
            drop(Running::begin(&new.activity));
            came.push(new);
            assert_eq!(gone(&came), expected, "{who}");
        }
        let _sixth = Running::begin(&came[5].activity);
        came.push(seats.take().unwrap());
        assert_eq!(gone(&came), [0, 2, 3], "idle for the longest time");
        let _others = [4, 6].map(|index: usize| Running::begin(&came[index].activity));
        assert!(seats.take().is_none(), "all are waited for");
        assert_eq!(gone(&came), [0, 2, 3]);
    }

    #[tokio::test]
    async fn what_takes_longer_than_anybody_waits_makes_room_too() {
        let seats = Seats::new(2, Duration::ZERO);
        let mut came: Vec<Seat> = (0..2).filter_map(|_| seats.take()).collect();
        let _running = [1, 0].map(|index: usize| Running::begin(&came[index].activity));
        came.push(seats.take().unwrap());
        assert_eq!(gone(&came), [1], "the one that began first");
    }

    #[tokio::test]
    async fn a_place_is_free_when_its_connection_has_ended_and_orders_reach_whoever_comes_later() {
        let seats = Seats::new(1, PATIENCE);
        let first = seats.take().unwrap();
        let _running = Running::begin(&first.activity);
        assert!(seats.take().is_none());
        seats.tell(Order::Drain);
        assert_eq!(first.activity.order(), Order::Drain);
        drop(first);
        assert_eq!(seats.take().unwrap().activity.order(), Order::Drain);
    }
}
