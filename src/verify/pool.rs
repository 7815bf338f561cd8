//! Independent pieces of work, side by side: each on one thread, so that the order of a search does not depend on
//! others.
//!
//! (The threads of stateright's checker share work only now and then, which for scopes of this size is never.)

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does a piece of work for each item on so many threads, and returns what came out in the order of the items.
/// `begin` is called for each item before its work begins. A panic in a piece of work is passed on.
pub fn map<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    begin: impl FnMut(&T) + Send,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let begin = Mutex::new(begin);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, item)) = take(&next, items) {
                    if let Ok(mut begin) = begin.lock() {
                        begin(item);
                    }
                    let result = work(item);
                    if let Ok(mut done) = done.lock() {
                        done.push((index, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    items.get(index).map(|item| (index, item))
}
