//! The executable specification of fencepost, a durable message bus in one SQLite file.
//!
//! This crate says what the bus promises, in plain English on this page and as code that runs in its modules. It has
//! no dependency by default and knows no storage, no clock, no thread and no I/O: a state is plain ordered maps, an
//! operation is a value, and [`apply`] is a function. Every implementation is held against it, reply by reply and
//! table by table; it is read in ten minutes, and what it does not promise, the bus does not promise.
//!
//! # What it is
//!
//! Messages are commands or events. A **command** is sent to the **queue** and handled by one of the consumers that
//! compete for its name. An **event** is published to the **log** and handled by every **consumer group** that
//! subscribes to its name, in order.
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
//! // Somebody sends a command.
//! let name = Name::new("place.bet")?;
//! let message = Arc::new(Message::new(Kind::Command, name.clone(), *b"17 on red"));
//! let sent = apply(&mut bus, at(0), &Op::Send { message, delay_ms: 0 });
//! let seq = Seq::from(1);
//! assert_eq!(sent, Reply::Accepted { seq, fresh: true });
//!
//! // A worker claims it for 100 ms, and is delayed. The lease runs out, and another worker claims it.
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
//! let first = token_of(apply(&mut bus, at(10), &claim)).unwrap();
//! assert_eq!(token_of(apply(&mut bus, at(50), &claim)), None, "nothing is due: the lease runs");
//! let second = token_of(apply(&mut bus, at(200), &claim)).unwrap();
//! assert!(second > first);
//!
//! // The first worker wakes up and acks. Its token is stale: it is told so, and nothing changes.
//! let ack = |token: Token| Op::Settle { target: Target::Command(seq), token, how: Settlement::Ack };
//! assert_eq!(apply(&mut bus, at(210), &ack(first)), Reply::Refused(Refusal::LeaseLost));
//! assert_eq!(bus.queue.len(), 1);
//!
//! // The second worker's token is current.
//! assert!(matches!(apply(&mut bus, at(220), &ack(second)), Reply::Settled(_)));
//! assert!(bus.queue.is_empty());
//! # Ok::<(), fencepost_model::vocabulary::TextRule>(())
//! ```
//!
//! # The words
//!
//! | word | meaning |
//! | --- | --- |
//! | message | [`Message`](vocabulary::Message): an id if its sender wants one, a name, a kind, a payload, a content type, metadata |
//! | queue, log | where commands wait; the sequence of events, to which one only appends |
//! | consumer group | consumers that share one progress through the log; it has one [cursor](state::Cursor) |
//! | claim, poll | take the next due commands ([`Op::Claim`](op::Op::Claim)); take or keep a group's cursor and be handed its lowest unsettled events ([`Op::Poll`](op::Op::Poll)) |
//! | lease | the exclusive right, limited in time, to settle one command or to read for one group |
//! | fencing token | a [number](vocabulary::Token) that names a lease: it grows with each one and is never used twice |
//! | settle | end a delivery: [ack, nack, dead-letter, park or drop](op::Settlement) |
//! | dead-letter, park | move aside with all that is known, for a person to look at; hold back until a person releases it |
//! | redrive | put what was moved aside back, its attempts counted from zero |
//! | repair | give what cannot be decoded, and was moved aside, a message again |
//! | entry | a group's own [copy](state::Entry) of an event that was redriven |
//! | position | the number of the last event that a group has settled, for one name |
//! | epoch | the identity of one life of the log; a reset and a restore begin a new one |
//! | refusal | an [answer that says no](op::Refusal) and changes nothing: data, not an error |
//!
//! Every operation takes `now` from its caller. Time may stand still and jump either way: what is safe stays safe;
//! only promptness depends on the clock.
//!
//! # What is promised
//!
//! **Safety.** Each is a predicate over a transition or a state, listed in [`invariant::GUARANTEES`] and written from
//! the contract and from what can be seen, without a look at [`step`]. Those that speak of the past are judged
//! against a history that is kept beside the state, [`ghost`].
//!
//! - **G1** `every_accepted_command_is_in_exactly_one_place`. A command that was accepted is ready, leased, dead or
//!   parked, or it has ended because someone said so: it was acked, dropped, cancelled or purged. Whatever is moved
//!   aside keeps its message, its attempts and the last reason. What is aside or waits in a group stays as it is.
//! - **G2** `at_most_one_lease_is_current_for_a_delivery`. Nothing is handed out while somebody's lease on it runs,
//!   nobody withdraws what is held, and no two leases share a token. The end that a holder is told is the end.
//! - **G3** `a_stale_token_changes_nothing_and_is_told_so`. Only the current token of a lease settles, extends or
//!   releases; any other is answered [`LeaseLost`](op::Refusal::LeaseLost). A current token still settles after its
//!   time ran out, as long as nobody has taken the lease since. For everybody, what is answered is so, and a refusal
//!   changes nothing.
//! - **G4** `tokens_only_grow`. A token is never minted twice: not after a crash, a nack, a redrive or a seek, not
//!   after a power cut took the newest away ([`TOKENS_SKIPPED`](step::TOKENS_SKIPPED)), and not by a restored copy
//!   ([`TOKENS_PER_EPOCH`](step::TOKENS_PER_EPOCH)).
//! - **G5** `a_corrupt_row_never_reaches_a_handler_and_never_vanishes`. What cannot be decoded is delivered
//!   [as such](state::Body), cannot be acked, dropped or cancelled away, and ends among the dead with every column
//!   that is left. What has no readable name is found all the same. Whoever repairs a record is told what it replaces.
//! - **G6** `a_position_passes_an_event_only_by_its_settlement`, or by an explicit seek or a reset, or because an
//!   exhausted or unreadable event was moved to the dead: no event of a subscribed name is skipped, whatever names
//!   are added, removed, or read by another replica.
//! - **G7** `groups_do_not_see_each_other`. What one group does changes nothing for another.
//! - **G8** `a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts`, and a poll no such event. Attempts
//!   change by hand-outs, releases, settlements and redriving alone, and the nack of the last one dead-letters.
//! - **G9** `claims_come_oldest_due_first`, then in send order, and `each_poll_hands_out_the_lowest_unsettled_numbers`
//!   of the group's names, leaving none out.
//! - **G10** `a_remembered_id_is_accepted_once`. The same [content](vocabulary::Content) under a known id is answered
//!   with the first number, other content with [`Conflict`](op::Refusal::Conflict), and nothing is added.
//! - **G11** `a_retired_epoch_moves_nothing`. An epoch begins by a compare-and-swap and never twice; holders are
//!   fenced, and what belongs to an ended life is not delivered in the next.
//! - **G12** `effects_settled_in_one_transaction_happen_exactly_once`: all operations of
//!   [`Op::Atomic`](op::Op::Atomic), or none. Judged by [`World::judge`](world::World::judge), which looks inside.
//! - **G13** `prune_keeps_what_a_group_still_needs`, and what is young, and goes from the front only.
//! - **G14** `redrive_moves_and_never_copies`: back to where it came from, and for an event to that group alone.
//! - **G15** `sequence_numbers_are_dense_and_never_reused`, not even after everything was pruned or reset; what stands
//!   at a number is what was accepted under it.
//!
//! **Liveness**, for consumers that ask for every name, a clock that goes on, finite delays, and handlers that end.
//! Each is checked from every state of a scope by running fair consumers to a bound, [`liveness::LIVENESS`].
//!
//! - **L1** `every_command_comes_to_rest`: acked, dead or parked, also if every handler fails or dies.
//! - **L2** `an_abandoned_lease_is_claimed_again`.
//! - **L3** `a_poison_message_holds_up_others_only_for_a_bounded_number_of_attempts`.
//! - **L4** `every_group_reaches_every_head_that_was`.
//!
//! # How to read it
//!
//! 1. [`vocabulary`]: messages, names, numbers. Their constructors validate, so what exists is valid.
//! 2. [`op`]: all that can be asked, all answers, all refusals. These enums are exhaustive on purpose.
//! 3. [`state`]: what a bus keeps between two operations.
//! 4. [`step`]: the contract as code. One short function for each operation; [`apply`] is the way in.
//! 5. [`invariant`], [`liveness`]: the promises, by someone who has not read `step`.
//! 6. [`world`], [`scope`]: workers, clocks, crashes, lost answers, damaged rows; the small scopes in which all that
//!    can happen does. [`coverage`] counts what did. With the feature `check`, the module `check` explores each scope
//!    to its end, and [`generate`] walks where there is no end.
//! 7. [`mutant`]: the known ways to get it wrong, each killed by the guarantee that is named for it; [`story`] tells
//!    how. `docs/gallery.md` is made from these.
//!
//! # Features
//!
//! None by default. `serde`: the vocabulary, the operations and the state can be written down and read back.
//! `check`: exhaustive search with stateright.

#![forbid(unsafe_code)]

#[cfg(feature = "check")]
pub mod check;
pub mod coverage;
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
pub mod story;
pub mod vocabulary;
pub mod world;

pub use step::apply;
