-- The full-text index is one table; the column owner holds one token for tenant and user, and every query asks for it.

-- name: put_text
INSERT INTO text_index (rowid, text, owner) VALUES (:cube_key, :text, :owner)

-- name: drop_text
INSERT INTO text_index (text_index, rowid, text, owner) VALUES ('delete', :cube_key, :text, :owner)
