-- One job that may start at once and has nothing behind it, in one statement: whoever enqueues one by one pays for each.
-- {ns}: the namespace.

CREATE VIEW {ns}_lone AS SELECT id, queue, task, rank, at, envelope FROM {ns}_jobs;

CREATE TRIGGER {ns}_lone_added INSTEAD OF INSERT ON {ns}_lone
BEGIN
    INSERT INTO {ns}_jobs (seq, id, queue, task, rank, at, envelope)
    VALUES (
        (SELECT max(last, coalesce((SELECT max(seq) FROM {ns}_jobs), 0)) + 1 FROM {ns}_counter),
        NEW.id, NEW.queue, NEW.task, NEW.rank, NEW.at, NEW.envelope
    );
    INSERT INTO {ns}_ready (queue, rank, place, seq, task)
    VALUES (NEW.queue, NEW.rank, last_insert_rowid(), last_insert_rowid(), NEW.task);
END;
