//! The bus keeps the contract for its callers: transactions, outboxes, recordings, metrics and traces, and its own
//! threads.

mod a_recording_tells_whether_what_happened_was_allowed;
mod effects_and_messages_commit_together;
mod the_scenarios_of_the_seed;
mod the_threads_of_a_bus_keep_their_promises;
mod what_happens_can_be_seen;
