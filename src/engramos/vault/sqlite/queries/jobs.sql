-- name: queue_job
INSERT INTO jobs (tenant, queue, parameters, state, run_at_us, attempts, fence, last_error)
SELECT :tenant, :queue, :parameters, 'queued', :run_at_us, 0, 0, ''
WHERE NOT EXISTS (
    SELECT 1 FROM jobs WHERE tenant = :tenant AND state = 'queued' AND queue = :queue AND parameters = :parameters
        AND run_at_us = :run_at_us)

-- name: lease_job
-- what is taken over before its lease ended keeps its end and count: its worker may be alive and finish it
UPDATE jobs SET state = 'leased', run_at_us = iif(run_at_us <= :now_us, :lease_until_us, run_at_us),
    attempts = attempts + (run_at_us <= :now_us), fence = fence + 1
WHERE tenant = :tenant AND job_key = (
    SELECT job_key FROM jobs
    WHERE tenant = :tenant AND state IN ('queued', 'leased')
        -- an erasure must not wait for the lease of a process that may be dead; to scrub twice is harmless
        AND (run_at_us <= :now_us OR (:takes_over AND state = 'leased' AND queue = 'scrub'))
        AND (:queue IS NULL OR queue = :queue)
    ORDER BY run_at_us, job_key LIMIT 1)
RETURNING job_key, queue, parameters, attempts, fence

-- name: finish_job
DELETE FROM jobs WHERE tenant = :tenant AND job_key = :job_key AND fence = :fence AND state = 'leased'
RETURNING job_key

-- name: fail_job
UPDATE jobs SET state = :state, run_at_us = :run_at_us, attempts = :attempts, last_error = :last_error
WHERE tenant = :tenant AND job_key = :job_key AND fence = :fence AND state = 'leased'
RETURNING job_key

-- name: count_jobs
SELECT queue, state, count(*) FROM jobs WHERE tenant = :tenant GROUP BY queue, state

-- name: dead_jobs
SELECT job_key, queue, parameters, attempts, last_error FROM jobs WHERE tenant = :tenant AND state = 'dead'
