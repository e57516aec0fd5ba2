//! Places for slow policy calls: as many at once as there are threads, and namespaces take turns. Touches
//! nothing but memory; the actors enter it before they ask a policy that is not known to be quick.
//!
//! An actor waits for its decision, so each object waits at most once. A namespace whose policies use
//! their whole deadline takes all places for one deadline at most before another one's turn comes.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::oneshot;
use weir_core::turns::Turns;

/// The places.
pub struct Pool(Mutex<State>);

struct State {
    free: usize,
    waiting: Turns<String, oneshot::Sender<Place>>,
}

/// A place; whoever drops it makes room for the next.
pub struct Place(Arc<Pool>);

impl Pool {
    /// So many places, at least one.
    #[must_use]
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: places.max(1), waiting: Turns::default() })))
    }

    /// Waits for a place.
    pub async fn enter(self: &Arc<Self>, namespace: &str) -> Place {
        let turn = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Place(self.clone());
            }
            let (sender, turn) = oneshot::channel();
            state.waiting.push(namespace.to_owned(), sender);
            turn
        };
        match turn.await {
            Ok(place) => place,
            // Nobody drops a waiting sender but the pool, which this call holds.
            Err(_) => std::future::pending().await,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }

    fn leave(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.0.lock();
                let next = state.waiting.pop();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            match next {
                None => return,
                // Who waits no more is passed over.
                Some(gone) if gone.is_closed() => {}
                Some(next) => {
                    // One that goes at this very moment leaves as everybody does: by dropping its place.
                    drop(next.send(Place(self.clone())));
                    return;
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn namespaces_take_turns_and_who_is_gone_is_passed_over() {
        let pool = Pool::new(1);
        let first = pool.enter("noisy").now_or_never().unwrap();
        let mut noisy: Vec<_> = (0..3).map(|_| Box::pin(pool.enter("noisy"))).collect();
        let mut quiet = Box::pin(pool.enter("quiet"));
        for waiting in &mut noisy {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert!(quiet.as_mut().now_or_never().is_none());
        assert_eq!(pool.waiting(), 4);
        drop(noisy.remove(0));
        drop(first);
        // Who is gone is passed over, and its namespace has had its turn.
        let place = quiet.as_mut().now_or_never().expect("the other namespace's turn");
        assert!(noisy[0].as_mut().now_or_never().is_none());
        drop(place);
        let place = noisy[0].as_mut().now_or_never().expect("the first that still waits");
        assert!(noisy[1].as_mut().now_or_never().is_none());
        drop(place);
        assert!(noisy[1].as_mut().now_or_never().is_some());
        drop(noisy);
        assert!(pool.enter("any").now_or_never().is_some(), "no place was lost");
    }

    #[test]
    fn a_place_that_was_given_to_one_that_is_gone_comes_back() {
        let pool = Pool::new(1);
        let first = pool.enter("a").now_or_never().unwrap();
        let mut waiting = Box::pin(pool.enter("a"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        drop(waiting);
        assert!(pool.enter("b").now_or_never().is_some());
    }
}
