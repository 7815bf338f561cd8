//! Mutants of the SQL, chosen by hand: each is one statement of the registry with a piece of its text replaced.
//!
//! Invariant: for each one a scope is named in which the lockstep kills it. An equivalent mutant is listed with the
//! reason, and the report says that it survived. A piece that is not there any more is an error.

use fencepost::internals::sqlite::StatementId as Sql;
use fencepost::internals::sqlite::Statements;

/// A mutant of one statement.
#[derive(Clone, Copy, Debug)]
pub struct SqlMutant {
    /// Its name, a sentence.
    pub name: &'static str,
    /// The statement.
    pub statement: Sql,
    /// A piece of its text.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
    /// The scope in which that shows.
    pub scope: &'static str,
    /// Why nothing here can show it, if that is so.
    pub equivalent: Option<&'static str>,
}

impl SqlMutant {
    /// All statements, with this one mutated. `None` if the piece is not in its text.
    pub fn statements(&self) -> Option<Statements> {
        let standard = Statements::standard();
        let text = standard.get(self.statement);
        let mutated = text.replacen(self.from, self.to, 1);
        (text.contains(self.from) && mutated != text).then(|| standard.replaced(self.statement, mutated))
    }
}

/// The mutant of this name.
pub fn by_name(name: &str) -> Option<SqlMutant> {
    ALL.iter().find(|mutant| mutant.name == name).copied()
}

macro_rules! mutants {
    ($($name:ident, $statement:ident, $from:literal => $to:literal, $scope:literal $(, $equivalent:literal)?;)+) => {
        /// All mutants of the SQL.
        pub const ALL: &[SqlMutant] = &[$(SqlMutant {
            name: stringify!($name),
            statement: Sql::$statement,
            from: $from,
            to: $to,
            scope: $scope,
            equivalent: mutants!(@reason $($equivalent)?),
        },)+];
    };
    (@reason) => { None };
    (@reason $reason:literal) => { Some($reason) };
}

mutants! {
    what_is_not_due_is_claimed, CommandsDue, "due_at <= :now" => "due_at <= :now + 1", "leases";
    the_send_order_goes_before_the_due_time, CommandsDue, "ORDER BY due_at, seq" => "ORDER BY seq", "leases";
    an_attempt_is_not_counted, CommandClaim, "attempts + 1" => "max(attempts, 1)", "leases";
    a_second_claim_keeps_the_first_token, CommandClaim, "token = :token" => "token = coalesce(token, :token)", "leases";
    a_claim_leaves_the_due_time, CommandClaim, "due_at = :due_at" => "due_at = min(due_at, :due_at)", "leases";
    a_corrupt_delivery_is_forgotten, CommandMarkCorrupt, "corrupt = 1" => "corrupt = 0", "damaged-commands";
    the_last_unreadable_row_comes_first, CommandsUnreadable, "ORDER BY seq" => "ORDER BY seq DESC", "damaged-commands";
    a_dead_letter_loses_its_attempts, CommandAside, "reason), attempts" => "reason), 0", "set-aside";
    a_dead_letter_loses_its_last_reason, CommandAside, "coalesce(:reason, reason)" => ":reason", "leases";
    an_older_token_acks, CommandAck, "token = :token" => "token >= :token", "leases";
    what_could_not_be_decoded_is_acked, CommandAck, "AND corrupt = 0" => "", "damaged-commands";
    any_token_nacks, CommandNack, "token = :token" => "(token = :token OR token > 0)", "set-aside";
    the_last_nack_requeues, CommandNack, "AND attempts < attempts_max" => "", "leases";
    a_nack_keeps_its_place, CommandNack, "due_at = :due_at" => "due_at = min(due_at, :due_at)", "leases";
    a_nack_forgets_why, CommandNack, "reason = :reason" => "reason = nullif(:reason, :reason)", "leases";
    a_release_counts, CommandRelease, "attempts - 1" => "attempts", "releases";
    a_release_keeps_the_lease_time, CommandRelease, "due_at = :now" => "due_at = max(due_at, :now)", "releases";
    any_token_extends, CommandExtend, "token = :token" => "(token = :token OR token > 0)", "releases";
    a_batch_mints_one_token, TokensMint, "token_last + :count" => "token_last + min(1, :count)", "batches";
    a_boot_skips_nothing, TokensSkip, "token_last = :token_last" => "token_last = min(token_last, :token_last)", "falling-back";
    the_event_at_the_position_is_read_again, EventsOfName, "seq > :position" => "seq >= :position", "groups";
    one_position_for_all_names, SubscriptionMove, "AND name = :name" => "AND (name = :name OR 1)", "groups";
    one_position_for_all_groups, SubscriptionMove, "group_name = :group" => "(group_name = :group OR 1)", "events-set-aside";
    a_position_keeps_its_attempts, SubscriptionMove, "attempts = 0" => "attempts = attempts", "batches-of-events";
    a_front_counts_twice, SubscriptionCount, "attempts = :attempts" => "attempts = :attempts + 1", "exhausted-events";
    a_released_cursor_counts, SubscriptionsUncount, "attempts - 1" => "attempts", "batches-of-events";
    a_new_name_is_settled_over, CursorNarrow, "min(handed_through, :through)" => "max(handed_through, :through)", "names-added";
    more_is_settled_than_was_handed_out, CursorTake, "handed_through = :handed_through" => "handed_through = :handed_through + 1", "exhausted-events";
    a_reset_lets_the_holder_go_on, CursorsFence, "corrupt_seq = NULL" => "corrupt_seq = NULL WHERE token IS NULL", "epochs";
    a_start_is_ignored, SubscriptionInsert, ":position, 0" => "0 * :position, 0", "names-added";
    a_groups_record_names_no_group, EventAside, ":group, :place" => "nullif(:group, :group), :place", "events-set-aside";
    prune_takes_one_too_many, EventNeeded, "position < :seq" => "position < :seq - 1", "pruning";
    prune_looks_at_no_group, EventNeeded, "name = :name" => "name = :name || 'x'", "pruning";
    queue_and_log_share_their_ids, IdRecall, "kind = :kind" => "kind IN (:kind, 'command')", "ids";
    an_id_never_ends, IdEnd, "ended_at = :now" => "ended_at = nullif(:now, :now)", "ids";
    an_id_is_forgotten_too_late, IdsForgetCommands, "ended_at <= :cutoff" => "ended_at < :cutoff", "ids";
    an_event_with_a_copy_loses_its_id, IdsForgetEvents, "records.seq = ids.seq" => "records.seq = -ids.seq", "events-set-aside";
    a_redrive_keeps_the_attempts, RecordToQueue, ":now, 0, 0" => ":now, attempts, 0", "set-aside";
    a_redrive_copies, RecordRemove, "record = :record" => "record = -:record", "set-aside";
    a_repaired_record_stays_unreadable, RecordRepair, "unreadable = 0" => "unreadable = unreadable", "repaired-commands";
    a_repaired_name_is_the_one_that_was_there, RecordRepair, "name = :name" => "name = coalesce(name, :name)", "repaired-commands";
    a_repaired_message_loses_its_id, IdOfNumber, "seq = :seq" => "seq = -:seq", "repaired-commands";
    a_repaired_event_takes_the_id_of_a_command, IdOfNumber, "kind = :kind" => "kind = 'command'", "repaired-events";
    a_record_stays_in_its_epoch, RecordsFollow, "epoch = :next" => "epoch = min(epoch, :next)", "epochs";
    a_refused_transaction_leaves_its_parts, AtomicUndo, "ROLLBACK TO" => "RELEASE", "transactions";
    an_entry_does_not_wait, EntryNext, "due_at <= :now" => "due_at <= :now + 1", "entries";
    an_entry_is_counted_once, EntryCount, "attempts = :attempts" => "attempts = min(1, :attempts)", "entry-settlements";
    an_entry_is_anyones, EntryRead, "group_name = :group" => "group_name >= :group", "entry-settlements",
        "a record's number is unique, and one group alone redrives in these scopes, so no other group ever asks for it";
    the_front_of_the_log_only_moves_on, LogFirst, "log_first = :log_first" => "log_first = max(log_first, :log_first)", "events-set-aside",
        "the front only ever moves on, so the larger of the two is the new one";
    a_transaction_takes_its_lock_late, Begin, "BEGIN IMMEDIATE" => "BEGIN", "set-aside",
        "one connection waits for no other; what it means for several is a matter of schedules";
}
