//! The registry: one entry for each statement, in the order of the contract.
//!
//! Parameters are named, and an `INDEXED BY` stands wherever a missing index would turn a range read into a scan: such
//! a statement fails to prepare instead of becoming slow. Nothing uses `RETURNING`: SQLite collects its rows in a table
//! of their own, which costs more than a second look at the row. No statement reads a clock or a random number.

use super::statements;

/// The immutable columns of a message, in their canonical order.
macro_rules! body {
    () => {
        "id, name, content_type, payload, metadata, at, checksum"
    };
}

/// A name that cannot be read; word for word as in the partial indexes of the schema.
macro_rules! name_unreadable {
    () => {
        "typeof(name) <> 'text' OR octet_length(name) NOT BETWEEN 1 AND 255 \
         OR length(name) <> octet_length(name) OR name GLOB '*[^-a-zA-Z0-9._:/]*'"
    };
}

/// A command whose name or bookkeeping cannot be read; word for word as in the partial index of the schema.
macro_rules! command_unreadable {
    () => {
        concat!(
            name_unreadable!(),
            " OR typeof(due_at) <> 'integer' OR due_at < 0 \
              OR typeof(attempts) <> 'integer' OR attempts NOT BETWEEN 0 AND 4294967295 \
              OR typeof(token) NOT IN ('null', 'integer') OR token < 1 \
              OR typeof(attempts_max) <> typeof(token) OR attempts_max NOT BETWEEN 1 AND 4294967295 \
              OR (typeof(token) = 'integer' AND attempts < 1) \
              OR typeof(corrupt) <> 'integer' OR corrupt NOT IN (0, 1) \
              OR (typeof(token) = 'null' AND corrupt <> 0) \
              OR typeof(reason) NOT IN ('null', 'text')"
        )
    };
}

/// The columns of a record, in the order that they are decoded in.
macro_rules! record {
    () => {
        concat!(
            "record, kind, seq, epoch, group_name, place, cause, reason, attempts, moved_at, unreadable, ",
            body!(),
            ", raw_due_at, raw_attempts, raw_token, raw_attempts_max, raw_corrupt, raw_reason"
        )
    };
}

/// A readable command under its current token (G3).
macro_rules! held {
    () => {
        concat!("WHERE seq = :seq AND token = :token AND (", command_unreadable!(), ") IS NOT TRUE")
    };
}

statements! {
    // Transactions.

    /// Begins a writing transaction, and waits for the lock before it reads anything.
    Begin, Hot, ["G2", "G4", "G15"]: "BEGIN IMMEDIATE";
    /// Begins a reading transaction: all that is read in it is one state of the file.
    BeginRead, Hot, []: "BEGIN DEFERRED";
    /// Makes a transaction durable.
    Commit, Hot, ["G12"]: "COMMIT";
    /// Takes a transaction back.
    Rollback, Hot, ["G12"]: "ROLLBACK";
    /// Begins one operation of a batch that is committed together.
    BatchBegin, Hot, ["G12"]: "SAVEPOINT fencepost_batch";
    /// Keeps one operation of a batch.
    BatchKeep, Hot, ["G12"]: "RELEASE fencepost_batch";
    /// Takes one operation of a batch back, and leaves the others.
    BatchUndo, Hot, ["G12"]: "ROLLBACK TO fencepost_batch";
    /// Reads a number that changes when another connection has committed.
    DataVersion, Hot, []: "PRAGMA data_version";
    /// Begins a part of a transaction that can be taken back.
    AtomicBegin, Hot, ["G12"]: "SAVEPOINT fencepost_atomic";
    /// Keeps that part.
    AtomicKeep, Hot, ["G12"]: "RELEASE fencepost_atomic";
    /// Takes that part back.
    AtomicUndo, Hot, ["G12"]: "ROLLBACK TO fencepost_atomic";
    /// Reads the version of the schema, inside the transaction that relies on it.
    SchemaVersion, Hot, []: "PRAGMA user_version";

    /// Counts what a file holds before it is made ours.
    TablesCount, Listing, []: "SELECT count(*) FROM sqlite_schema";

    // The store row: counters, the bounds of the log, the epoch. SQL would count on from a text that looks like a
    // number, so what counts asks for an integer.

    /// Reads the counters, the bounds of the log and the epoch.
    StoreRead, Hot, []:
        "SELECT queue_last, record_last, token_last, log_first, log_head, epoch, commit_seq FROM store WHERE one = 1";
    /// Takes the next number of a transaction that changes something: the order of all transactions, in every process.
    CommitNumber, Hot, []:
        "UPDATE store SET commit_seq = commit_seq + 1 WHERE one = 1 AND typeof(commit_seq) = 'integer'";
    /// Reads the number of the last transaction that changed something.
    CommitNumberLast, Hot, []: "SELECT commit_seq FROM store WHERE one = 1";
    /// Mints tokens: each is greater than all before it.
    TokensMint, Hot, ["G2", "G3", "G4"]:
        "UPDATE store SET token_last = token_last + :count WHERE one = 1 AND typeof(token_last) = 'integer'";
    /// Reads the last token that was minted.
    TokensLast, Hot, ["G2", "G4"]: "SELECT token_last FROM store WHERE one = 1";
    /// Moves the token counter on, past whatever a power cut or a copy may have lost.
    TokensSkip, Hot, ["G4"]: "UPDATE store SET token_last = :token_last WHERE one = 1";
    /// Takes the next number of the queue.
    CommandNumber, Hot, ["G1", "G15"]:
        "UPDATE store SET queue_last = queue_last + 1 WHERE one = 1 AND typeof(queue_last) = 'integer'";
    /// Reads the number of the queue that was taken last.
    CommandNumberLast, Hot, ["G1", "G15"]: "SELECT queue_last FROM store WHERE one = 1";
    /// Takes the next number of the log.
    EventNumber, Hot, ["G15"]: "UPDATE store SET log_head = log_head + 1 WHERE one = 1 AND typeof(log_head) = 'integer'";
    /// Reads the number of the log that was taken last.
    EventNumberLast, Hot, ["G15"]: "SELECT log_head FROM store WHERE one = 1";
    /// Takes the next number of a record.
    RecordNumber, Hot, ["G14"]:
        "UPDATE store SET record_last = record_last + 1 WHERE one = 1 AND typeof(record_last) = 'integer'";
    /// Reads the number of a record that was taken last.
    RecordNumberLast, Hot, ["G14"]: "SELECT record_last FROM store WHERE one = 1";
    /// Reads whether the log reaches its recorded head: it fails closed if not.
    LogEnd, Hot, ["G15"]:
        "SELECT log_head, log_first, log_first > log_head OR EXISTS (SELECT 1 FROM log WHERE seq = log_head) \
         OR EXISTS (SELECT 1 FROM tombstones WHERE seq = log_head) FROM store WHERE one = 1";
    /// Moves the front of the log past what was deleted.
    LogFirst, Hot, ["G13", "G15"]: "UPDATE store SET log_first = :log_first WHERE one = 1";
    /// Reads whether an epoch is the current one or was used before.
    EpochUsed, Hot, ["G11"]:
        "SELECT EXISTS (SELECT 1 FROM store WHERE one = 1 AND epoch = :epoch) \
         OR EXISTS (SELECT 1 FROM epochs_retired WHERE epoch = :epoch)";
    /// Reads whether an epoch is no later than all that the store knows of.
    EpochPast, Hot, ["G4", "G11"]:
        "SELECT :epoch <= store.epoch OR EXISTS (SELECT 1 FROM epochs_retired WHERE epoch >= :epoch) \
         FROM store WHERE one = 1";
    /// Remembers the current epoch as one that has ended.
    EpochRetire, Hot, ["G11"]: "INSERT INTO epochs_retired (epoch) SELECT epoch FROM store WHERE one = 1";
    /// Begins an epoch.
    EpochBegin, Hot, ["G11"]: "UPDATE store SET epoch = :epoch WHERE one = 1";
    /// Reads the boot during which the file was last opened for writing.
    BootRead, Hot, ["G4"]: "SELECT boot_id FROM store WHERE one = 1";
    /// Remembers the boot during which the file is open for writing.
    BootWrite, Hot, ["G4"]: "UPDATE store SET boot_id = :boot_id WHERE one = 1";

    // Ids of senders and publishers.

    /// Looks up what is remembered under an id.
    IdRecall, Hot, ["G10"]: "SELECT seq, digest FROM ids WHERE kind = :kind AND id = :id";
    /// Remembers an id with the digest of its message's content.
    IdRemember, Hot, ["G10"]: "INSERT INTO ids (kind, id, seq, digest) VALUES (:kind, :id, :seq, :digest)";
    /// Notes that a message has ended: its id is remembered from now on for the owner's retention.
    IdEnd, Hot, ["G10"]:
        "UPDATE ids INDEXED BY ids_seq SET ended_at = :now WHERE kind = :kind AND seq = :seq";
    /// Reads the id that is remembered for a number: a repaired message has it again.
    IdOfNumber, Hot, ["G10"]: "SELECT id FROM ids INDEXED BY ids_seq WHERE kind = :kind AND seq = :seq";
    /// Forgets ids of commands that ended long enough ago.
    IdsForgetCommands, Hot, ["G10"]:
        "DELETE FROM ids INDEXED BY ids_ended WHERE kind = 'command' AND ended_at <= :cutoff";
    /// Forgets ids of events that ended long enough ago and of which no copy is left aside.
    IdsForgetEvents, Hot, ["G10"]:
        "DELETE FROM ids INDEXED BY ids_ended WHERE kind = 'event' AND ended_at <= :cutoff \
         AND NOT EXISTS (SELECT 1 FROM records INDEXED BY records_event WHERE records.kind = 'event' \
             AND records.epoch = :epoch AND records.seq = ids.seq) \
         AND NOT EXISTS (SELECT 1 FROM entries INDEXED BY entries_seq WHERE entries.seq = ids.seq)";
    /// Forgets all ids of events: their epoch has ended.
    IdsClearEvents, Hot, ["G11"]: "DELETE FROM ids WHERE kind = 'event'";

    // The queue.

    /// Puts a command into the queue.
    CommandInsert, Hot, ["G1"]: concat!(
        "INSERT INTO queue (seq, ", body!(), ", due_at, attempts, corrupt) \
         VALUES (:seq, :id, :name, :content_type, :payload, :metadata, :at, :checksum, :due_at, 0, 0)"
    );
    /// Finds due commands of one name: oldest due time first, then in send order.
    CommandsDue, Hot, ["G9", "L1", "L2"]:
        "SELECT due_at, seq, attempts, token IS NOT NULL FROM queue INDEXED BY queue_due \
         WHERE name = :name AND due_at <= :now ORDER BY due_at, seq LIMIT :max";
    /// Takes a command under a lease and counts the attempt.
    CommandClaim, Hot, ["G2", "G3", "G8"]:
        "UPDATE queue SET due_at = :due_at, attempts = attempts + 1, token = :token, \
         attempts_max = :attempts_max, corrupt = 0 WHERE seq = :seq";
    /// Reads what a claim hands out.
    CommandClaimed, Hot, ["G5", "G8"]: concat!("SELECT attempts, ", body!(), " FROM queue WHERE seq = :seq");
    /// Remembers that what was handed out could not be decoded.
    CommandMarkCorrupt, Hot, ["G5"]: "UPDATE queue SET corrupt = 1 WHERE seq = :seq";
    /// Finds commands whose name cannot be read.
    CommandsUnreadable, Hot, ["G5"]: concat!(
        "SELECT seq FROM queue INDEXED BY queue_unreadable WHERE seq >= 0 AND (",
        command_unreadable!(), ") ORDER BY seq LIMIT :max"
    );
    /// Copies an unreadable command aside, column for column; the queue's own row is deleted next.
    CommandAsideUnreadable, Hot, ["G1", "G5"]: concat!(
        "INSERT INTO records (record, kind, seq, place, cause, attempts, moved_at, unreadable, ", body!(),
        ", raw_due_at, raw_attempts, raw_token, raw_attempts_max, raw_corrupt, raw_reason) \
         SELECT :record, 'command', seq, 'dead', 'corrupt', 0, :now, 1, ", body!(),
        ", due_at, attempts, token, attempts_max, corrupt, reason FROM queue WHERE seq = :seq"
    );
    /// Copies a command aside with everything that is known of it; the queue's own row is deleted next.
    CommandAside, Hot, ["G1", "G5"]: concat!(
        "INSERT INTO records (record, kind, seq, place, cause, reason, attempts, moved_at, unreadable, ",
        body!(), ") SELECT :record, 'command', seq, :place, :cause, coalesce(:reason, reason), attempts, :now, \
         0, ", body!(), " FROM queue WHERE seq = :seq"
    );
    /// Deletes a command whose copy was put aside, or which was withdrawn.
    CommandRemove, Hot, ["G1"]: "DELETE FROM queue WHERE seq = :seq";
    /// Deletes a handled or dropped command, under its current token alone, and never what could not be decoded.
    CommandAck, Hot, ["G1", "G2", "G3", "G5"]:
        concat!("DELETE FROM queue ", held!(), " AND corrupt = 0");
    /// Gives a command back after a failure, unless it has had all its attempts.
    CommandNack, Hot, ["G2", "G3", "G8"]: concat!(
        "UPDATE queue SET due_at = :due_at, token = NULL, attempts_max = NULL, corrupt = 0, reason = :reason ",
        held!(), " AND attempts < attempts_max"
    );
    /// Gives a command back that was not dispatched: its attempt does not count.
    CommandRelease, Hot, ["G2", "G3"]: concat!(
        "UPDATE queue SET due_at = :now, attempts = attempts - 1, token = NULL, attempts_max = NULL, corrupt = 0 ",
        held!()
    );
    /// Moves the end of a lease.
    CommandExtend, Hot, ["G3"]: concat!("UPDATE queue SET due_at = :due_at ", held!());
    /// Reads who holds a command, to word a refusal.
    CommandInspect, Hot, ["G3", "G5"]: concat!(
        "SELECT (", command_unreadable!(), ") IS TRUE, token, due_at FROM queue WHERE seq = :seq"
    );
    /// Reads what a command carries.
    CommandRead, Hot, ["G5"]: concat!("SELECT ", body!(), " FROM queue WHERE seq = :seq");

    // The log.

    /// Appends an event.
    EventInsert, Hot, ["G15"]: concat!(
        "INSERT INTO log (seq, ", body!(), ") \
         VALUES (:seq, :id, :name, :content_type, :payload, :metadata, :at, :checksum)"
    );
    /// Finds the numbers of events of one name past a position, in order.
    EventsOfName, Hot, ["G6", "G9"]:
        "SELECT seq FROM log INDEXED BY log_name WHERE name = :name AND seq > :position ORDER BY seq LIMIT :max";
    /// Reads what an event carries.
    EventRead, Hot, ["G5"]: concat!("SELECT ", body!(), " FROM log WHERE seq = :seq");
    /// Finds events whose name cannot be read.
    EventsUnreadable, Hot, ["G5"]: concat!(
        "SELECT seq FROM log INDEXED BY log_unreadable WHERE seq >= 0 AND (",
        name_unreadable!(), ") ORDER BY seq LIMIT :max"
    );
    /// Copies an event aside, column for column: for one group, or for all groups when its name cannot be read.
    EventAside, Hot, ["G5", "G7"]: concat!(
        "INSERT INTO records (record, kind, seq, epoch, group_name, place, cause, reason, attempts, moved_at, \
         unreadable, ", body!(), ") SELECT :record, 'event', seq, (SELECT epoch FROM store WHERE one = 1), \
         :group, :place, :cause, :reason, :attempts, :now, (", name_unreadable!(), ") IS TRUE, ", body!(),
        " FROM log WHERE seq = :seq"
    );
    /// Deletes an event.
    EventRemove, Hot, ["G13"]: "DELETE FROM log WHERE seq = :seq";
    /// Keeps the number of an event that was moved to the dead for all groups.
    TombstoneInsert, Hot, ["G5", "G15"]: "INSERT INTO tombstones (seq) VALUES (:seq)";
    /// Reads whether a number is kept for an event that was moved to the dead.
    TombstoneRead, Hot, ["G15"]: "SELECT seq FROM tombstones WHERE seq = :seq";
    /// Deletes such a number.
    TombstoneRemove, Hot, ["G13"]: "DELETE FROM tombstones WHERE seq = :seq";
    /// Reads whether a subscribed group has yet to pass an event. A damaged position counts as not passed.
    EventNeeded, Hot, ["G13"]:
        "SELECT EXISTS (SELECT 1 FROM subscriptions INDEXED BY subscriptions_name \
         WHERE name = :name AND (position < :seq OR typeof(position) <> 'integer'))";
    /// Deletes all events: their epoch has ended.
    LogClear, Listing, ["G11"]: "DELETE FROM log";
    /// Deletes all kept numbers: their epoch has ended.
    TombstonesClear, Listing, ["G11"]: "DELETE FROM tombstones";

    // Consumer groups.

    /// Reads the cursor of a group.
    CursorRead, Hot, ["G3"]:
        "SELECT due_at, token, attempts_max, handed_through, corrupt_seq FROM cursors WHERE group_name = :group";
    /// Makes the cursor of a group that begins to exist.
    CursorInsert, Hot, ["G7"]:
        "INSERT INTO cursors (group_name, due_at) VALUES (:group, 0) ON CONFLICT (group_name) DO NOTHING";
    /// Deletes the cursor of a group that has ended.
    CursorRemove, Hot, ["G7"]: "DELETE FROM cursors WHERE group_name = :group";
    /// Puts a cursor under a lease.
    CursorTake, Hot, ["G2", "G3", "G6"]:
        "UPDATE cursors SET due_at = :due_at, token = :token, attempts_max = :attempts_max, \
         handed_through = :handed_through, corrupt_seq = :corrupt_seq WHERE group_name = :group";
    /// Ends the lease of a cursor; the group may be polled again at its due time.
    CursorFree, Hot, ["G2", "G3"]:
        "UPDATE cursors SET due_at = :due_at, token = NULL, attempts_max = NULL, handed_through = NULL, \
         corrupt_seq = NULL WHERE group_name = :group";
    /// Moves the end of a cursor's lease.
    CursorExtend, Hot, ["G3"]: "UPDATE cursors SET due_at = :due_at WHERE group_name = :group";
    /// Narrows what a holder may settle to what lies before the first event of a new name.
    CursorNarrow, Hot, ["G6"]:
        "UPDATE cursors SET handed_through = min(handed_through, :through) \
         WHERE group_name = :group AND token IS NOT NULL";
    /// Ends the leases of all cursors.
    CursorsFence, Listing, ["G11"]:
        "UPDATE cursors SET due_at = :now, token = NULL, attempts_max = NULL, handed_through = NULL, \
         corrupt_seq = NULL";
    /// Ends the leases of all cursors that are held.
    CursorsFenceHeld, Listing, ["G4", "G11"]:
        "UPDATE cursors SET due_at = :now, token = NULL, attempts_max = NULL, handed_through = NULL, \
         corrupt_seq = NULL WHERE token IS NOT NULL";
    /// Lets a group read a name.
    SubscriptionInsert, Hot, ["G6", "G7"]:
        "INSERT INTO subscriptions (group_name, name, position, attempts) VALUES (:group, :name, :position, 0)";
    /// Reads where a group stands in a name.
    SubscriptionRead, Hot, ["G6"]: "SELECT position FROM subscriptions WHERE group_name = :group AND name = :name";
    /// Lets a group read a name no more.
    SubscriptionRemove, Hot, ["G7"]: "DELETE FROM subscriptions WHERE group_name = :group AND name = :name";
    /// Reads whether a group reads anything.
    SubscriptionsLeft, Hot, ["G7"]: "SELECT EXISTS (SELECT 1 FROM subscriptions WHERE group_name = :group)";
    /// Reads a group's progress in each of its names, with the next event of each.
    SubscriptionsFront, Hot, ["G6", "G7", "G9"]:
        "SELECT name, position, attempts, counted, reason, \
         (SELECT log.seq FROM log INDEXED BY log_name WHERE log.name = subscriptions.name \
          AND log.seq > subscriptions.position ORDER BY log.seq LIMIT 1) \
         FROM subscriptions WHERE group_name = :group ORDER BY name";
    /// Moves a group's position in one name, its attempts counted from zero.
    SubscriptionMove, Hot, ["G6", "G7"]:
        "UPDATE subscriptions SET position = :position, attempts = 0, counted = NULL, reason = NULL \
         WHERE group_name = :group AND name = :name";
    /// Counts a hand-out of the next event of a name as first in line, under its token.
    SubscriptionCount, Hot, ["G8"]:
        "UPDATE subscriptions SET attempts = :attempts, counted = :token \
         WHERE group_name = :group AND name = :name";
    /// Keeps why the next event of a name was not handled.
    SubscriptionNack, Hot, ["G7"]:
        "UPDATE subscriptions SET reason = :reason WHERE group_name = :group AND name = :name";
    /// Takes back what was counted under a token that is given back.
    SubscriptionsUncount, Hot, ["G8"]:
        "UPDATE subscriptions SET attempts = attempts - 1, counted = NULL \
         WHERE group_name = :group AND counted = :token";
    /// Puts all groups before the start of a new epoch.
    SubscriptionsRestart, Listing, ["G11"]:
        "UPDATE subscriptions SET position = :position, attempts = 0, counted = NULL, reason = NULL";

    // A group's redriven entries.

    /// Finds the lowest due entry of a group past a number. A damaged due time counts as due, and is found out.
    EntryNext, Hot, ["G7", "G9"]:
        "SELECT record, seq, due_at FROM entries INDEXED BY entries_line WHERE group_name = :group \
         AND seq > :past AND (due_at <= :now OR typeof(due_at) <> 'integer') ORDER BY seq, record LIMIT 1";
    /// Reads an entry.
    EntryRead, Hot, ["G5", "G7"]: concat!(
        "SELECT seq, attempts, counted, ", body!(), " FROM entries WHERE record = :record AND group_name = :group"
    );
    /// Counts a hand-out of an entry under its token.
    EntryCount, Hot, ["G8"]: "UPDATE entries SET attempts = :attempts, counted = :token WHERE record = :record";
    /// Gives an entry back after a failure.
    EntryNack, Hot, ["G3", "G7"]:
        "UPDATE entries SET due_at = :due_at, counted = NULL, reason = :reason WHERE record = :record";
    /// Takes back what was counted under a token that is given back.
    EntriesUncount, Hot, ["G8"]:
        "UPDATE entries INDEXED BY entries_line SET attempts = attempts - 1, counted = NULL \
         WHERE group_name = :group AND counted = :token";
    /// Deletes an entry that was settled or moved.
    EntryRemove, Hot, ["G14"]: "DELETE FROM entries WHERE record = :record";
    /// Moves an entry back among the records, under the number that it had there.
    EntryAside, Hot, ["G5", "G14"]: concat!(
        "INSERT INTO records (record, kind, seq, epoch, group_name, place, cause, reason, attempts, moved_at, \
         unreadable, ", body!(), ") SELECT record, 'event', seq, (SELECT epoch FROM store WHERE one = 1), \
         group_name, :place, :cause, coalesce(:reason, reason), attempts, :now, (", name_unreadable!(),
        ") IS TRUE, ", body!(), " FROM entries WHERE record = :record"
    );
    /// Finds the entries of a group that leave with a name, or, with no name, all of them.
    EntriesOfGroup, Hot, ["G5", "G7"]:
        "SELECT record FROM entries INDEXED BY entries_line WHERE group_name = :group \
         AND (:name IS NULL OR name = :name)";
    /// Finds all entries: their epoch has ended.
    EntriesAll, Listing, ["G11"]: "SELECT record FROM entries ORDER BY record";

    // Records: dead letters and parked messages.

    /// Reads a record with what it carries.
    RecordRead, Hot, ["G5", "G14"]: concat!(
        "SELECT kind, seq, epoch, group_name, unreadable, ", body!(), " FROM records WHERE record = :record"
    );
    /// Copies a record's command back into the queue, under its own number; the record is deleted next.
    RecordToQueue, Hot, ["G1", "G14"]: concat!(
        "INSERT INTO queue (seq, ", body!(), ", due_at, attempts, corrupt) SELECT seq, ", body!(),
        ", :now, 0, 0 FROM records WHERE record = :record"
    );
    /// Copies a record's event into its group, as an entry; the record is deleted next.
    RecordToEntry, Hot, ["G7", "G14"]: concat!(
        "INSERT INTO entries (record, group_name, seq, due_at, attempts, ", body!(),
        ") SELECT record, group_name, seq, :now, 0, ", body!(), " FROM records WHERE record = :record"
    );
    /// Deletes a record that was redriven or purged.
    RecordRemove, Hot, ["G1", "G14"]: "DELETE FROM records WHERE record = :record";
    /// Writes a message over what cannot be decoded in a record.
    RecordRepair, Hot, ["G5"]:
        "UPDATE records SET unreadable = 0, id = :id, name = :name, content_type = :content_type, \
         payload = :payload, metadata = :metadata, at = :at, checksum = :checksum, raw_due_at = NULL, \
         raw_attempts = NULL, raw_token = NULL, raw_attempts_max = NULL, raw_corrupt = NULL, raw_reason = NULL \
         WHERE record = :record";
    /// Lets the records of an ended epoch follow into the next one: their store is a copy.
    RecordsFollow, Hot, ["G11"]:
        "UPDATE records INDEXED BY records_event SET epoch = :next WHERE kind = 'event' AND epoch = :ended";

    // The whole store, for snapshots.

    /// Lists the epochs that have ended.
    ListEpochs, Listing, []: "SELECT epoch FROM epochs_retired";
    /// Lists the ids that are remembered.
    ListIds, Listing, []: "SELECT kind, id, seq, digest, ended_at FROM ids";
    /// Lists the queue.
    ListQueue, Listing, []: concat!(
        "SELECT seq, (", command_unreadable!(), ") IS TRUE, ", body!(),
        ", due_at, attempts, token, attempts_max, corrupt, reason FROM queue ORDER BY seq"
    );
    /// Lists the log.
    ListLog, Listing, []: concat!("SELECT seq, ", body!(), " FROM log ORDER BY seq");
    /// Lists the numbers whose events were moved to the dead for all groups.
    ListTombstones, Listing, []: "SELECT seq FROM tombstones ORDER BY seq";
    /// Lists the cursors.
    ListCursors, Listing, []:
        "SELECT group_name, due_at, token, attempts_max, handed_through, corrupt_seq FROM cursors";
    /// Lists what groups read.
    ListSubscriptions, Listing, []:
        "SELECT group_name, name, position, attempts, counted, reason FROM subscriptions";
    /// Lists the entries of all groups.
    ListEntries, Listing, []: concat!(
        "SELECT record, group_name, seq, due_at, attempts, counted, reason, ", body!(),
        " FROM entries ORDER BY record"
    );
    /// Lists the records.
    ListRecords, Listing, []: concat!("SELECT ", record!(), " FROM records ORDER BY record");

    // What an owner looks at: totals, and records page by page.

    /// Counts the readable commands of each name: due, delayed and held, with the oldest due time.
    OverviewQueue, Listing, []: concat!(
        "SELECT name, sum(due_at <= :now), sum(due_at > :now AND token IS NULL), \
         sum(due_at > :now AND token IS NOT NULL), min(due_at) FROM queue WHERE (", command_unreadable!(),
        ") IS NOT TRUE GROUP BY name ORDER BY name"
    );
    /// Counts the commands whose name cannot be read.
    OverviewUnreadable, Listing, ["G5"]: concat!(
        "SELECT count(*) FROM queue INDEXED BY queue_unreadable WHERE ", command_unreadable!()
    );
    /// Counts the records in each place, the ids, and the numbers of the log that have no event any more.
    OverviewTotals, Listing, []:
        "SELECT (SELECT count(*) FROM records INDEXED BY records_place WHERE place = 'dead'), \
         (SELECT count(*) FROM records INDEXED BY records_place WHERE place = 'parked'), \
         (SELECT count(*) FROM ids), (SELECT count(*) FROM tombstones)";
    /// Reads where each group stands in each of its names, and how many events of the name lie past that.
    OverviewGroups, Listing, []:
        "SELECT subscriptions.group_name, name, position, attempts, \
         (SELECT count(*) FROM log INDEXED BY log_name WHERE log.name = subscriptions.name \
          AND log.seq > subscriptions.position), cursors.group_name IS NOT NULL, \
         due_at, token, attempts_max, handed_through, corrupt_seq \
         FROM subscriptions LEFT JOIN cursors ON cursors.group_name = subscriptions.group_name \
         ORDER BY subscriptions.group_name, name";
    /// Counts the entries of each group and name.
    OverviewEntries, Listing, []:
        "SELECT group_name, name, count(*) FROM entries GROUP BY group_name, name";
    /// Reads a page of the records.
    RecordsPage, Hot, []:
        concat!("SELECT ", record!(), " FROM records WHERE record > :after ORDER BY record LIMIT :limit");
    /// Reads a page of the records in one place.
    RecordsPageOfPlace, Hot, []: concat!(
        "SELECT ", record!(), " FROM records INDEXED BY records_place WHERE place = :place AND record > :after \
         ORDER BY record LIMIT :limit"
    );
    /// Reads a page of the records of one name, perhaps in one place. It passes over all others on its way.
    RecordsPageNamed, Listing, []: concat!(
        "SELECT ", record!(), " FROM records WHERE record > :after AND name = :name \
         AND (:place IS NULL OR place = :place) ORDER BY record LIMIT :limit"
    );
    /// Reads one record.
    RecordLook, Hot, []: concat!("SELECT ", record!(), " FROM records WHERE record = :record");

    // When to come back.

    /// Reads when the first command of a name is due.
    CommandNextDue, Hot, ["L1", "L2"]:
        "SELECT due_at FROM queue INDEXED BY queue_due WHERE name = :name ORDER BY due_at LIMIT 1";
    /// Reads when the first entry of a group is due. A damaged due time counts as due, and is found out by the poll.
    EntryNextDue, Hot, ["L4"]:
        "SELECT min(iif(typeof(due_at) = 'integer' AND due_at >= 0, due_at, 0)) \
         FROM entries INDEXED BY entries_line WHERE group_name = :group";

    // Checking a file.

    /// Lists what the file holds besides rows: tables, indexes, views and triggers, ours and others'.
    ListSchema, Listing, []:
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY type, name";
    /// Reads the same as it comes, without sorting, at each opening.
    SchemaLook, Listing, []: "SELECT type, name, tbl_name, sql FROM sqlite_schema";
    /// Reads how many bytes the pages of the file have.
    FileBytes, Listing, []:
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    /// Lets SQLite look through the whole file.
    IntegrityCheck, Listing, []: "PRAGMA integrity_check(100)";
}
