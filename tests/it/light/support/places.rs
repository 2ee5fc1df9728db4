//! How many scenes play at the same time, whatever the number of threads: most of a scene is waiting.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Places that are taken and left again.
#[derive(Debug)]
pub(crate) struct Places {
    count: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: Vec<usize>,
    /// Somebody waits for all of them: nobody else begins.
    wanted: bool,
}

/// Some of them, until they are dropped.
#[derive(Debug)]
pub(crate) struct Taken<'p> {
    places: &'p Places,
    /// From 0 on.
    pub numbers: Vec<usize>,
}

impl Places {
    pub(crate) fn new(count: usize) -> Places {
        let state = State { free: (0..count).rev().collect(), wanted: false };
        Places { count, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for a free one, and blocks meanwhile.
    pub(crate) fn take(&self) -> Taken<'_> {
        let state = self.wait(|state| state.free.is_empty() || state.wanted);
        self.taken(state, 1)
    }

    /// Waits for all of them.
    pub(crate) fn take_all(&self) -> Taken<'_> {
        self.wait(|state| state.wanted).wanted = true;
        let mut state = self.wait(|state| state.free.len() < self.count);
        state.wanted = false;
        self.taken(state, self.count)
    }

    fn wait(&self, not_yet: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.wait_while(state, |state| not_yet(state)).unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self, mut state: MutexGuard<'_, State>, count: usize) -> Taken<'_> {
        let rest = state.free.len() - count;
        Taken { places: self, numbers: state.free.split_off(rest) }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.places.state.lock().unwrap_or_else(PoisonError::into_inner).free.append(&mut self.numbers);
        self.places.changed.notify_all();
    }
}
