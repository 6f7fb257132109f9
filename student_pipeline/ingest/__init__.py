"""From files to bronze: find them, read them, load what is new, keep the ledger.

One file takes this way: `discovery` finds it, `snapshot` makes it a local file with a hash and an
encoding, `csv_records` or `json_records` reads it record by record (or `bulk`, where it is big and
plain), `staging` puts the records into the engine, and `delivery` stores them and keeps the ledger.
"""
