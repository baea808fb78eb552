"""The index that text search looks in, and the triggers that keep the audit log as it was written."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQLITE = """
CREATE VIRTUAL TABLE verdict_words USING fts5(words, content='verdict', content_rowid='number', tokenize='unicode61');
CREATE TRIGGER verdict_words_insert AFTER INSERT ON verdict BEGIN
  INSERT INTO verdict_words(rowid, words) VALUES (new.number, new.words);
END;
CREATE TRIGGER verdict_words_delete AFTER DELETE ON verdict BEGIN
  INSERT INTO verdict_words(verdict_words, rowid, words) VALUES ('delete', old.number, old.words);
END;
CREATE TRIGGER verdict_words_update AFTER UPDATE OF words ON verdict BEGIN
  INSERT INTO verdict_words(verdict_words, rowid, words) VALUES ('delete', old.number, old.words);
  INSERT INTO verdict_words(rowid, words) VALUES (new.number, new.words);
END;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN
  SELECT RAISE(ABORT, 'the audit log is only added to');
END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN
  SELECT RAISE(ABORT, 'the audit log is only added to');
END;
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = new.id) BEGIN
  SELECT RAISE(ABORT, 'the audit log is only added to');
END;
"""
_POSTGRESQL = """
CREATE INDEX ix_verdict_words ON verdict USING gin (array_to_tsvector(string_to_array(words, ' ')));
CREATE FUNCTION weighup_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
  FOR EACH ROW EXECUTE FUNCTION weighup_audit_refuse();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
  FOR EACH STATEMENT EXECUTE FUNCTION weighup_audit_refuse();
"""


def upgrade() -> None:
    """Make both, in the words of the database at hand."""
    if op.get_bind().dialect.name == "postgresql":
        op.get_bind().exec_driver_sql(_POSTGRESQL)
        return
    statement = ""
    for line in _SQLITE.strip().splitlines(keepends=True):
        statement += line
        ends = "END;" if "CREATE TRIGGER" in statement else ";"
        if line.rstrip().endswith(ends):
            op.get_bind().exec_driver_sql(statement)
            statement = ""
