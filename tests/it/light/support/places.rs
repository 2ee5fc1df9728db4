//! How many scenes play at the same time, whatever the number of threads: most of a scene is waiting.

use std::sync::{Condvar, Mutex, PoisonError};

/// Places that are taken and left again.
#[derive(Debug)]
pub struct Places {
    free: Mutex<Vec<usize>>,
    left: Condvar,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Place<'p> {
    places: &'p Places,
    /// From 0 on.
    pub number: usize,
}

impl Places {
    pub fn new(count: usize) -> Places {
        Places { free: Mutex::new((0..count).rev().collect()), left: Condvar::new() }
    }

    /// Waits for a free one, and blocks meanwhile.
    pub fn take(&self) -> Place<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(number) = free.pop() {
                return Place { places: self, number };
            }
            free = self.left.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        self.places.left.notify_one();
    }
}
