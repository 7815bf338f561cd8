//! Incidents about identity: duplicated copies, reused ids and numbers, and answers that come too early.

use crate::incidents::{Incident, IncidentGroup, ShownBy};
use crate::threads::{BEFORE_COMMIT, ThreadMutant as Mutant};

pub(super) const GROUP: IncidentGroup = IncidentGroup {
    title: "None, one, or two of it",
    about: "A message that is handled twice, or that is answered with yes and is not there. Most of these \
            begin with two steps that the author took for one.",
    incidents: INCIDENTS,
};

const INCIDENTS: &[Incident] = &[
    Incident {
        title: "Retry puts a copy back",
        project: "Resque",
        thread: "Shouldn't 'retry failed jobs' also clear them from the failed queue? (#924)",
        url: "https://github.com/resque/resque/issues/924",
        explanation: "The button that retries failed jobs put them into their queues and left them among the failed. \
                Pressed a second time it queued each of them twice. So people pressed the button that clears the \
                failed jobs as quickly as they could after it, and with that might delete what had failed in the \
                meantime. Two halves of a move, each done by hand.",
        shown: ShownBy::Model("redrive_copies"),
        breaks: "redrive_moves_and_never_copies",
    },
    Incident {
        title: "A shutdown gives it back, and then it fails",
        project: "Sidekiq",
        thread: "Race condition in shutdown (#4115)",
        url: "https://github.com/sidekiq/sidekiq/issues/4115",
        explanation: "When the time of grace is over, a shutdown pushes the jobs that still run back to their queues. \
                A job that is cut off fails with an error. If that happens a moment later, the failure writes a \
                retry, as failures do, and there are two of the job. The two steps belong to two threads, and \
                neither asked whether the job was still the worker's to put anywhere.",
        shown: ShownBy::Model("a_failure_after_the_release_leaves_a_copy"),
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
    },
    Incident {
        title: "Accepted, and not there",
        project: "Bull",
        thread: "Adding a job with a previously used id will silently drop the job (#1828)",
        url: "https://github.com/OptimalBits/bull/issues/1828",
        explanation: "A user took the key of a database row as the id of its job. The first time it ran. The next \
                time the row had changed, the job with the new content was added under the same id, and the call \
                succeeded; but the id was still known, so nothing was added. A repetition may be answered with \
                the first number. Something else under the same id has to be refused.",
        shown: ShownBy::Model("other_content_under_an_id_is_accepted"),
        breaks: "a_remembered_id_is_accepted_once",
    },
    Incident {
        title: "A failure frees the lock on the id",
        project: "sidekiq-unique-jobs",
        thread: "Using `:until_executed`, you can get many duplicates to appear in the RetrySet (#890)",
        url: "https://github.com/zoolutions/sidekiq-unique-jobs/issues/890",
        explanation: "A job is to be unique until it has been executed. It failed and went to wait for its retry, and \
                its lock was released as if it had been executed. The next one of its kind was accepted, failed, \
                and waited beside it, and so on without a limit. The id has to be remembered for as long as the \
                message is anywhere.",
        shown: ShownBy::Model("a_failed_command_frees_its_id"),
        breaks: "a_remembered_id_is_accepted_once",
    },
    Incident {
        title: "The next job gets the number of the last",
        project: "Delta Chat",
        thread: "autoincrement id in jobs-table (#641)",
        url: "https://github.com/deltachat/deltachat-core/pull/641",
        explanation: "The jobs of this messenger are rows of a SQLite table that are deleted when they are done. The \
                key was an INTEGER PRIMARY KEY without AUTOINCREMENT, and SQLite then takes one more than the \
                largest that is there. When the table was empty, a new job got the number of one that was done. \
                A caller that keeps such a number, to ask later whether the job was done, asks about the wrong job.",
        shown: ShownBy::Model("a_number_is_used_again_when_the_queue_is_empty"),
        breaks: "sequence_numbers_are_dense_and_never_reused",
    },
    Incident {
        title: "An empty stream begins at one again",
        project: "NATS JetStream",
        thread: "[FIXED] JetStream: stream first/last sequence possibly reset (#2753)",
        url: "https://github.com/nats-io/nats-server/pull/2753",
        explanation: "A stream from which everything has been consumed has no messages, and its numbers live in the \
                index of an empty block. That index was not forced to disk. After a server had been killed, the \
                stream began at its start again. Its consumer remembered a higher number, and so got nothing \
                until enough new messages had been given numbers that had been given before.",
        shown: ShownBy::Model("a_number_is_used_again_after_pruning"),
        breaks: "sequence_numbers_are_dense_and_never_reused",
    },
    Incident {
        title: "Restored, and everything new looks old",
        project: "Watermill",
        thread: "[watermill-sql] DefaultPostgreSQLSchema insert transaction_id using pg_current_xact_id cannot continue after restore the data (#576)",
        url: "https://github.com/ThreeDotsLabs/watermill/issues/576",
        explanation: "To get the order of commits right, messages and positions carry PostgreSQL's transaction id. The \
                data was exported and imported into a new cluster, whose transaction ids begin low. New messages \
                then had smaller ids than the saved positions, and subscribers took them for read. The manual \
                says so by now. A number means something within one life of whatever counts it, and the life \
                needs a name.",
        shown: ShownBy::Model("a_restored_copy_keeps_its_epoch"),
        breaks: "a_retired_epoch_moves_nothing",
    },
    Incident {
        title: "Refused at the end, and done all the same",
        project: "NServiceBus",
        thread: "Message handler invoked multiple times despite using outbox (#5648)",
        url: "https://github.com/Particular/NServiceBus/issues/5648",
        explanation: "The connection to the broker broke while a message was handled, and the broker gave the message \
                to another instance. Both handlers ran to their ends. The outbox let one of them commit and \
                refused the other, exactly as promised. But the handlers' effects were outside of that \
                transaction, and they had happened twice. Only what is in the transaction of the settlement is \
                taken back with it.",
        shown: ShownBy::Model("a_transaction_is_done_in_parts"),
        breaks: "effects_settled_in_one_transaction_happen_exactly_once",
    },
    Incident {
        title: "Acknowledged, and not yet on disk",
        project: "NATS JetStream",
        thread: "JetStream loses acknowledged writes by default due to deferred fsync (#7564)",
        url: "https://github.com/nats-io/nats-server/issues/7564",
        explanation: "The documentation said that a message that was acknowledged has been persisted. The server \
                acknowledged at once and synced every two minutes. Tests that simulated a power failure lost \
                what had been acknowledged shortly before, and in the worst case whole streams. Our mutant makes \
                the same step in a smaller place: a caller that waits is answered before the commit of its operation.",
        shown: ShownBy::Threads(Mutant::AnswersBeforeTheCommit),
        breaks: BEFORE_COMMIT,
    },
];
