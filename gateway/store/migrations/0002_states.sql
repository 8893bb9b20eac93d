-- What is out of the ordinary is found, and counted, without a look at all that is not. What is ordinary costs nothing more.
CREATE INDEX inbox_apart ON inbox (state, number) WHERE state NOT IN ('received', 'handled');
CREATE INDEX outbox_dead ON outbox (number) WHERE state = 'dead';
