//! The executable specification of fencepost, a durable message bus in one SQLite file.
//!
//! This page says what the bus promises. The modules say the same as code that runs: a state is a set of ordered maps, an
//! operation is a value, and [`apply`] is a pure function. The crate has no storage, no clock, no thread and no I/O.
//!
//! The stores of fencepost are checked against this crate: after each operation the reply and the whole state must be
//! equal. What this page does not promise, the bus does not promise. Durability is outside of the model: what survives a killed
//! process and a power cut is described in `docs/durability.md`.
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | message | a [name](vocabulary::Name), a payload, a content type, metadata, and optionally an id; a command or an event |
//! | command, event | a message to one consumer; a message to every consumer group that subscribes to its name |
//! | queue, log | the ready, delayed and leased commands; the sequence of published events |
//! | claim, poll | take due commands ([`Op::Claim`](op::Op::Claim)); take a group's cursor and its next events ([`Op::Poll`](op::Op::Poll)) |
//! | lease | the exclusive right, for a limited time, to settle one command or to read for one group |
//! | fencing token | the [number](vocabulary::Token) of a lease; it grows with every lease and is never used twice |
//! | settle | end a delivery: [ack, nack, dead-letter, park or drop](op::Settlement) |
//! | attempt | one hand-out of a message; a release does not count |
//! | set aside | dead or parked: kept in a [record](state::Record) with its attempts and its last reason |
//! | redrive, purge, repair | return a record to its queue or group; delete it; replace the part of it that cannot be decoded |
//! | consumer group | consumers that share one progress through the log, with one [cursor](state::Cursor) |
//! | position | the number of the last event of a name that a group has settled |
//! | entry | a redriven event: a [copy](state::Entry) that belongs to one group |
//! | epoch | the identity of one life of the log; a reset and a restore begin a new epoch |
//! | refusal | a [reply](op::Refusal) that says no, and changes nothing; it is data, not an error |
//!
//! # The queue
//!
//! ```text
//! send ──> delayed ──> ready ──claim──> leased ──ack, drop──> ended
//!                        ^                │
//!                        ├─ nack, release,┤
//!                        │  lease expires │
//!                        │                ├─ dead-letter, attempts exhausted, corrupt ──> dead
//!                        │                └─ park ──────────────────────────────────────> parked
//!                        └──────────────────────── redrive ─────────────────────────────────┘
//! ```
//!
//! A sender puts a command into the queue, optionally with a delay. Workers claim commands by name. A claim takes the
//! commands that are due, the oldest first, and gives each a lease with a token of its own. While the lease runs, no other
//! worker gets the command.
//!
//! The worker settles the command under its token. An ack ends it. A nack returns it after a delay; the nack of the last
//! attempt dead-letters it. A release returns it without counting the attempt. If the lease expires, another worker may
//! claim the command under a new token. Until then the old token still settles.
//!
//! The owner of the store may cancel a command that no worker holds, redrive a dead or parked one, or purge it.
//!
//! # The log
//!
//! A publisher appends an event to the log. A consumer group subscribes to names. It has one cursor under one lease, so
//! one replica reads for the group and the others stand by. A poll hands out the lowest unsettled events of the group's
//! names, and the group settles them in that order. For each name the group has a position, which passes an event only when
//! the event is settled for the group. An event that is dead-lettered for one group stays in the log for the others. A
//! redriven event returns to its group alone, as an entry, and moves no position. Pruning deletes events from the front of
//! the log, when they are old and every group has passed them.
//!
//! # Failures
//!
//! - **A worker crashes or stalls.** Its lease expires and the message is handed out again. The old token is then stale:
//!   [`LeaseLost`](op::Refusal::LeaseLost).
//! - **A handler always fails, or kills its worker.** The message is dead-lettered after the maximum of attempts.
//! - **An answer is lost.** The sender repeats the message under the same id, and gets the number of the first one.
//! - **A row is damaged.** It is delivered as [corrupt](state::Body), never to a handler, and ends dead or parked. A
//!   [repair](op::Op::Repair) replaces what cannot be decoded.
//! - **The power fails.** The next open [skips tokens](step::TOKENS_SKIPPED), so that no lost token is minted again.
//! - **An old copy is restored.** It begins a new epoch, with a [range of tokens](step::TOKENS_PER_EPOCH) of its own.
//! - **The clock jumps.** Every operation gets `now` from its caller, and time may go backward. Safety does not depend on the
//!   clock. Only promptness does.
//!
//! # Transactions
//!
//! [`Op::Atomic`](op::Op::Atomic) applies several operations, all or none. A handler that writes its effects and its ack in
//! one transaction has its effects exactly once, although deliveries are at least once: a stale token undoes the effects.
//!
//! # Guarantees
//!
//! Safety. Each guarantee is a predicate over a transition or a state, listed in [`invariant::GUARANTEES`]. The predicates
//! never call [`step`]. Those about the past use a history that is kept beside the state, the [`ghost`].
//!
//! | id | guarantee | checked by |
//! | --- | --- | --- |
//! | G1 | An accepted command is ready, leased, dead or parked, or has ended. No operation loses its attempts or its last reason. | [`every_accepted_command_is_in_exactly_one_place`](invariant::records::every_accepted_command_is_in_exactly_one_place), [`nothing_is_lost_on_the_way`](invariant::records::nothing_is_lost_on_the_way) |
//! | G2 | A message is handed out only while no lease on it runs, and no two leases share a token. | [`at_most_one_lease_is_current_for_a_delivery`](invariant::queue::at_most_one_lease_is_current_for_a_delivery), [`current_tokens_are_distinct`](invariant::queue::current_tokens_are_distinct) |
//! | G3 | Only the current token settles, extends or releases. A stale token changes nothing and is refused. Every reply is true. | [`a_stale_token_changes_nothing_and_is_told_so`](invariant::queue::a_stale_token_changes_nothing_and_is_told_so), [`the_reply_fits_the_operation`](invariant::replies::the_reply_fits_the_operation) |
//! | G4 | A token is never minted twice: not after a crash, a power cut or a restore. | [`tokens_only_grow`](invariant::queue::tokens_only_grow) |
//! | G5 | A row that cannot be decoded never reaches a handler and is never lost. | [`a_corrupt_row_never_reaches_a_handler`](invariant::records::a_corrupt_row_never_reaches_a_handler), [`a_corrupt_row_never_vanishes`](invariant::records::a_corrupt_row_never_vanishes), [`a_repair_replaces_only_what_cannot_be_read`](invariant::repairs::a_repair_replaces_only_what_cannot_be_read) |
//! | G6 | A position passes an event only by its settlement, by an exhausted event's dead letter, or by an explicit seek or reset. | [`a_position_passes_an_event_only_by_its_settlement`](invariant::log::a_position_passes_an_event_only_by_its_settlement) |
//! | G7 | An operation for one group changes no other group. | [`groups_do_not_see_each_other`](invariant::log::groups_do_not_see_each_other) |
//! | G8 | A message with the maximum of attempts is not handed out again. | [`attempts_are_counted_and_limited`](invariant::queue::attempts_are_counted_and_limited) |
//! | G9 | A claim takes due commands oldest first; a poll takes the lowest unsettled events. Neither skips one. | [`claims_come_oldest_due_first`](invariant::queue::claims_come_oldest_due_first), [`each_poll_hands_out_the_lowest_unsettled_numbers`](invariant::log::each_poll_hands_out_the_lowest_unsettled_numbers) |
//! | G10 | A message under a remembered id is accepted once. Other [content](vocabulary::Content) under that id is refused. | [`a_remembered_id_is_accepted_once`](invariant::maintenance::a_remembered_id_is_accepted_once), [`the_id_of_what_is_there_is_remembered`](invariant::maintenance::the_id_of_what_is_there_is_remembered) |
//! | G11 | An epoch begins once, fences the holders of cursors, and delivers nothing of an ended epoch. | [`a_retired_epoch_moves_nothing`](invariant::maintenance::a_retired_epoch_moves_nothing) |
//! | G12 | All operations of a transaction take effect, or none. | [`a_refused_transaction_leaves_nothing`](invariant::maintenance::a_refused_transaction_leaves_nothing), [`World::check`](world::World::check) |
//! | G13 | Pruning removes only old events that every subscribed group has passed. | [`prune_keeps_what_a_group_still_needs`](invariant::maintenance::prune_keeps_what_a_group_still_needs) |
//! | G14 | A redrive moves a message to one place, and never copies it. | [`redrive_moves_and_never_copies`](invariant::records::redrive_moves_and_never_copies) |
//! | G15 | Sequence numbers are dense and never reused. | [`numbers_go_on_one_by_one`](invariant::maintenance::numbers_go_on_one_by_one), [`the_log_is_complete`](invariant::maintenance::the_log_is_complete) |
//!
//! Liveness, for consumers that ask for every name, a clock that goes on, finite delays, and handlers that end. Each
//! property is checked from every state of a scope, by running fair consumers to a bound; see [`liveness::LIVENESS`].
//!
//! - **L1** `every_command_comes_to_rest`: every command ends acked, dead or parked, also if every handler fails or dies.
//! - **L2** `an_abandoned_lease_is_claimed_again`: a lease that its worker never settles is claimed again after it expires.
//! - **L3** `a_poison_message_holds_up_others_only_for_a_bounded_number_of_attempts`: a message that kills every worker is
//!   dead-lettered, and all other messages are handled.
//! - **L4** `every_group_reaches_every_head_that_was`: every group passes every event of the log.
//!
//! # Example
//!
//! A worker is delayed, its lease expires, and another worker claims the command. The late ack is refused.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::sync::Arc;
//!
//! use fencepost_model::apply;
//! use fencepost_model::op::{Op, Refusal, Reply, Settlement, Target};
//! use fencepost_model::state::State;
//! use fencepost_model::vocabulary::{Kind, Message, Name, Names, Seq, Timestamp, Token};
//!
//! let mut bus = State::new();
//! let at = |ms: u32| Timestamp::from(ms);
//!
//! // A sender sends a command.
//! let name = Name::new("place.bet")?;
//! let message = Arc::new(Message::new(Kind::Command, name.clone(), *b"17 on red"));
//! let sent = apply(&mut bus, at(0), &Op::Send { message, delay_ms: 0 });
//! let seq = Seq::from(1);
//! assert_eq!(sent, Reply::Accepted { seq, fresh: true });
//!
//! // Worker A claims it for 100 ms. Worker B finds nothing due while the lease runs.
//! let claim = Op::Claim {
//!     names: Names::from([name]),
//!     max: NonZeroU32::MIN,
//!     lease_ms: 100,
//!     attempts_max: NonZeroU32::new(3).unwrap(),
//! };
//! let token_of = |reply: Reply| match reply {
//!     Reply::HandedOut { deliveries, .. } => deliveries.first().map(|delivery| delivery.token),
//!     _ => None,
//! };
//! let a = token_of(apply(&mut bus, at(10), &claim)).unwrap();
//! assert_eq!(token_of(apply(&mut bus, at(50), &claim)), None);
//!
//! // The lease of A expires, and B claims the command under a larger token.
//! let b = token_of(apply(&mut bus, at(200), &claim)).unwrap();
//! assert!(b > a);
//!
//! // The ack of A is refused and changes nothing. The ack of B ends the command.
//! let ack = |token: Token| Op::Settle { target: Target::Command(seq), token, how: Settlement::Ack };
//! assert_eq!(apply(&mut bus, at(210), &ack(a)), Reply::Refused(Refusal::LeaseLost));
//! assert_eq!(bus.queue.len(), 1);
//! assert!(matches!(apply(&mut bus, at(220), &ack(b)), Reply::Settled(_)));
//! assert!(bus.queue.is_empty());
//! # Ok::<(), fencepost_model::vocabulary::TextRule>(())
//! ```
//!
//! # Run the model
//!
//! `cargo test -p fencepost-model` explores every named scope to its end, and shows that every mutant is killed. The search
//! of one scope, with the feature `check`:
//!
//! ```
//! # #[cfg(feature = "check")] {
//! use std::sync::Arc;
//!
//! use fencepost_model::check::ScopeSearch;
//! use fencepost_model::world::Contract;
//! use fencepost_model::{explanation, mutant, scope};
//!
//! // The contract keeps every guarantee in every state of the scope.
//! let scope = scope::by_name("set-aside").unwrap();
//! let report = ScopeSearch::new(scope.clone(), Arc::new(Contract)).run(1);
//! assert!(report.counterexamples.is_empty());
//! assert_eq!(report.states, scope.states);
//!
//! // A mutant does not. Its shortest counterexample is explained step by step.
//! let mutant = mutant::by_name("redrive_copies").unwrap();
//! let report = ScopeSearch::new(scope.clone(), Arc::new(mutant)).shortest_to(mutant.breaks);
//! let (_, path) = &report.counterexamples[0];
//! println!("{}", explanation::explain(&scope, path, &mutant));
//! # }
//! ```
//!
//! # Modules, in reading order
//!
//! 1. [`vocabulary`]: messages, names and numbers. [`state`]: what a bus stores. [`op`]: operations, replies, refusals.
//!    [`description`]: their text.
//! 2. [`step`]: what each operation does, one short function each. [`policy`]: how a consumer settles after its handler.
//! 3. [`ghost`], [`invariant`], [`liveness`]: the guarantees.
//! 4. [`world`], [`scope`], [`generate`], [`coverage`]: workers, clocks and faults; what a search explores; what it
//!    exercised. The module `check` explores a scope with stateright.
//! 5. [`mutant`]: the contract with one known defect each. [`explanation`]: counterexamples as text. `docs/mutants.md` in
//!    the repository is made from these.
//!
//! # Crate features
//!
//! No feature is on by default, and without features the crate has no dependency. Features only add items.
//!
//! | feature | adds |
//! | --- | --- |
//! | `serde` | `Serialize` and `Deserialize` for the vocabulary, the operations, the state and the moves |
//! | `json` | `Draft::json`, for payloads from values that serde can encode |
//! | `check` | the module `check`: exhaustive search of a scope with stateright |

#![forbid(unsafe_code)]

#[cfg(feature = "check")]
pub mod check;
pub mod coverage;
pub mod description;
pub mod explanation;
pub mod generate;
pub mod ghost;
pub mod invariant;
pub mod liveness;
pub mod mutant;
pub mod op;
pub mod policy;
pub mod scope;
pub mod state;
pub mod step;
pub mod vocabulary;
pub mod world;

pub use step::apply;
