-- Accounts of the shop.
CREATE TABLE accounts (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  balance bigint DEFAULT 0
);

CREATE OR REPLACE VIEW totals AS
  SELECT name, sum(balance) AS total
  FROM accounts
  GROUP BY name;

CREATE FUNCTION add_amount(account bigint, amount bigint) RETURNS bigint AS $$
  UPDATE accounts SET balance = balance + amount WHERE id = account
  RETURNING balance;
$$ LANGUAGE sql;

CREATE TYPE state AS ENUM (
  'open',
  'closed'
);

CREATE INDEX accounts_name ON accounts (name);

SELECT * FROM accounts
WHERE balance > 0
ORDER BY name;
