//! Incidents with failures: how often something is tried, and what becomes of what cannot be done.

use crate::incidents::{Incident, IncidentGroup, ShownBy};

pub(super) const GROUP: IncidentGroup = IncidentGroup {
    title: "How often, and what then?",
    about: "A failure that reports itself is easy. These are about workers that die without a word, and \
            about what is done with those that never succeed.",
    incidents: INCIDENTS,
};

const INCIDENTS: &[Incident] = &[
    Incident {
        title: "A crash makes it new",
        project: "Hindsight",
        thread: "Crash-interrupted operations are re-claimed indefinitely — claim attempts never count toward max_attempts (poison-pill regrind loop) (#2675)",
        url: "https://github.com/vectorize-io/hindsight/issues/2675",
        explanation: "An operation that made thousands of calls to a language model never got to its end before its \
                worker died. The recovery set its row back to pending and left the count of retries alone, which \
                only a failure that was caught ever raised. So it was claimed as new 54 times within a day, and \
                paid for 54 times, and the count still said zero. A claim has to count before anything can go \
                wrong.",
        shown: ShownBy::Model("expiry_clears_the_attempt_count"),
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
    },
    Incident {
        title: "32 attempts of at most one",
        project: "Oban",
        thread: "Job causing BEAM crash continued to be attempted way beyond max_attempts (#137)",
        url: "https://github.com/oban-bg/oban/issues/137",
        explanation: "A job used too much memory and took the whole virtual machine with it. Its attempts were \
                counted, with every claim, as they should be. But nothing looked at the count when the job was \
                taken up again, and no failure was ever handled: each start of the machine took it up and died \
                of it. When it was removed by hand it had had 32 attempts of at most one.",
        shown: ShownBy::Model("attempts_are_counted_and_not_looked_at"),
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
    },
    Incident {
        title: "What is used up waits for ever",
        project: "Oban",
        thread: "Fixing possible issue with basic engine (#1059)",
        url: "https://github.com/oban-bg/oban/pull/1059",
        explanation: "By then the query that fetches jobs did ask for fewer attempts than the maximum. Some jobs with \
                one attempt of one had still come back to the state available, and there they stayed: the query \
                passed over them for ever, and nothing moved them anywhere. Skipping is not an end. What is \
                exhausted has to come to rest where an operator will look.",
        shown: ShownBy::Model("an_exhausted_command_stays_in_the_queue"),
        breaks: "every_command_comes_to_rest",
    },
    Incident {
        title: "Waiting for one's turn uses up the attempts",
        project: "Laravel",
        thread: "Do not increment attempts on RateLimitedWithRedis (not a duplicate of the other issues) (#36250)",
        url: "https://github.com/laravel/framework/issues/36250",
        explanation: "A job is taken from the queue, a middleware finds that the rate limit is reached, and the job \
                goes back. The attempt had been counted when it was taken. So a job that has never run fails for \
                having been attempted too often, and the more it has to wait the sooner. The reporter wants what \
                sounds simple: wait as long as it takes, but fail after so many real failures.",
        shown: ShownBy::Model("a_release_counts_as_an_attempt"),
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
    },
    Incident {
        title: "The count dies with the connection",
        project: "Apache Pulsar",
        thread: "Docs: warn that negativeAcknowledge redelivery counter resets on dispatcher close (#1117)",
        url: "https://github.com/apache/pulsar-site/pull/1117",
        explanation: "After so many redeliveries a message goes to the dead letter topic. The redeliveries of a \
                negative acknowledgement are counted in memory, and the count is zero again when the consumer \
                reconnects, the topic moves, or the broker restarts. A message that brings its consumer down \
                does exactly that each time, and may be delivered without an end. The manual now says so.",
        shown: ShownBy::Model("a_killer_event_is_never_counted"),
        breaks: "a_poison_message_holds_up_others_only_for_a_bounded_number_of_attempts",
    },
    Incident {
        title: "One bad record, and nothing behind it",
        project: "Vert.x Kafka client",
        thread: "Consumer went to infinite loop when SerializationException throws (#220)",
        url: "https://github.com/vert-x3/vertx-kafka-client/issues/220",
        explanation: "A record that cannot be deserialised throws, the position does not move, the next poll reads the \
                same record, and so on, as fast as the machine can. Whatever lies behind it in the partition is \
                never seen. Keeping the order by trying for ever keeps the order of nothing.",
        shown: ShownBy::Model("a_poison_event_blocks_its_group"),
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
    },
    Incident {
        title: "The failing job is always the next",
        project: "persist-queue",
        thread: "nack option - end of queue (#129)",
        url: "https://github.com/peter-wangxu/persist-queue/issues/129",
        explanation: "A queue in SQLite gives a job back to its old place when it is nacked. The place is the front. A \
                job that always fails was therefore the next one each time, and the others stood behind it. The \
                reporter acked it and put a copy at the end instead, which is a way to lose it between the two.",
        shown: ShownBy::Model("nack_keeps_its_place_at_the_front"),
        breaks: "claims_come_oldest_due_first",
    },
    Incident {
        title: "Deleted first, written down second",
        project: "Laravel",
        thread: "Failed jobs can be lost (#24549)",
        url: "https://github.com/laravel/framework/issues/24549",
        explanation: "A job that has failed for the last time is deleted from its queue, and then an event is raised, \
                upon which it is written to the table of failed jobs. In between the job's own code is called to \
                clean up. When that used up the memory, the process ended at once, and the job was in neither \
                place.",
        shown: ShownBy::Model("dead_letter_deletes"),
        breaks: "every_accepted_command_is_in_exactly_one_place",
    },
    Incident {
        title: "In the error queue, without the reason",
        project: "MassTransit",
        thread: "_error queue exception headers Azure Service Bus (#572)",
        url: "https://github.com/MassTransit/MassTransit/issues/572",
        explanation: "A message whose consumer threw is moved to an error queue, with the exception in its headers. \
                That was so for one transport. On another the messages arrived in the error queue just as they \
                had been sent, and what had happened could be read nowhere. The headers were prepared and not \
                handed on.",
        shown: ShownBy::Model("a_dead_letter_forgets_why"),
        breaks: "every_accepted_command_is_in_exactly_one_place",
    },
    Incident {
        title: "What cannot be decoded is deleted",
        project: "Symfony Messenger",
        thread: "[Messenger] MessageDecodingFailedException should not delete message from queue (#44117)",
        url: "https://github.com/symfony/symfony/issues/44117",
        explanation: "A receiver that could not decode a message deleted it from the queue and then threw. It was so \
                in all the transports, and for a reason: left there, it would come again and again. But a \
                deployment that went out in the wrong order makes good messages undecodable for an hour, and \
                they were gone. Years later such failures were given the ordinary way of failures, with the \
                bytes as they came.",
        shown: ShownBy::Model("a_corrupt_command_is_deleted"),
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
    },
    Incident {
        title: "What cannot be mapped is acked",
        project: "Wolverine",
        thread: "Fix silent message loss when envelope mapper throws (RabbitMQ + MQTT) (#2511)",
        url: "https://github.com/JasperFx/wolverine/pull/2511",
        explanation: "Messages from a foreign producer had headers that the mapper could not read. The listener caught \
                the exception, acked the delivery to the broker, and dropped the message: no dead letter, no \
                redelivery, no trace. It was mended by moving such a message to the dead letters first, as far \
                as it is known, and by refusing it where that fails.",
        shown: ShownBy::Model("a_corrupt_delivery_can_be_acked"),
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
    },
];
