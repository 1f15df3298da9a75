-- Roles for the reply table on PostgreSQL. Run after `hansho migrate up`, as the owner of the
-- database, and again after an update (it may be repeated):
--
--   psql "$HANSHO_DATABASE__URL" -v sink_password=… -v retention_password=… -f roles.sql
--
-- hansho_sink       what hansho-sinkd connects as: stores replies, can read nothing but their ids
-- hansho_retention  what retention and erasure connect as: deletes replies by age or id

\set ON_ERROR_STOP on

SELECT 'CREATE ROLE hansho_sink LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hansho_sink') \gexec
SELECT 'CREATE ROLE hansho_retention LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hansho_retention') \gexec

ALTER ROLE hansho_sink WITH NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'sink_password';
ALTER ROLE hansho_retention WITH NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'retention_password';

BEGIN;

-- Nobody gets anything by default, and these two get nothing from earlier runs.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, hansho_sink, hansho_retention;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, hansho_sink, hansho_retention;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO hansho_sink, hansho_retention;

GRANT INSERT ON reply TO hansho_sink;
-- An insert that returns its id reads the id.
GRANT SELECT (id) ON reply TO hansho_sink;

GRANT DELETE ON reply TO hansho_retention;
-- A condition on these columns reads them.
GRANT SELECT (id, received_at, broadcast_id, member_id) ON reply TO hansho_retention;

-- The id comes from a sequence where the column is not an identity column.
SELECT format('GRANT USAGE ON SEQUENCE %s TO hansho_sink', sequence)
FROM (SELECT pg_get_serial_sequence('reply', 'id') AS sequence) AS own
WHERE sequence IS NOT NULL \gexec

COMMIT;
