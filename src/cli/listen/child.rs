//! One attempt as a child process.
//!
//! What always holds: nothing of a message becomes a part of the command line; the child dies with the attempt; and a
//! child that does not read its payload has not failed by that. This module must not know what becomes of a failure.

use std::ops::Deref;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fencepost_model::vocabulary::Kind;
use futures_core::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use fencepost::telemetry::TRACEPARENT;
use fencepost::{Delivery, HandlerError, HandlerResult};

/// The exit status of a child that wants its message again: `EX_TEMPFAIL`.
const AGAIN: i32 = 75;

/// How much of the end of what a child wrote to standard error is kept.
const REASON_BYTES_MAX: usize = 1_024;

/// How long to wait, after the end of a child, for what it wrote last.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A handler that runs this shell command.
pub(super) fn handler(
    command: &str,
    group: Option<&str>,
) -> impl Fn(Delivery) -> BoxFuture<'static, HandlerResult> + Send + Sync + 'static {
    let command: Arc<str> = command.into();
    let group: Option<Arc<str>> = group.map(Into::into);
    move |delivery| {
        let child = prepared(&command, group.as_deref(), &delivery);
        Box::pin(attempt(child, delivery))
    }
}

/// The command, with the message in its environment.
fn prepared(command: &str, group: Option<&str>, delivery: &Delivery) -> Command {
    let message = delivery.message();
    let mut child = Command::new("sh");
    child.arg("-c").arg(command).kill_on_drop(true).stdin(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    child.process_group(0);
    let kind = match message.kind {
        Kind::Command => "command",
        Kind::Event => "event",
    };
    let metadata = serde_json::to_string(&pairs(&message.metadata)).unwrap_or_default();
    child
        .env("FENCEPOST_NAME", message.name.as_str())
        .env("FENCEPOST_KIND", kind)
        .env("FENCEPOST_SEQ", delivery.seq().to_string())
        .env("FENCEPOST_TOKEN", delivery.token().to_string())
        .env("FENCEPOST_ATTEMPT", delivery.attempt().to_string())
        .env("FENCEPOST_CONTENT_TYPE", message.content_type.as_str())
        .env("FENCEPOST_SENT_AT_MS", delivery.sent_at().to_string())
        .env("FENCEPOST_METADATA", metadata);
    let maybe = [
        ("FENCEPOST_ID", message.id.as_ref().map(|id| id.as_str())),
        ("FENCEPOST_GROUP", group),
        // A variable cannot hold a zero byte; no trace has one.
        ("TRACEPARENT", message.metadata(TRACEPARENT).filter(|trace| !trace.contains('\0'))),
    ];
    for (variable, value) in maybe {
        // What this process itself was given is not the message's.
        match value {
            Some(value) => child.env(variable, value),
            None => child.env_remove(variable),
        };
    }
    child
}

fn pairs(metadata: &[(Arc<str>, Arc<str>)]) -> Vec<(&str, &str)> {
    metadata.iter().map(|(key, value)| (key.deref(), value.deref())).collect()
}

async fn attempt(mut command: Command, delivery: Delivery) -> HandlerResult {
    let mut child = Family(command.spawn()?);
    let (status, said) = tokio::select! {
        ended = ended(&mut child.0, &delivery.payload) => ended?,
        // Another may handle it by now, so this one ends.
        () = delivery.lost() => return Err(HandlerError::retryable("the lease was lost")),
    };
    let reason = || match said.trim() {
        "" => how(status),
        said => said.to_owned(),
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(AGAIN) => Err(HandlerError::retryable(reason())),
        _ => Err(HandlerError::permanent(reason())),
    }
}

/// Gives a child its payload, and waits for its end.
async fn ended(child: &mut Child, payload: &[u8]) -> std::io::Result<(ExitStatus, String)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A child may end, or close its input, without having read all of it. That is its own business.
            let _ = stdin.write_all(payload).await;
            let _ = stdin.shutdown().await;
        }
    };
    let mut said = Vec::new();
    let listen = async {
        if let Some(stderr) = stderr {
            last_of(stderr, &mut said).await;
        }
    };
    let status = {
        let talk = async { tokio::join!(feed, listen) };
        tokio::pin!(talk);
        tokio::select! {
            _ = &mut talk => child.wait().await?,
            status = child.wait() => {
                // What it left running in the background may keep its pipes open for ever.
                let _ = tokio::time::timeout(LAST_WORDS, talk).await;
                status?
            }
        }
    };
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// The last bytes of all that comes, from the beginning of a line if there is one within.
async fn last_of(mut from: impl AsyncRead + Unpin, kept: &mut Vec<u8>) {
    let (mut chunk, mut cut) = ([0; 4_096], false);
    // What cannot be read is as good as at its end.
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..count]);
        let surplus = kept.len().saturating_sub(REASON_BYTES_MAX);
        kept.drain(..surplus);
        cut |= surplus > 0;
    }
    if let Some(end) = kept.iter().position(|byte| *byte == b'\n').filter(|end| cut && end + 1 < kept.len()) {
        kept.drain(..=end);
    }
}

/// What there is to say of a child that said nothing.
fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

/// A child and what it began. Unless the child came to its end, all of it goes with this.
struct Family(Child);

#[cfg(target_os = "linux")]
impl Drop for Family {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            // Who is gone already need not go.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reason_is_the_end_of_what_was_said_from_the_beginning_of_a_line() {
        let last = async |said: String| {
            let mut kept = Vec::new();
            last_of(said.as_bytes(), &mut kept).await;
            String::from_utf8(kept).unwrap()
        };
        assert_eq!(last("one\ntwo\n".to_owned()).await, "one\ntwo\n");
        assert_eq!(last(format!("{}\nthe end\n", "x".repeat(5_000))).await, "the end\n");
        assert_eq!(last("x".repeat(5_000)).await.len(), REASON_BYTES_MAX);
    }
}
