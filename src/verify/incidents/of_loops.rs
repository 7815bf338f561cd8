//! Incidents in the loop around the handler, and in the threads that it waits with.

use crate::incidents::{Incident, IncidentGroup, ShownBy};
use crate::run_loop::RunLoopMutant as Mutant;
use crate::threads::{ThreadMutant as OfThreads, WOKEN};

pub(super) const GROUP: IncidentGroup = IncidentGroup {
    title: "The loop around the handler",
    about: "The queue may be perfect, and the loop that takes from it loses what it was given. These are \
            shown by our own run loop as a mutant, run in paused time.",
    incidents: INCIDENTS,
};

const INCIDENTS: &[Incident] = &[
    Incident {
        title: "Taken is taken for done",
        project: "persist-queue",
        thread: "task_done not behaving as I would expect (#36)",
        url: "https://github.com/peter-wangxu/persist-queue/issues/36",
        explanation: "A user read items from a SQLite queue, never called them done, and started the program again. \
                He expected all of them to be there. Those that he had read were gone: they counted as consumed \
                when they were handed out, and the call that says that they are done had nothing left to say.",
        shown: ShownBy::Loop(Mutant::AckBeforeTheEnd),
        breaks: "SettlesAfterTheEnd",
    },
    Incident {
        title: "After half an hour it runs again",
        project: "Hangfire",
        thread: "Hangfire 1.5.3 restarts always long jobs after 30 minutes (#514)",
        url: "https://github.com/HangfireIO/Hangfire/issues/514",
        explanation: "A job slept in a loop for longer than half an hour. It was cancelled and begun anew, every time, \
                although it was well and nothing had crashed. The mark that hides a job from other workers was \
                set once and never moved, and the setting that used to lengthen it had become obsolete. If \
                leases run out, the worker has to extend them for as long as the handler works.",
        shown: ShownBy::Loop(Mutant::NoHeartbeat),
        breaks: "LeaseKept",
    },
    Incident {
        title: "The handler is not told",
        project: "db-scheduler",
        thread: "Improve missing heartbeat handling (#402)",
        url: "https://github.com/kagkarlsson/db-scheduler/issues/402",
        explanation: "A user asked what happens when an instance freezes, or its network does: its heartbeats are \
                missed, another instance takes the execution over, as it should, and then the first one comes \
                back. It goes on working, for nothing tells it; a failing heartbeat was a line in the log. The \
                question led to a state of the heartbeat that a handler can ask for.",
        shown: ShownBy::Loop(Mutant::LossIsNotReported),
        breaks: "LossIsReported",
    },
    Incident {
        title: "Kept in the hand until it is stale",
        project: "Kombu",
        thread: "Redis transport causes multiple Celery job runs if eta exceeds visibility timeout (#337)",
        url: "https://github.com/celery/kombu/issues/337",
        explanation: "A task that is to run in some hours is taken by a worker at once, which keeps it in its memory \
                until it is time. Meanwhile the visibility time-out passes, the task is handed to another \
                worker, which keeps it too, and so on. At the hour all of them run it. One user counted about \
                forty runs of one task.",
        shown: ShownBy::Loop(Mutant::CommandsWithoutExpiry),
        breaks: "DispatchesInTime",
    },
    Incident {
        title: "More taken than there are hands",
        project: "Celery",
        thread: "\"disabled prefetch\" with \"task_acks_late = True\" and \"worker_prefetch_multiplier = 1\" is circumvented when using countdown on tasks (#3640)",
        url: "https://github.com/celery/celery/issues/3640",
        explanation: "A worker with one process is told to take one task at a time. Tasks with a countdown get around \
                that: the worker received both tasks that were sent, ran one, and held the other until the first \
                had ended. Another worker could have begun it at once, and was not given it.",
        shown: ShownBy::Loop(Mutant::ClaimsMoreThanFree),
        breaks: "ClaimsForFreeHandlers",
    },
    Incident {
        title: "Done, and it could not be written down",
        project: "JobRunr",
        thread: "Severe JobRunr Exception - Deleting a job that's in process (#516)",
        url: "https://github.com/jobrunr/jobrunr/issues/516",
        explanation: "A heartbeat writes a time into the rows of all jobs at work. If that falls together with a job's \
                own change from running to succeeded, one of the two transactions is refused. When it was the \
                job's, its success was lost; the job was still running as far as anyone could read, and was run \
                once more.",
        shown: ShownBy::Loop(Mutant::SettlementLostOnBusy),
        breaks: "SettlesEverything",
    },
    Incident {
        title: "The failure stops the loop, the rest goes through",
        project: "Marten",
        thread: "Async Daemon skips event on StopAll exception handling strategy. (#1845)",
        url: "https://github.com/JasperFx/marten/issues/1845",
        explanation: "A projection is to stop at the event that fails. It did stop: no more events were accepted. But \
                those that were waiting in its buffer were still worked off, one after the other, and the \
                progress was written behind each. After a restart it went on far behind the event that had \
                failed. It was mended by letting the buffer fail as a whole.",
        shown: ShownBy::Loop(Mutant::GoesOnAfterNack),
        breaks: "EventsInOrder",
    },
    Incident {
        title: "A deployment cuts everything off",
        project: "Graphile Worker",
        thread: "Make job cancellation optional during shutdown (#352)",
        url: "https://github.com/graphile/worker/issues/352",
        explanation: "The manual said that on SIGTERM a worker takes no more jobs, waits for those at work, and exits. \
                What it did was to fail the jobs at work at once and exit. For a user whose jobs take minutes \
                and who deploys often, that is the difference between done and begun again.",
        shown: ShownBy::Loop(Mutant::NoGrace),
        breaks: "GraceGiven",
    },
    Incident {
        title: "What was cut off stays locked",
        project: "Graphile Worker",
        thread: "Add an option to default to forceful shutdown (#526)",
        url: "https://github.com/graphile/worker/issues/526",
        explanation: "When a platform takes a process away sooner than its jobs end, their locks stay. They run out \
                after four hours. Until then no worker works on those jobs, although every worker could know that their \
                worker is gone. The reporter's development server did this to nearly each job that it had.",
        shown: ShownBy::Loop(Mutant::CommandsAreNotReleased),
        breaks: "SettlesEverything",
    },
    Incident {
        title: "Busy is taken for broken",
        project: "iTunes Store Transporter",
        thread: "Worker falls with error \"SQLite3::BusyException: database is locked\" (#8)",
        url: "https://github.com/sshaw/itunes_store_transporter_web/issues/8",
        explanation: "A worker that polls jobs from SQLite meets a locked database now and then, since another process \
                is writing. The exception went up to the top and ended the worker, and this happened regularly. \
                With a longer time-out it became rare, and happened once more. To be busy is not an error of the \
                store, but a request to come back.",
        shown: ShownBy::Loop(Mutant::BusyEndsTheRun),
        breaks: "BusyIsPatient",
    },
    Incident {
        title: "Looked first, listened then",
        project: "durable",
        thread: "Explicitly reconnect PgListener before returning Event::Lagged (#66)",
        url: "https://github.com/iopsystems/durable/pull/66",
        explanation: "A worker waits for notifications of PostgreSQL, and reads the database again when its connection \
                was lost. The listener reconnected with the next attempt to receive, which came after the \
                reading. A notification between the two reached no worker, and the worker slept on, perhaps for \
                ever. It has to listen before it looks.",
        shown: ShownBy::Threads(OfThreads::ListensAfterTheLook),
        breaks: WOKEN,
    },
];
