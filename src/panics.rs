//! Panics of futures as results.
//!
//! Invariant: a panic of the future goes no further than [`catch_panic`].
//! Does not depend on: what the future does.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs a future to its end.
///
/// # Errors
/// The future panicked, with this. It is not polled again.
pub(crate) async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_before_and_after_a_wait_is_caught_and_a_value_comes_through() {
        assert_eq!(catch_panic(async { 1 }).await.unwrap(), 1);
        let said = |panic: Box<dyn Any + Send>| *panic.downcast_ref::<&str>().unwrap();
        assert_eq!(said(catch_panic(async { panic!("at once") }).await.unwrap_err()), "at once");
        let later = async {
            tokio::task::yield_now().await;
            panic!("later")
        };
        assert_eq!(said(catch_panic(later).await.unwrap_err()), "later");
    }
}
