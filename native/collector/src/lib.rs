//! The service: ingest, site model, queries, accounts, manager.
