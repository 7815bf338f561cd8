//! Incidents with the log: positions, names, starts, and what is deleted behind them.

use crate::incidents::{Incident, IncidentGroup, ShownBy};

pub(super) const GROUP: IncidentGroup = IncidentGroup {
    title: "How far have we read?",
    about: "A position is one number that stands for everything before it. Each of these moved it over \
            something that was not handled.",
    incidents: INCIDENTS,
};

const INCIDENTS: &[Incident] = &[
    Incident {
        title: "A smaller number commits later",
        project: "Watermill",
        thread: "[watermill-sql] using \"offset\" > (` + nextOffsetQuery + `) in schema_adapter_postgresql.go is bad idea (#311)",
        url: "https://github.com/ThreeDotsLabs/watermill/issues/311",
        explanation: "Messages get their numbers from a sequence, and subscribers ask for what is greater than the \
                last number that they have seen. A sequence gives numbers when a transaction writes. A \
                transaction that took 4 may commit after the one that took 5; the subscriber has read 5 by then \
                and never asks for 4 again. Where one transaction writes at a time, as in SQLite, numbers and \
                commits have one order.",
        shown: ShownBy::Model("events_become_visible_out_of_order"),
        breaks: "each_poll_hands_out_the_lowest_unsettled_numbers",
    },
    Incident {
        title: "A page with a hole in it",
        project: "Marten",
        thread: "Async daemon can silently skip a committed event when a partial page's ceiling advances over a visibility gap (from #4953) (#4964)",
        url: "https://github.com/JasperFx/marten/issues/4964",
        explanation: "The daemon knew of transactions that commit late, and waited for gaps before it raised its high \
                water mark. But the loader of pages reckoned the end of a page from the mark, and not from the \
                rows that it got. A row that was not visible for a moment was left out of the page, and the \
                progress was set to the page's end. The regression test holds back one insert and finds eleven \
                of twelve events projected.",
        shown: ShownBy::Model("events_become_visible_out_of_order"),
        breaks: "each_poll_hands_out_the_lowest_unsettled_numbers",
    },
    Incident {
        title: "Committed when it was received",
        project: "kafka-node",
        thread: "Offset missing on consumer failure (#1138)",
        url: "https://github.com/SOHU-Co/kafka-node/issues/1138",
        explanation: "A consumer was stopped in the middle of some hundred messages. When it came back it went on \
                behind the last one that had been committed, and those before it that were still under way were \
                never seen again. The answer was that a consumer group commits what it has received, which need \
                not be what the application has processed.",
        shown: ShownBy::Model("a_poll_moves_the_position"),
        breaks: "a_position_passes_an_event_only_by_its_settlement",
    },
    Incident {
        title: "The highest number wins",
        project: "Kafka consumer group for Go",
        thread: "ConsumerGroup.FlushOffsets() (#127)",
        url: "https://github.com/wvanbergen/kafka/issues/127",
        explanation: "Message 187 failed and was not committed; 188 succeeded and was. After a restart the group went \
                on at 189. The author explained that just the latest offset is kept, and that everything before \
                it counts as handled. That is what a position is; so it may only be moved by the next one in \
                line.",
        shown: ShownBy::Model("events_are_acked_out_of_order"),
        breaks: "a_position_passes_an_event_only_by_its_settlement",
    },
    Incident {
        title: "One thread's ack covers another thread's failure",
        project: "persist-queue",
        thread: "Using task_done() in multiple threads (#89)",
        url: "https://github.com/peter-wangxu/persist-queue/issues/89",
        explanation: "Two threads take an item each. The first one's work fails, so it does not call its task done. \
                The second one's succeeds, and it does; that call says no item, and saves how far the queue has \
                been read. After a restart both are gone.",
        shown: ShownBy::Model("events_are_acked_out_of_order"),
        breaks: "a_position_passes_an_event_only_by_its_settlement",
    },
    Incident {
        title: "Seen is taken for done",
        project: "Confluent Parallel Consumer",
        thread: "Message Loss Detected with frequent close and rebalancing (#826)",
        url: "https://github.com/confluentinc/parallel-consumer/issues/826",
        explanation: "Records are handled side by side, and what is committed is reckoned from those that are still \
                under way and from the highest number seen. That number was raised as soon as a record came from \
                the broker. If the partition was taken away before the record had been given to a handler, nothing \
                was under way, and the commit went up to a record that was not handled.",
        shown: ShownBy::Model("an_event_is_acked_before_it_was_handed_out"),
        breaks: "a_position_passes_an_event_only_by_its_settlement",
    },
    Incident {
        title: "Everything is marked as read",
        project: "agmsg",
        thread: "Atomic message consumption: prevent duplicate delivery and inject-failure loss with claim/ack (#373)",
        url: "https://github.com/fujibee/agmsg/issues/373",
        explanation: "An inbox on SQLite. It selects what is unread and shows it, and then an update marks \
                what is unread as read. A message that came between the two statements was marked and never \
                shown. The people who measured it also found the other half: two readers at once were both shown \
                the same.",
        shown: ShownBy::Model("an_event_is_acked_before_it_was_handed_out"),
        breaks: "a_position_passes_an_event_only_by_its_settlement",
    },
    Incident {
        title: "Only new ones, from whenever I come back",
        project: "NATS JetStream",
        thread: "[FIXED] JetStream: consumer with deliver new may miss messages (#3143)",
        url: "https://github.com/nats-io/nats-server/pull/3143",
        explanation: "A consumer that wants new messages starts at the head. As long as it had been given nothing, \
                that start was not kept: when the leader changed or the server restarted, it was worked out \
                again, and the head was further on by then. What had come in between was never delivered. A \
                start is decided once.",
        shown: ShownBy::Model("a_start_is_worked_out_again"),
        breaks: "a_position_passes_an_event_only_by_its_settlement",
    },
    Incident {
        title: "A new partition is read from where it is noticed",
        project: "Apache Kafka",
        thread: "KAFKA-12261: Mention about potential delivery loss on increasing partition when auto.offset.reset = latest (#10167)",
        url: "https://github.com/apache/kafka/pull/10167",
        explanation: "Partitions are added to a topic. Producers learn of them and write there; a consumer group \
                learns of them a little later, finds that it has no position there, and begins at the newest \
                message, as it was told for what it does not know. What was written in between is lost to it, \
                without a word. Since this thread the manual says so; a way to start there from the earliest is \
                discussed to this day.",
        shown: ShownBy::Model("a_new_name_starts_at_the_head"),
        breaks: "a_position_passes_an_event_only_by_its_settlement",
    },
    Incident {
        title: "One cursor over several filters",
        project: "NATS JetStream",
        thread: "Messages are skipped (disappeared) when using Rollup and multi-filter consumers (#8571)",
        url: "https://github.com/nats-io/nats-server/issues/8571",
        explanation: "A consumer reads two subjects by one cursor. On one of them a rollup deletes older messages, and \
                the cursor is moved past the last one that was deleted. A message of the other subject that lies \
                before that was neither deleted nor delivered, and the consumer reports that nothing is pending.",
        shown: ShownBy::Model("one_offset_for_all_names_of_a_group"),
        breaks: "a_position_passes_an_event_only_by_its_settlement",
    },
    Incident {
        title: "A consumer acks what was meant for others",
        project: "NATS JetStream",
        thread: "[FIXED] Don't ack msgs if we are filtered and they are not applicable. (#5639)",
        url: "https://github.com/nats-io/nats-server/pull/5639",
        explanation: "In a stream that keeps each message for as long as some consumer still wants it, a change of \
                leader made each consumer look through the stream and ack what it was past. A consumer with a \
                filter acked messages that its filter leaves out, which were never its own to ack. An ack is \
                what such a stream waits for before it removes a message.",
        shown: ShownBy::Model("an_ack_for_a_group_moves_another"),
        breaks: "groups_do_not_see_each_other",
    },
    Incident {
        title: "Trimmed under its readers",
        project: "Redis",
        thread: "Stream - deleted entries still show up in xpending (#6199)",
        url: "https://github.com/redis/redis/issues/6199",
        explanation: "A consumer group has read some entries of a stream and not acked them. The stream is trimmed to \
                a length, which asks no group. The entries are gone, and the group's list of what is pending \
                still names them; a consumer that recovers after a crash is given their numbers with nothing in \
                them, each time that it asks.",
        shown: ShownBy::Model("prune_asks_no_group"),
        breaks: "prune_keeps_what_a_group_still_needs",
    },
];
