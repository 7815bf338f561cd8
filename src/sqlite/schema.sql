-- The tables of a fencepost file, version 1.
--
-- Every column is ANY in a STRICT table, so that nothing is ever converted on its way: what a row holds keeps its
-- storage class, also while an UPDATE touches other columns of a damaged row (G5). What belongs into a column is said
-- by its CHECK, in terms of typeof(); NOT NULL would let the planner assume that a NULL is not there.
--
-- Payloads come last, so that reading bookkeeping does not walk through their overflow pages.

CREATE TABLE store (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    queue_last  ANY CHECK (typeof(queue_last) = 'integer' AND queue_last >= 0),
    record_last ANY CHECK (typeof(record_last) = 'integer' AND record_last >= 0),
    token_last  ANY CHECK (typeof(token_last) = 'integer' AND token_last >= 0),
    log_first   ANY CHECK (typeof(log_first) = 'integer' AND log_first BETWEEN 1 AND log_head + 1),
    log_head    ANY CHECK (typeof(log_head) = 'integer' AND log_head >= 0),
    epoch       ANY CHECK (typeof(epoch) = 'integer' AND epoch >= 0),
    -- How many transactions changed something: each takes the next number inside itself, so that their order is known.
    commit_seq  ANY CHECK (typeof(commit_seq) = 'integer' AND commit_seq >= 0),
    boot_id     ANY CHECK (typeof(boot_id) IN ('null', 'text'))
) STRICT;

INSERT INTO store (one, queue_last, record_last, token_last, log_first, log_head, epoch, commit_seq, boot_id)
VALUES (1, 0, 0, 0, 1, 0, 1, 0, NULL);

CREATE TABLE epochs_retired (
    epoch INTEGER PRIMARY KEY CHECK (epoch >= 0)
) STRICT;

-- The senders' and publishers' ids that are remembered (G10).
CREATE TABLE ids (
    kind     ANY CHECK (typeof(kind) = 'text' AND kind IN ('command', 'event')),
    id       ANY CHECK (typeof(id) = 'text'),
    seq      ANY CHECK (typeof(seq) = 'integer' AND seq >= 1),
    digest   ANY CHECK (typeof(digest) = 'blob' AND octet_length(digest) = 32),
    ended_at ANY CHECK (typeof(ended_at) = 'null' OR (typeof(ended_at) = 'integer' AND ended_at >= 0)),
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX ids_seq ON ids (kind, seq);
CREATE INDEX ids_ended ON ids (kind, ended_at) WHERE ended_at IS NOT NULL;

-- Commands that are ready, delayed or leased. token, attempts_max and corrupt are those of the current lease.
CREATE TABLE queue (
    seq          INTEGER PRIMARY KEY CHECK (seq >= 1),
    name         ANY CHECK (typeof(name) = 'text' AND octet_length(name) BETWEEN 1 AND 255
                            AND length(name) = octet_length(name) AND name NOT GLOB '*[^-a-zA-Z0-9._:/]*'),
    due_at       ANY CHECK (typeof(due_at) = 'integer' AND due_at >= 0),
    attempts     ANY CHECK (typeof(attempts) = 'integer' AND attempts BETWEEN 0 AND 4294967295),
    token        ANY CHECK (typeof(token) = 'null' OR (typeof(token) = 'integer' AND token >= 1)),
    attempts_max ANY CHECK (typeof(attempts_max) = typeof(token)
                            AND (typeof(token) = 'null' OR attempts_max BETWEEN 1 AND 4294967295)),
    corrupt      ANY CHECK (typeof(corrupt) = 'integer' AND corrupt IN (0, 1)),
    reason       ANY CHECK (typeof(reason) IN ('null', 'text')),
    id           ANY CHECK (typeof(id) IN ('null', 'text')),
    content_type ANY CHECK (typeof(content_type) = 'text'),
    metadata     ANY CHECK (typeof(metadata) = 'text'),
    at           ANY CHECK (typeof(at) = 'integer' AND at >= 0),
    checksum     ANY CHECK (typeof(checksum) = 'integer'),
    payload      ANY CHECK (typeof(payload) = 'blob')
) STRICT;

CREATE INDEX queue_due ON queue (name, due_at, seq);

-- What claim relies on and cannot read: found here, although nobody can ask for its name (G5).
CREATE INDEX queue_unreadable ON queue (seq) WHERE
    typeof(name) <> 'text' OR octet_length(name) NOT BETWEEN 1 AND 255
    OR length(name) <> octet_length(name) OR name GLOB '*[^-a-zA-Z0-9._:/]*'
    OR typeof(due_at) <> 'integer' OR due_at < 0
    OR typeof(attempts) <> 'integer' OR attempts NOT BETWEEN 0 AND 4294967295
    OR typeof(token) NOT IN ('null', 'integer') OR token < 1
    OR typeof(attempts_max) <> typeof(token) OR attempts_max NOT BETWEEN 1 AND 4294967295
    OR (typeof(token) = 'integer' AND attempts < 1)
    OR typeof(corrupt) <> 'integer' OR corrupt NOT IN (0, 1)
    OR (typeof(token) = 'null' AND corrupt <> 0)
    OR typeof(reason) NOT IN ('null', 'text');

-- The events from store.log_first to store.log_head; each number stands here or in tombstones.
CREATE TABLE log (
    seq          INTEGER PRIMARY KEY CHECK (seq >= 1),
    name         ANY CHECK (typeof(name) = 'text' AND octet_length(name) BETWEEN 1 AND 255
                            AND length(name) = octet_length(name) AND name NOT GLOB '*[^-a-zA-Z0-9._:/]*'),
    id           ANY CHECK (typeof(id) IN ('null', 'text')),
    content_type ANY CHECK (typeof(content_type) = 'text'),
    metadata     ANY CHECK (typeof(metadata) = 'text'),
    at           ANY CHECK (typeof(at) = 'integer' AND at >= 0),
    checksum     ANY CHECK (typeof(checksum) = 'integer'),
    payload      ANY CHECK (typeof(payload) = 'blob')
) STRICT;

CREATE INDEX log_name ON log (name, seq);

CREATE INDEX log_unreadable ON log (seq) WHERE
    typeof(name) <> 'text' OR octet_length(name) NOT BETWEEN 1 AND 255
    OR length(name) <> octet_length(name) OR name GLOB '*[^-a-zA-Z0-9._:/]*';

-- Numbers of the log whose event nobody could read and which was moved to the dead for all groups.
CREATE TABLE tombstones (
    seq INTEGER PRIMARY KEY CHECK (seq >= 1)
) STRICT;

-- The cursor of each consumer group. token, attempts_max, handed_through and corrupt_seq are those of its lease.
CREATE TABLE cursors (
    group_name     ANY CHECK (typeof(group_name) = 'text') PRIMARY KEY,
    due_at         ANY CHECK (typeof(due_at) = 'integer' AND due_at >= 0),
    token          ANY CHECK (typeof(token) = 'null' OR (typeof(token) = 'integer' AND token >= 1)),
    attempts_max   ANY CHECK (typeof(attempts_max) = typeof(token)),
    handed_through ANY CHECK (typeof(handed_through) = typeof(token)),
    corrupt_seq    ANY CHECK (typeof(corrupt_seq) IN ('null', typeof(token)))
) STRICT, WITHOUT ROWID;

-- The progress of a group through each of its names.
CREATE TABLE subscriptions (
    group_name ANY CHECK (typeof(group_name) = 'text'),
    name       ANY CHECK (typeof(name) = 'text'),
    position   ANY CHECK (typeof(position) = 'integer' AND position >= 0),
    attempts   ANY CHECK (typeof(attempts) = 'integer' AND attempts BETWEEN 0 AND 4294967295),
    counted    ANY CHECK (typeof(counted) IN ('null', 'integer')),
    reason     ANY CHECK (typeof(reason) IN ('null', 'text')),
    PRIMARY KEY (group_name, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX subscriptions_name ON subscriptions (name, position);

-- A group's own copies of redriven events, under the numbers of the records that they were.
CREATE TABLE entries (
    record       INTEGER PRIMARY KEY CHECK (record >= 1),
    group_name   ANY CHECK (typeof(group_name) = 'text'),
    seq          ANY CHECK (typeof(seq) = 'integer' AND seq >= 1),
    due_at       ANY CHECK (typeof(due_at) = 'integer' AND due_at >= 0),
    attempts     ANY CHECK (typeof(attempts) = 'integer' AND attempts BETWEEN 0 AND 4294967295),
    counted      ANY CHECK (typeof(counted) IN ('null', 'integer')),
    reason       ANY CHECK (typeof(reason) IN ('null', 'text')),
    id           ANY,
    name         ANY,
    content_type ANY,
    metadata     ANY,
    at           ANY,
    checksum     ANY,
    payload      ANY
) STRICT;

CREATE INDEX entries_line ON entries (group_name, seq, record, due_at);
CREATE INDEX entries_seq ON entries (seq);

-- What was dead-lettered or parked. Of an unreadable command the raw_ columns keep its bookkeeping as it was found.
CREATE TABLE records (
    record           INTEGER PRIMARY KEY CHECK (record >= 1),
    kind             ANY CHECK (typeof(kind) = 'text' AND kind IN ('command', 'event')),
    seq              ANY CHECK (typeof(seq) = 'integer' AND seq >= 1),
    epoch            ANY CHECK (typeof(epoch) = iif(kind = 'event', 'integer', 'null')),
    group_name       ANY CHECK (typeof(group_name) = 'null' OR (kind = 'event' AND typeof(group_name) = 'text')),
    place            ANY CHECK (typeof(place) = 'text' AND place IN ('dead', 'parked')),
    cause            ANY CHECK (typeof(cause) = 'text' AND cause IN
                                ('settled', 'attempts-exhausted', 'corrupt', 'unsubscribed', 'epoch-ended')),
    reason           ANY CHECK (typeof(reason) IN ('null', 'text')),
    attempts         ANY CHECK (typeof(attempts) = 'integer' AND attempts BETWEEN 0 AND 4294967295),
    moved_at         ANY CHECK (typeof(moved_at) = 'integer' AND moved_at >= 0),
    unreadable       ANY CHECK (typeof(unreadable) = 'integer' AND unreadable IN (0, 1)),
    id               ANY,
    name             ANY,
    content_type     ANY,
    metadata         ANY,
    at               ANY,
    checksum         ANY,
    raw_due_at       ANY,
    raw_attempts     ANY,
    raw_token        ANY,
    raw_attempts_max ANY,
    raw_corrupt      ANY,
    raw_reason       ANY,
    payload          ANY
) STRICT;

CREATE INDEX records_event ON records (epoch, seq) WHERE kind = 'event';
CREATE INDEX records_place ON records (place);
