//! Lookups of host names, of which one at a time is under way for each name.
//!
//! The system's resolver (`getaddrinfo`) blocks a thread, for half a minute where name servers drop what they are asked,
//! and can't be called off. Whoever asks again meanwhile waits for the same answer: otherwise hundreds of members that are
//! asked once a second would take every thread that there is, and queue for more.

use std::{collections::BTreeMap, io, net::SocketAddr};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// What came of a lookup; the error in the system's words.
pub(crate) type Found = Result<Vec<SocketAddr>, String>;

/// Those of the whole process.
static ALL: Lookups = Lookups::new();

/// The addresses of `host`, which may be one itself.
pub(crate) async fn addresses(host: &str) -> Found {
    let name = host.to_owned();
    ALL.of(host, async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }).await
}

/// Nothing outlives a lookup: who asks after it asks anew.
#[derive(Debug)]
pub(crate) struct Lookups {
    under_way: Mutex<BTreeMap<String, watch::Receiver<Option<Found>>>>,
}

impl Lookups {
    pub(crate) const fn new() -> Self {
        Self { under_way: Mutex::new(BTreeMap::new()) }
    }

    /// The addresses of `host`, from the lookup that is under way, or by `lookup` if there is none. That goes on to its
    /// end when nobody waits for it any more.
    pub(crate) async fn of(
        &'static self,
        host: &str,
        lookup: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    ) -> Found {
        let mut found = self.join(host, lookup);
        let found = found.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        found.unwrap_or_else(|| Err("the lookup was broken off".to_owned()))
    }

    fn join(
        &'static self,
        host: &str,
        lookup: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    ) -> watch::Receiver<Option<Found>> {
        let mut under_way = self.lock();
        if let Some(found) = under_way.get(host) {
            return found.clone();
        }
        let (tell, found) = watch::channel(None);
        under_way.insert(host.to_owned(), found.clone());
        let entry = Entry { lookups: self, host: host.to_owned() };
        tokio::spawn(async move {
            let addresses = lookup.await.map_err(|error| error.to_string());
            drop(entry);
            tell.send_replace(Some(addresses));
        });
        found
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Receiver<Option<Found>>>> {
        self.under_way.lock()
    }
}

/// A lookup that is under way, until this is dropped, however it ends.
struct Entry {
    lookups: &'static Lookups,
    host: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.lookups.lock().remove(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Semaphore;

    use super::*;

    static LOOKUPS: Lookups = Lookups::new();

    /// A resolver that answers when it is let.
    #[derive(Clone)]
    struct Resolver {
        asked: Arc<AtomicUsize>,
        answers: Arc<Semaphore>,
    }

    impl Resolver {
        async fn look(self) -> io::Result<Vec<SocketAddr>> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            self.answers.acquire().await.unwrap().forget();
            Ok(vec![SocketAddr::from(([10, 0, 0, u8::try_from(asked).unwrap()], 0))])
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time_however_many_ask_and_give_up() {
        let resolver = Resolver { asked: Arc::default(), answers: Arc::new(Semaphore::new(0)) };
        let ask = |host| LOOKUPS.of(host, resolver.clone().look());
        for _ in 0..3 {
            tokio::select! {
                biased;
                found = ask("pg1") => panic!("{found:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        resolver.answers.add_permits(1);
        let first = Ok(vec![SocketAddr::from(([10, 0, 0, 0], 0))]);
        assert_eq!(tokio::join!(ask("pg1"), ask("pg1")), (first.clone(), first));
        assert_eq!(resolver.asked.load(Ordering::SeqCst), 1);

        resolver.answers.add_permits(2);
        let (again, other) = (ask("pg1").await, ask("pg2").await);
        assert_eq!(again, Ok(vec![SocketAddr::from(([10, 0, 0, 1], 0))]), "nothing is kept");
        assert_eq!(other, Ok(vec![SocketAddr::from(([10, 0, 0, 2], 0))]), "each name by itself");
    }

    #[tokio::test]
    async fn a_lookup_that_breaks_off_is_told_and_stands_in_nobodys_way() {
        let broken = LOOKUPS.of("broken", async { panic!("a resolver that has a bug") }).await;
        assert_eq!(broken, Err("the lookup was broken off".to_owned()));
        let found = LOOKUPS.of("broken", async { Ok(Vec::new()) }).await;
        assert_eq!(found, Ok(Vec::new()));
    }
}
