//! One attempt to handle a message, as a child process.
//!
//! Invariant: no part of a message becomes part of the command line. The child does not outlive the attempt. A child may
//! leave its payload unread.
//! Does not depend on: the policy for failures.

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

/// The exit status for a nack: `EX_TEMPFAIL`.
const EXIT_NACK: i32 = 75;

/// How many of the last bytes of a child's standard error are kept.
const REASON_BYTES_MAX: usize = 1_024;

/// How long to read a child's standard error after its end.
const STDERR_TIMEOUT: Duration = Duration::from_millis(200);

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
        // An environment variable cannot hold a zero byte. A valid traceparent has none.
        ("TRACEPARENT", message.metadata(TRACEPARENT).filter(|trace| !trace.contains('\0'))),
    ];
    for (variable, value) in maybe {
        // A variable that this process inherited does not belong to the message.
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
    let mut child = ProcessGroup(command.spawn()?);
    let (status, said) = tokio::select! {
        ended = ended(&mut child.0, &delivery.payload) => ended?,
        // Another worker may handle the message now, so this attempt ends.
        () = delivery.lost() => return Err(HandlerError::retryable("the lease was lost")),
    };
    let reason = || match said.trim() {
        "" => describe(status),
        said => said.to_owned(),
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(EXIT_NACK) => Err(HandlerError::retryable(reason())),
        _ => Err(HandlerError::permanent(reason())),
    }
}

/// Gives a child its payload, and waits for its end.
async fn ended(child: &mut Child, payload: &[u8]) -> std::io::Result<(ExitStatus, String)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A child may end, or close its input, before it has read the payload. That is not a failure.
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
        let pipes = async { tokio::join!(feed, listen) };
        tokio::pin!(pipes);
        tokio::select! {
            _ = &mut pipes => child.wait().await?,
            status = child.wait() => {
                // A process that it left in the background may keep the pipes open.
                let _ = tokio::time::timeout(STDERR_TIMEOUT, pipes).await;
                status?
            }
        }
    };
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// Keeps the last bytes of a stream, and starts at the beginning of a line if one is among them.
async fn last_of(mut from: impl AsyncRead + Unpin, kept: &mut Vec<u8>) {
    let (mut chunk, mut cut) = ([0; 4_096], false);
    // A read error counts as the end of the stream.
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

/// The reason if a child wrote nothing to standard error.
fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

/// A child and its descendants. Unless the child has ended, dropping this kills all of them.
struct ProcessGroup(Child);

#[cfg(target_os = "linux")]
impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            // An error means that the group has ended already.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reason_is_the_end_of_standard_error_from_the_beginning_of_a_line() {
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
