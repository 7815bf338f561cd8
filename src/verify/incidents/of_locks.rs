//! Incidents with locks and leases: which worker holds a command or a cursor, and for how long.

use crate::incidents::{Incident, IncidentGroup, ShownBy};
use crate::schedule::orders::{AN_ORDER, WAITS};

pub(super) const GROUP: IncidentGroup = IncidentGroup {
    title: "Whose is it?",
    about: "A lock says who may work. Each of these locks said it to one more, to the wrong one, or to \
            none any more.",
    incidents: INCIDENTS,
};

const INCIDENTS: &[Incident] = &[
    Incident {
        title: "A late worker clears the lock of the next",
        project: "delayed_job",
        thread: "Timeouts can cause a delayed job to be picked up by two workers (#554)",
        url: "https://github.com/collectiveidea/delayed_job/issues/554",
        explanation: "A job may run for four hours; then its lock counts as lost, and another worker takes it. That \
                happened at eight o'clock sharp. Two seconds later the first worker noticed its own time-out, \
                treated it as a failure, and cleared the lock, which was not its lock any more. Five seconds \
                later a third worker found the job free, and two of them worked on it at once. A failure, like \
                an ack, has to say which claim it ends.",
        shown: ShownBy::Model("a_late_failure_frees_the_lock"),
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
    },
    Incident {
        title: "A job is completed by a worker that lost it",
        project: "Agenda",
        thread: "Jobs are not removed from the running/locked jobs when they expire (#589)",
        url: "https://github.com/agenda/agenda/issues/589",
        explanation: "The validity of a lock is looked at just before the job goes to its processor, and never again. \
                A worker that is slower than its lock still calls the job done or failed, beside the one that \
                took it over. The reporter also found that the lost job went on counting as one of the worker's \
                own, so that the limits of concurrency were wrong as well.",
        shown: ShownBy::Model("a_stale_token_settles"),
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
    },
    Incident {
        title: "An owner that comes back goes on under its old number",
        project: "sliceworkz eventstore",
        thread: "Lease re-acquisition by same owner after expiry/release gets new token (#176)",
        url: "https://github.com/sliceworkz/eventstore/pull/176",
        explanation: "Each lease had a fencing token, which grew when the owner changed. An owner whose lease had run out and \
                who took it again, or a process that was started anew under the same name, went on under the old \
                number, although anyone might have held the lease in between. What an earlier self had begun could not \
                be told from the work of the present one. Every time a lease is taken, it has a new token now.",
        shown: ShownBy::Model("a_lease_that_ran_out_goes_on_under_its_token"),
        breaks: "tokens_only_grow",
    },
    Incident {
        title: "A job is both finished and failed",
        project: "Solid Queue",
        thread: "Finished jobs ending up as failed with SolidQueue::Processes::ProcessPrunedError (#589)",
        url: "https://github.com/rails/solid_queue/issues/589",
        explanation: "A worker whose heartbeat was late, though it was alive, was pruned by another process, which \
                failed the jobs that it held. At the same moment the worker finished one of them. Both \
                transactions went through, since deleting a claim that was already deleted was no error. It was \
                mended by letting a claim end exactly once: a worker that deletes no row gets an error.",
        shown: ShownBy::Model("an_ack_of_what_is_gone_is_believed"),
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
    },
    Incident {
        title: "Two processors both believe that they have the claim",
        project: "Axon Framework",
        thread: "Tracking Processors can accidentally both believe they have a claim (#422)",
        url: "https://github.com/AxonIQ/AxonFramework/issues/422",
        explanation: "A processor of events holds a claim on its token while it works. When one event took longer than \
                the claim, another node took the token over and wrote its own name there. The first one then \
                extended what it thought was its claim, and the update went through, because the owner was \
                missing from its WHERE clause. Both went on.",
        shown: ShownBy::Model("a_stale_token_extends_the_cursor"),
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
    },
    Incident {
        title: "The newest lease is read before each use, and so is every other one",
        project: "Azure Event Hubs for .NET",
        thread: "Host can continue to update lease after losing partition. (#115)",
        url: "https://github.com/Azure/azure-event-hubs-dotnet/issues/115",
        explanation: "Hosts share partitions by leases on blobs. Before each checkpoint a host downloaded the lease \
                again, and so it always had the token of the owner by then. A host that had lost its \
                partition went on writing checkpoints under the winner's token. A fence that anyone can read the \
                key for is no fence.",
        shown: ShownBy::Model("a_stale_token_acks_an_event"),
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
    },
    Incident {
        title: "The old member goes on committing",
        project: "Alpakka Kafka",
        thread: "Manual commits are not handled appropriately after a consumer rebalance (#118)",
        url: "https://github.com/akka/alpakka-kafka/issues/118",
        explanation: "A new consumer joined a group, and the partitions were dealt out anew, correctly on the side of \
                the broker. The old consumer kept the offset of a partition that it no longer had in its map, \
                and committed it with every flush, again and again, beside the one who reads there now. The \
                reporter's logs show how. A consumer that has lost a partition must lose the right to say how far it was \
                read.",
        shown: ShownBy::Model("a_stale_token_acks_an_event"),
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
    },
    Incident {
        title: "Every worker has the same name, so every worker is the owner",
        project: "Postal",
        thread: "WorkerRole lock is shared when containers have the same hostname and PID (#3627)",
        url: "https://github.com/postalserver/postal/issues/3627",
        explanation: "A lock on scheduled tasks names its owner by host, process number and thread. In containers all \
                three are often the same. Each worker found its own name in the row, took that for a renewal, \
                and ran the task. The lock had never excluded anyone. It was mended with a random part in the \
                name. A token that is minted for each claim needs no name.",
        shown: ShownBy::Model("a_namesake_renews_the_lease"),
        breaks: "at_most_one_lease_is_current_for_a_delivery",
    },
    Incident {
        title: "A subscription runs on two nodes",
        project: "Wolverine",
        thread: "Agent assignment record goes stale during a handoff, and an event-subscription agent can end up running on two nodes at once (#4240)",
        url: "https://github.com/JasperFx/wolverine/issues/4240",
        explanation: "Which node runs which subscription is written in a table, and done elsewhere. During a handoff \
                the table and the nodes disagree for a while. Downstream that was seen as a projection that went \
                on after it had been paused, and as two daemons that wrote one shard, of which the table knew \
                one, so nothing could stop the other.",
        shown: ShownBy::Model("two_replicas_read_at_once"),
        breaks: "at_most_one_lease_is_current_for_a_delivery",
    },
    Incident {
        title: "Ownership is given back willingly, or not at all",
        project: "Durable Functions",
        thread: "Provide auto-mitigation preventing starvation in ownership lease load balancing (#2373)",
        url: "https://github.com/Azure/azure-functions-durable-extension/issues/2373",
        explanation: "Partitions were shared cooperatively: a worker that is asked for a partition first ends its work \
                and then hands it over. A worker that was stuck never did, and its partitions stood still until \
                an operator restarted the application. What has to be given back must also run out.",
        shown: ShownBy::Model("a_dead_replica_keeps_the_cursor"),
        breaks: "every_group_reaches_every_head_that_was",
    },
    Incident {
        title: "A killed worker keeps its job for ever",
        project: "Raquel",
        thread: "Handle killed Workers (#17)",
        url: "https://github.com/vduseev/raquel/issues/17",
        explanation: "A user who was about to use this queue on SQL asked what becomes of a job whose worker is \
                killed for want of memory. The author looked, and answered that it stays claimed for ever. An \
                earlier version had held a transaction open for as long as the work took; that was given up so \
                that SQLite could be supported too.",
        shown: ShownBy::Model("an_abandoned_lease_is_kept_for_ever"),
        breaks: "an_abandoned_lease_is_claimed_again",
    },
    Incident {
        title: "The reaper looks at another column",
        project: "Agenda",
        thread: "Running jobs with stale locks will not be restarted (#302)",
        url: "https://github.com/agenda/agenda/issues/302",
        explanation: "The locks of jobs do run out, and the query that looks for jobs does ask for stale locks. But it \
                asks for a time of the next run as well, and a job that runs once has none while it is running. \
                So its lock ran out, as documented, and no worker ever looked at it again.",
        shown: ShownBy::Model("an_abandoned_lease_is_kept_for_ever"),
        breaks: "an_abandoned_lease_is_claimed_again",
    },
    Incident {
        title: "Half of the lock is cleared",
        project: "queue-jobs-worker",
        thread: "Bug: releaseLock() leaves jobs permanently stuck in active status (#1)",
        url: "https://github.com/rafidahmed870/queue-jobs-worker/issues/1",
        explanation: "On a shutdown a worker gives back what it could not end. The release cleared the end of the \
                lease and left the status at active. Claims want a job that waits; the recovery wants an end \
                that lies in the past, and nothing compares with NULL. So of all jobs just the ones that were \
                given back in good order were lost, in all four adapters. One number that says when a command \
                may next be claimed cannot be cleared by half.",
        shown: ShownBy::Model("a_release_clears_half_of_the_lock"),
        breaks: "claims_come_oldest_due_first",
    },
    Incident {
        title: "A job is removed under its worker",
        project: "Bull",
        thread: "Taking lock on removal. (#291)",
        url: "https://github.com/OptimalBits/bull/pull/291",
        explanation: "Removing a job deleted its data whether or not a worker was working on it. What stayed behind in \
                the list of active jobs was found there later by the search for stalled jobs, and there was no \
                job to it any more. It was mended by taking the job's lock before it is removed.",
        shown: ShownBy::Model("a_held_command_is_cancelled"),
        breaks: "at_most_one_lease_is_current_for_a_delivery",
    },
    Incident {
        title: "Look first, and take then",
        project: "CAP",
        thread: "Concurrent problem with many micro-service instances (#41)",
        url: "https://github.com/dotnetcore/CAP/issues/41",
        explanation: "Instances of a service share a table of received messages. Each one reads what is to be done, \
                and then sets its state to being processed. Between the two, another instance may have done \
                both, and the handler too; the handler is then called a second time. The reporter's remedy is \
                the usual one: let the update say under which condition, and look how many rows it changed.",
        shown: ShownBy::Clients("a claim is a SELECT and then an UPDATE, in two transactions"),
        breaks: AN_ORDER,
    },
    Incident {
        title: "The lock comes with the first write",
        project: "Jentic One",
        thread: "fix(sqlite): eliminate \"database is locked\" via write-scoped BEGIN IMMEDIATE (#529)",
        url: "https://github.com/jentic/jentic-one/pull/529",
        explanation: "A worker claims jobs from a SQLite table with WAL and a busy time-out, and still failed with a \
                locked database, at once. Its transaction began with BEGIN, read in a subquery, and then wanted \
                to write. If another connection has committed in between, what was read is old, and no waiting \
                makes it new; so SQLite does not wait. BEGIN IMMEDIATE asks for the lock while waiting still \
                helps.",
        shown: ShownBy::Clients("BEGIN stands where BEGIN IMMEDIATE belongs"),
        breaks: WAITS,
    },
];
