-- A lone job, added only where nobody sleeps on its queue: else its publisher needs a transaction, in which to wake him.
-- A process that has not been upgraded yet may still use the view of version 4.
-- {ns}: the namespace.

CREATE VIEW {ns}_lone_awake AS SELECT id, queue, task, rank, at, envelope FROM {ns}_jobs;

CREATE TRIGGER {ns}_lone_awake_added INSTEAD OF INSERT ON {ns}_lone_awake
WHEN NOT EXISTS (SELECT 1 FROM {ns}_sleepers WHERE queue = NEW.queue)
BEGIN
    INSERT INTO {ns}_jobs (seq, id, queue, task, rank, at, envelope)
    VALUES (
        (SELECT max(last, coalesce((SELECT max(seq) FROM {ns}_jobs), 0)) + 1 FROM {ns}_counter),
        NEW.id, NEW.queue, NEW.task, NEW.rank, NEW.at, NEW.envelope
    );
    INSERT INTO {ns}_ready (queue, rank, place, seq, task)
    VALUES (NEW.queue, NEW.rank, last_insert_rowid(), last_insert_rowid(), NEW.task);
END;
