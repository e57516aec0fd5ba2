//! The queue in front of the compiler: so many components are compiled at one time, so many wait, and
//! namespaces take turns. Touches a lock. Used by [`crate::compile`].
//!
//! A namespace that ships a thousand modules at once makes another one wait for no more than those that
//! are being compiled and one of the thousand. When the queue is full, whoever has most in it gives way.

use crate::error::LoadError;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Who compiles and who waits.
#[derive(Debug)]
pub(crate) struct Queue {
    most_waiting: usize,
    state: Mutex<State>,
}

/// The right to compile; dropping it hands it to the next one.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Queue>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Those who wait, by namespace, the oldest first. No line is empty.
    lines: BTreeMap<String, VecDeque<oneshot::Sender<Turn>>>,
    /// The namespace that had its turn last.
    last: String,
}

impl Queue {
    pub(crate) fn new(at_once: usize, most_waiting: usize) -> Arc<Self> {
        let state = State { free: at_once.max(1), lines: BTreeMap::new(), last: String::new() };
        Arc::new(Self { most_waiting, state: Mutex::new(state) })
    }

    /// Waits for a turn. Dropping the future gives the place in the queue back.
    ///
    /// # Errors
    /// The queue is full, and this namespace has as many in it as any other; or it was full later, and
    /// this one gave way.
    pub(crate) async fn enter(self: &Arc<Self>, namespace: &str) -> Result<Turn, LoadError> {
        let full = || LoadError::CompileQueueFull { waiting: self.most_waiting };
        let turn = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(Arc::clone(self))));
            }
            if !state.make_room(namespace, self.most_waiting) {
                return Err(full());
            }
            let (sender, turn) = oneshot::channel();
            state.lines.entry(namespace.to_owned()).or_default().push_back(sender);
            turn
        };
        turn.await.map_err(|_| full())
    }

    fn next(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            let Some(waiting) = state.pop() else {
                state.free += 1;
                return;
            };
            drop(state);
            match waiting.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // Nobody waits there any more.
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }
}

impl State {
    /// Whether one more of this namespace may wait.
    fn make_room(&mut self, namespace: &str, most: usize) -> bool {
        let waiting = |state: &Self| state.lines.values().map(VecDeque::len).sum::<usize>();
        if waiting(self) < most {
            return true;
        }
        self.lines.retain(|_, line| {
            line.retain(|waiting| !waiting.is_closed());
            !line.is_empty()
        });
        if waiting(self) < most {
            return true;
        }
        let own = self.lines.get(namespace).map_or(0, VecDeque::len);
        let longest = self.lines.iter_mut().max_by_key(|(_, line)| line.len()).filter(|(_, line)| line.len() > own + 1);
        // Its newest one is told so, because its sender is dropped.
        longest.is_some_and(|(_, line)| line.pop_back().is_some())
    }

    /// The oldest one of the namespace whose turn it is.
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let after = self.lines.range::<String, _>((Excluded(&self.last), Unbounded)).next();
        let namespace = after.or_else(|| self.lines.first_key_value()).map(|(namespace, _)| namespace.clone())?;
        let line = self.lines.get_mut(&namespace)?;
        let waiting = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&namespace);
        }
        self.last = namespace;
        waiting
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::pin::Pin;

    type Waiting = Pin<Box<dyn Future<Output = Result<Turn, LoadError>>>>;

    /// Waits in the queue from now on.
    fn waits(queue: &Arc<Queue>, namespace: &'static str) -> Waiting {
        let queue = Arc::clone(queue);
        let mut waiting: Waiting = Box::pin(async move { queue.enter(namespace).await });
        assert!((&mut waiting).now_or_never().is_none(), "somebody compiles already");
        waiting
    }

    /// Compiles one after the other, and says in which order.
    fn order(mut turn: Turn, mut waiting: Vec<(&'static str, Waiting)>) -> Vec<&'static str> {
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(turn);
            let next = waiting.iter_mut().enumerate().find_map(|(at, (_, waits))| Some((at, waits.as_mut().now_or_never()?)));
            let (at, came) = next.expect("a turn that ends is somebody's");
            turn = came.unwrap();
            order.push(waiting.remove(at).0);
        }
        order
    }

    #[test]
    fn namespaces_take_turns_whoever_came_first() {
        let queue = Queue::new(1, 10);
        let turn = queue.enter("flood").now_or_never().unwrap().unwrap();
        let names = ["flood", "flood", "flood", "flood", "a", "b", "b"];
        let waiting = names.map(|namespace| (namespace, waits(&queue, namespace))).into();
        assert_eq!(order(turn, waiting), ["a", "b", "flood", "b", "flood", "flood", "flood"]);
        assert!(queue.enter("a").now_or_never().is_some(), "it is free again");
    }

    #[test]
    fn who_waits_no_more_has_no_turn() {
        let queue = Queue::new(1, 2);
        let turn = queue.enter("a").now_or_never().unwrap().unwrap();
        let (gone, stays) = (waits(&queue, "a"), waits(&queue, "b"));
        drop(gone);
        let late = waits(&queue, "c");
        assert_eq!(order(turn, vec![("b", stays), ("c", late)]), ["b", "c"]);
    }

    #[test]
    fn a_turn_that_nobody_took_goes_to_the_next() {
        let queue = Queue::new(1, 2);
        let turn = queue.enter("a").now_or_never().unwrap().unwrap();
        let (given, next) = (waits(&queue, "a"), waits(&queue, "b"));
        drop(turn);
        drop(given);
        assert!(next.now_or_never().is_some());
    }

    #[test]
    fn in_a_full_queue_whoever_has_most_gives_way() {
        let queue = Queue::new(1, 3);
        let _turn = queue.enter("flood").now_or_never().unwrap().unwrap();
        let (mut first, mut second, mut third) = (waits(&queue, "flood"), waits(&queue, "flood"), waits(&queue, "flood"));
        let full = |namespace: &'static str| queue.enter(namespace).now_or_never().unwrap().unwrap_err().reason();
        assert_eq!(full("flood"), "CompileQueueFull");
        let mut other = waits(&queue, "other");
        assert_eq!((&mut third).now_or_never().unwrap().unwrap_err().reason(), "CompileQueueFull");
        assert_eq!(full("other"), "CompileQueueFull", "two and one: nobody has too many");
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none() && (&mut other).now_or_never().is_none());
    }

    #[test]
    fn as_many_compile_as_may() {
        let queue = Queue::new(2, 0);
        let [_one, two] = [1, 2].map(|_| queue.enter("a").now_or_never().unwrap().unwrap());
        assert!(queue.enter("a").now_or_never().unwrap().is_err());
        drop(two);
        assert!(queue.enter("a").now_or_never().unwrap().is_ok());
    }
}
